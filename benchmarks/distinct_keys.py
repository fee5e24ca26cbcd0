"""What a producer costs that invents a key for each record: batches above the series limit, in memory.

python -m benchmarks.distinct_keys [--keys N] [--limit N] [--ttl DURATION]

The pipeline alone, no broker: a small network and a context of 64. The last line printed is one JSON object:
seconds of a batch of 5,000 (median, longest) below and above the limit, what the eviction takes of it, and
resident memory when the limit is reached and at the end.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from forecaster.config import Settings
from forecaster.features import FeatureSettings
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.network import Network
from forecaster.pipeline import Pipeline
from forecaster.records import RecordBatch

BATCH, CONTEXT, PARTITIONS, START_MS = 5_000, 64, 4, 1_714_550_400_000


def resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def make_pipeline(settings: Settings, seconds: dict[str, float]) -> Pipeline:
    features = FeatureSettings.derive((), CONTEXT)
    shape = NetworkSettings(inputs=len(features.input_names), units=(16,), horizon=4, quantiles=(0.1, 0.5, 0.9))
    manifest = Manifest(
        name="bench", version="", step_ms=1_000, bar=None, context_length=CONTEXT, features=features,
        network=shape, training={},
    )  # fmt: skip

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - began

    return Pipeline(settings, manifest, Network(shape, seed=0), stage)


def batch(first: int) -> RecordBatch:
    """`BATCH` records, each of a series never seen; event time moves on by a second."""
    time_ms = np.full(BATCH, START_MS + first // BATCH * 1_000)
    return RecordBatch(
        topic="ticks",
        partition=np.repeat(np.arange(PARTITIONS), BATCH // PARTITIONS),
        offset=np.arange(first, first + BATCH),
        timestamp_ms=time_ms,
        key=[None] * BATCH,
        value=[b'{"series":"key-%d","ts":%d,"value":1.5}' % (first + n, time_ms[n]) for n in range(BATCH)],
        headers=[()] * BATCH,
        silent=np.zeros(BATCH, bool),
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--limit", type=int, default=100_000)
    parser.add_argument("--ttl")
    options = parser.parse_args()
    stages: dict[str, float] = {}
    line = make_pipeline(Settings(state={"max_series": options.limit, "idle_ttl": options.ttl}), stages)
    line.inference.engine.warm_up()
    below, above, resident, start = [], [], [], resident_mib()
    for first in range(0, options.keys, BATCH):
        records = batch(first)
        began = time.perf_counter()
        output = line.process(records)
        (above if output.evicted.total() else below).append(time.perf_counter() - began)
        assert sum(output.outcomes.values()) == BATCH
        assert len(line.windows.slots) <= options.limit
        resident.append(resident_mib())
    full = len(below)
    report = {
        "keys": options.keys, "limit": options.limit, "idle_ttl": options.ttl,
        "batch_seconds_below": [float(np.median(below)), max(below)],
        "batch_seconds_above": [float(np.median(above)), max(above)] if above else None,
        "evict_seconds_per_batch": stages.get("evict", 0.0) / max(1, len(above)),
        "evicted": sum(line.windows.evictions.values()), "capacity": line.windows.capacity,
        "resident_mib": {"start": start, "at_limit": resident[full - 1], "peak": max(resident), "end": resident[-1]},
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
