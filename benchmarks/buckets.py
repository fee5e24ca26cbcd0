"""Observations trained on a second with batches of similar length, beside padding every batch to the longest window.

python -m benchmarks.buckets [--windows N] [--rounds N] [--network segment|encoder-decoder]

Lengths are spread from 16 to 1,024 observations, evenly over their logarithm. Both ways train the same network on
the same windows, and take turns on the same cores; compiling is outside. The last line printed is one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # as the command line sets it

import numpy as np

from forecaster.config import TrainingSettings
from forecaster.engines.shapes import rung
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.networks.kinds import Windowed
from forecaster.networks.segments import SegmentNetwork
from forecaster.networks.spec import NetworkSettings
from training.cluster import Cluster
from training.course import Course
from training.loss import Loss
from training.scored_decoder import ScoredDecoder
from training.scored_segments import ScoredSegments
from training.step import Batch, Step
from training.trainer import WARM_UP
from training.window_examples import bucketed

SHORTEST, LONGEST, HORIZON, UNITS = 16, 1_024, 16, 64
BATCH, LEVELS = 64, (0.1, 0.5, 0.9)
SHARED: dict[str, Any] = {
    "short_windows": "masked", "inputs": LONGEST, "units": (UNITS,), "horizon": HORIZON, "quantiles": LEVELS
}  # fmt: skip


def networks(kind: str) -> tuple[Windowed, ScoredSegments | ScoredDecoder]:
    """A network of `kind` as it is fitted; a step of its recurrence is one observation."""
    if kind == "segment":
        segments = SegmentNetwork(NetworkSettings(kind="segment", segment_length=1, **SHARED))
        return segments, ScoredSegments(segments, on_gpu=False)
    decoder = EncoderDecoder(NetworkSettings(kind="encoder-decoder", **SHARED))
    return decoder, ScoredDecoder(decoder, on_gpu=False)


def batches(made: Windowed, length: np.ndarray, *, similar: bool) -> Iterator[Batch]:
    """All windows once: those of `similar` length together, or in random order and as long as the longest of all."""
    random = np.random.default_rng(0)
    places = bucketed(length, BATCH, random) if similar else random.permutation(len(length)).reshape(-1, BATCH)
    for at in places:
        rounds = rung(int(length[at].max()), made.lengths) if similar else LONGEST
        seen = [random.normal(size=(BATCH, *shape)).astype(dtype) for shape, dtype in made.shapes(rounds)]
        seen[1] = length[at].astype(np.int32)
        target = random.normal(size=(BATCH, HORIZON)).astype(np.float32)
        taught = [target] if isinstance(made, EncoderDecoder) else []
        yield (*seen, *taught, target, np.ones_like(target))


class Trained:
    """A training under way, and what it has seen so far."""

    def __init__(self, kind: str, length: np.ndarray, *, similar: bool) -> None:
        made, self._fitted = networks(kind)
        cluster = Cluster()
        self._step = Step(self._fitted, Loss(LEVELS, np.zeros(HORIZON)), TrainingSettings(), cluster)
        self._state = cluster.everywhere(self._step.state(Course.of(self._fitted.weights())))
        self._batches = list(batches(made, length, similar=similar))
        observations = sum(self._fitted.observations(batch) for batch in self._batches)
        self.padding = 1 - observations / sum(batch[0].shape[0] * batch[0].shape[1] for batch in self._batches)
        self._observations, self.rates = observations, list[float]()
        by_shape = {batch[0].shape: batch for batch in self._batches}
        self._run([batch for batch in by_shape.values() for _ in range(WARM_UP)])

    def round(self) -> None:
        """Train on all windows once more."""
        self.rates.append(self._observations / self._run(self._batches))

    def _run(self, some: list[Batch]) -> float:
        random, begun = np.random.default_rng(0), time.perf_counter()
        for batch in some:
            self._state, loss = self._step(self._state, batch, random)
        float(loss)
        return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--windows", type=int, default=1_024, help=f"a multiple of {BATCH}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", choices=("segment", "encoder-decoder"), default="segment")
    options = parser.parse_args()
    spread = np.random.default_rng(0).uniform(np.log(SHORTEST), np.log(LONGEST + 1), options.windows)
    length = np.exp(spread).astype(np.int64)
    ways = {name: Trained(options.network, length, similar=name == "buckets") for name in ("longest", "buckets")}
    for _ in range(options.rounds):
        for way in ways.values():
            way.round()
    found = {name: statistics.median(way.rates) for name, way in ways.items()}
    for name, way in ways.items():
        print(f"{name:8} {found[name]:12,.0f} observations/s, {100 * way.padding:4.1f} % padding")
    ratio = found["buckets"] / found["longest"]
    print(f"{ratio:.2f} times the throughput, held to 2.00: {'holds' if ratio >= 2 else 'SHORT'}")
    padding = {name: round(way.padding, 4) for name, way in ways.items()}
    print(json.dumps({"benchmark": "buckets", "network": options.network, "machine": platform.processor(),
                      "observations_per_second": found, "padding": padding, "ratio": ratio}))  # fmt: skip


if __name__ == "__main__":
    main()
