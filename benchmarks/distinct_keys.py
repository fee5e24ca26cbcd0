"""What a producer costs that invents a key for each record: batches above the series limit, in memory.

python -m benchmarks.distinct_keys [--keys N] [--limit N] [--ttl DURATION]

The pipeline alone, no broker: a small network and a context of 64. The last line printed is one JSON object:
seconds of a batch of 5,000 (median, longest) below and above the limit, what the eviction takes of it, and
resident memory when the limit is reached and at the end.
"""

import argparse
import json
import time

import numpy as np

from benchmarks.models import BATCH, Stages, make_manifest, make_pipeline, new_series, resident_bytes
from forecaster.config import Settings


def resident_mib() -> float:
    return resident_bytes() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=2_000_000)
    parser.add_argument("--limit", type=int, default=100_000)
    parser.add_argument("--ttl")
    options = parser.parse_args()
    settings, stages = Settings(state={"max_series": options.limit, "idle_ttl": options.ttl}), Stages()
    line = make_pipeline(make_manifest(horizon=4, units=16), settings, stages)
    line.inference.engine.warm_up()
    below, above, resident, start, evicted = [], [], [], resident_mib(), 0
    for first in range(0, options.keys, BATCH):
        records = new_series(first)
        began = time.perf_counter()
        output = line.process(records)
        (above if output.evicted.total() else below).append(time.perf_counter() - began)
        evicted += output.evicted.total()
        assert sum(output.outcomes.values()) == BATCH
        assert len(line.windows.slots) <= options.limit
        resident.append(resident_mib())
    full = len(below)
    report = {
        "keys": options.keys, "limit": options.limit, "idle_ttl": options.ttl,
        "batch_seconds_below": [float(np.median(below)), max(below)],
        "batch_seconds_above": [float(np.median(above)), max(above)] if above else None,
        "evict_seconds_per_batch": stages.seconds.get("evict", 0.0) / max(1, len(above)),
        "evicted": evicted, "capacity": line.windows.capacity,
        "resident_mib": {"start": start, "at_limit": resident[full - 1], "peak": max(resident), "end": resident[-1]},
    }  # fmt: skip
    print(json.dumps(report))


if __name__ == "__main__":
    main()
