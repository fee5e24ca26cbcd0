"""The engine alone, on whichever device the backend (KERAS_BACKEND) finds: one step of every series a batch.

python -m benchmarks.engine [--quick] [--save] [--series N …]

`engine` is the stage that runs the network, with the state gathered and scattered; `line` adds the features. Beside
them the floor of the device: the larger of the time that the step's operations take at the rate of a large matrix
product, and its bytes at the rate of a large copy, both measured in the same run.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from benchmarks.models import Stages, make_manifest, make_pipeline
from benchmarks.report import Report, arguments, finish
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.windows import Block

SIZES, QUICK_SIZES = (1, 64, 1_024, 16_384, 262_144), (1, 1_024, 16_384)
LONG_S = 0.02  # of a call beside which starting it takes nothing
FLOAT = 4  # bytes


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


class Device:
    """What the device does at best: floating-point operations and bytes a second."""

    def __init__(self) -> None:
        self.operations = best(lambda side: keras.ops.ones((side, side)), lambda a: keras.ops.matmul(a, a)[0, 0], 2, 3)
        # an addition reads and writes every byte
        self.bytes = best(lambda side: keras.ops.ones((side, side)), lambda a: (a + 1.0)[0, 0], 2 * FLOAT, 2)

    def floor_s(self, network: NetworkSettings, series: int) -> float:
        """Seconds that one step of `series` takes at least: state in and out, inputs in, quantiles out."""
        (units,), outputs = network.units, network.horizon * len(network.quantiles)
        operations = 2 * (3 * units * (network.inputs + units) + outputs * (units + network.inputs))
        moved = FLOAT * (2 * units + network.inputs + outputs)
        return series * max(operations / self.operations, moved / self.bytes)


def best(make: Callable[[int], Any], function: Callable[[Any], Any], each: int, power: int) -> float:
    """Most work a second, `each` · side ** `power` a call, of ten calls on an argument that takes a while."""
    side, took = 512, 0.0
    while took < LONG_S:
        side *= 2
        argument = make(side)
        took = min(timed(lambda: keras.ops.convert_to_numpy(function(argument))) for _ in range(10))  # noqa: B023
    return each * float(side) ** power / took


def measure(*, quick: bool, sizes: tuple[int, ...] | None = None) -> Report:
    report, stages, manifest = Report(), Stages(), make_manifest()
    line, device = make_pipeline(manifest, stage=stages), Device()
    line.inference.engine.warm_up()
    report.add("engine.device_gflops", device.operations / 1e9)
    report.add("engine.device_gb_per_s", device.bytes / 1e9)
    for series in sizes or (QUICK_SIZES if quick else SIZES):
        line_s, engine_s = one_size(line, stages, series, 5 if quick else 15)
        name = f"engine.{series}"
        report.add(f"{name}.engine_us", 1e6 * engine_s)
        report.add(f"{name}.line_us", 1e6 * line_s)
        report.add(f"{name}.floor_us", 1e6 * device.floor_s(manifest.network, series))
        report.add(f"{name}.engine_series_per_s", series / engine_s)
        report.add(f"{name}.line_series_per_s", series / line_s)
    return report


def one_size(line: Pipeline, stages: Stages, series: int, batches: int) -> tuple[float, float]:
    """Median seconds of a batch: features and engine, and the engine alone."""
    names, random = [f"sensor-{n}" for n in range(series)], np.random.default_rng(0)
    slots = line.windows.slots.assign(np.zeros(series, np.int64), names)
    line.windows.grow()
    whole, alone = [], []
    for step in range(batches + 2):  # the first two meet memory that is new to the process
        block = Block(
            slots, np.full(series, step), random.normal(20, 1, series), np.arange(series),
            np.full(series, step == 0),
        )  # fmt: skip
        stages.seconds = {}
        whole.append(timed(lambda: line.inference.run(block, np.ones(series, bool))))  # noqa: B023  # called at once
        alone.append(stages.seconds["infer"])
    return statistics.median(whole[2:]), statistics.median(alone[2:])


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--series", type=int, nargs="+")
    options = parser.parse_args()
    finish("engine", measure(quick=options.quick, sizes=options.series), options)
