"""What a tick costs in networks over windows, beside the one with carried state: from its observation to quantiles.

python -m benchmarks.family.windows_cost [--quick]     microseconds of processor time a tick, all threads together

A window is 96 observations, which every series has had, and so is the horizon; segments have 12. Processor time, as
a machine that does something else at the same time says little of what a clock on the wall shows.
"""

import time
from typing import Any

import numpy as np

from benchmarks.report import Report, arguments, finish
from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.features.settings import FeatureSettings
from forecaster.networks.kinds import make_network
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.windows import Block
from training.window_examples import windowed

WINDOW, HORIZON, SEASON, SERIES = 96, 96, 24, (1, 64, 1_024)
DECODED = {"kind": "encoder-decoder", "short_windows": "masked"}
NETWORKS: dict[str, dict[str, Any]] = {
    "carried": {},
    "segment": {"kind": "segment", "segment_length": 12, "short_windows": "masked"},
    "encoder_decoder": DECODED,
    "dot": DECODED | {"attention": "dot"},
    "additive": DECODED | {"attention": "additive"},
}


def measure(*, quick: bool) -> Report:
    """A row for each network and number of series."""
    report = Report()
    for name, changes in NETWORKS.items():
        line = made(changes)
        for series in SERIES:
            for took in seconds(line, series, 3 if quick else 9):
                report.add(f"windows_cost.{name}.{series}.us_per_tick", 1e6 * took / series)
    return report


def made(changes: dict[str, Any]) -> Pipeline:
    """The line of a network with drawn weights."""
    features, kind = FeatureSettings.derive((SEASON,), WINDOW), changes.get("kind", "carried")
    features = windowed(features) if kind == "segment" else features
    inputs: dict[str, Any] = {"inputs": len(features.input_names), "recents": features.recents}
    if kind != "carried":
        inputs |= {"inputs": WINDOW}
    if kind == "encoder-decoder":
        inputs |= {"calendar": features.calendar, "features": len(features.input_names)}
    network = NetworkSettings(units=(64,), horizon=HORIZON, quantiles=(0.1, 0.5, 0.9), **inputs, **changes)
    manifest = Manifest(
        name="cost", version="1", step_ms=1_000, bar=None, context_length=WINDOW, features=features, network=network,
        training={},
    )  # fmt: skip
    return Pipeline(Settings(), manifest, make_network(network))


def seconds(line: Pipeline, series: int, batches: int) -> list[float]:
    """Processor time of batches with a tick of each of `series`, after a window of them."""
    random, took = np.random.default_rng(0), []
    slots = line.windows.slots.assign(np.zeros(series, np.int64), [f"sensor-{n}" for n in range(series)])
    line.windows.grow()

    def block(first: int, rounds: int) -> Block:
        index = np.tile(np.arange(first, first + rounds), series)
        values, trigger = random.normal(20, 1, len(index)), np.arange(len(index))
        return Block(np.repeat(slots, rounds), index, values, trigger, index == 0)

    line.inference.run(block(0, WINDOW), np.zeros(series * WINDOW, bool))
    for step in range(batches + 2):  # the first two compile, and meet memory that is new to the process
        one = block(WINDOW + step, 1)
        begun = time.process_time()
        line.inference.run(one, np.ones(series, bool))
        took.append(time.process_time() - begun)
    return took[2:]


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    finish("windows_cost", measure(quick=options.quick), options)
