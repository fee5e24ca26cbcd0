"""The network that all benchmarks serve, one GRU with 3 quantiles whose weights do not change its speed; and the
line around it in memory, with what goes in and what it takes.

python -m benchmarks.models FOLDER HORIZON CONTEXT     writes its bundle
"""

import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import save_bundle
from forecaster.config import Settings
from forecaster.engines.tile import Stage, no_stage
from forecaster.features.settings import FeatureSettings
from forecaster.networks.kinds import make_network
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.records import RecordBatch

BATCH, PARTITIONS, START_MS = 5_000, 4, 1_714_550_400_000


def make_manifest(
    horizon: int = 16, context: int = 64, units: int = 64, seasons: tuple[int, ...] = (), version: str = ""
) -> Manifest:
    features = FeatureSettings.derive(seasons, context)
    network = NetworkSettings(
        inputs=len(features.input_names), recents=features.recents, units=(units,), horizon=horizon,
        quantiles=(0.1, 0.5, 0.9),
    )  # fmt: skip
    return Manifest(
        name="bench", version=version, step_ms=1_000, bar=None, context_length=context, features=features,
        network=network, training={}, weights_sha256=version,
    )  # fmt: skip


def make_pipeline(manifest: Manifest, settings: Settings | None = None, stage: Stage = no_stage) -> Pipeline:
    return Pipeline(settings or Settings(), manifest, make_network(manifest.network), stage)


class Stages:
    """Seconds in each stage of the line, all calls together."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def new_series(first: int) -> RecordBatch:
    """`BATCH` records, each of a series never seen where `first` is; event time moves on by a second a batch."""
    time_ms = START_MS + first // BATCH * 1_000
    return RecordBatch(
        topic="ticks",
        partition=np.repeat(np.arange(PARTITIONS), BATCH // PARTITIONS),
        offset=np.arange(first, first + BATCH),
        timestamp_ms=np.full(BATCH, time_ms),
        key=[None] * BATCH,
        value=[b'{"series":"sensor-%d","ts":%d,"value":1.5}' % (first + n, time_ms) for n in range(BATCH)],
        headers=[()] * BATCH,
        silent=np.zeros(BATCH, bool),
    )


def resident_bytes() -> int:
    """Memory of this process that is in use."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    folder, horizon, context = sys.argv[1:]
    manifest = make_manifest(int(horizon), int(context))
    save_bundle(Path(folder), manifest, make_network(manifest.network))


if __name__ == "__main__":
    main()
