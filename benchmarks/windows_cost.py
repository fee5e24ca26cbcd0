"""What a forecast of each kind of network costs: features and engine, microseconds a series, in one process.

python -m benchmarks.windows_cost [--series N …] [--batches N]

Every series has been seen for a whole window, and a batch brings one tick of each. Units 64, horizon 96, a window of
96 observations (the segment network's segments have 12). The last line printed is one JSON object.
"""

import argparse
import json
import statistics
from typing import Any

import numpy as np

from benchmarks.engine import timed
from forecaster.config import Settings
from forecaster.features import FeatureSettings
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.networks import make_network
from forecaster.pipeline import Pipeline
from forecaster.windows import Block
from training.window_examples import windowed

WINDOW, HORIZON, SEASON = 96, 96, 24
SHARED: dict[str, Any] = {"units": (64,), "horizon": HORIZON, "quantiles": (0.1, 0.5, 0.9)}
NETWORKS: dict[str, dict[str, Any]] = {
    "carried": {},
    "segment": {"kind": "segment", "segment_length": 12, "short_windows": "masked"},
    "encoder-decoder": {"kind": "encoder-decoder", "short_windows": "masked"},
    "encoder-decoder, dot": {"kind": "encoder-decoder", "short_windows": "masked", "attention": "dot"},
    "encoder-decoder, additive": {"kind": "encoder-decoder", "short_windows": "masked", "attention": "additive"},
}


def made(name: str) -> Pipeline:
    """The line of a network with drawn weights, warm."""
    features, chosen = FeatureSettings.derive((SEASON,), WINDOW), dict(NETWORKS[name])
    if "kind" in chosen:
        chosen["inputs"] = WINDOW
    else:
        chosen["inputs"] = len(features.input_names)
    if name == "segment":
        features = windowed(features)
    else:
        chosen["recents"] = features.recents
    if name.startswith("encoder"):
        chosen |= {"calendar": features.calendar, "features": len(features.input_names)}
    network = NetworkSettings(**chosen, **SHARED)
    manifest = Manifest(
        name="cost", version="1", step_ms=1_000, bar=None, context_length=WINDOW, features=features, network=network,
        training={},
    )  # fmt: skip
    line = Pipeline(Settings(), manifest, make_network(network))
    line.inference.engine.warm_up()
    while line.inference.engine.compile_next():
        pass
    return line


def microseconds(line: Pipeline, series: int, batches: int) -> float:
    """Median over `batches` of one tick of each of `series`, after a window of them."""
    random = np.random.default_rng(0)
    slots = line.windows.slots.assign(np.zeros(series, np.int64), [f"sensor-{n}" for n in range(series)])
    line.windows.grow()

    def block(first: int, rounds: int) -> Block:
        index = np.tile(np.arange(first, first + rounds), series)
        return Block(
            np.repeat(slots, rounds), index, random.normal(20, 1, len(index)), np.arange(len(index)), index == 0
        )

    line.inference.run(block(0, WINDOW), np.zeros(series * WINDOW, bool))
    took = []
    for step in range(batches):
        one = block(WINDOW + step, 1)
        took.append(timed(lambda: line.inference.run(one, np.ones(series, bool))))  # noqa: B023  # called at once
    return 1e6 * statistics.median(took) / series


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, nargs="+", default=[1, 1_000])
    parser.add_argument("--batches", type=int, default=15)
    options = parser.parse_args()
    found: dict[str, dict[int, float]] = {}
    for name in NETWORKS:
        line = made(name)
        found[name] = {series: microseconds(line, series, options.batches) for series in options.series}
        figures = ", ".join(f"{value:9,.1f} us at {series:,} series" for series, value in found[name].items())
        print(f"{name:27}{figures}", flush=True)
    print(json.dumps({"benchmark": "windows_cost", "microseconds_a_forecast": found}))


if __name__ == "__main__":
    main()
