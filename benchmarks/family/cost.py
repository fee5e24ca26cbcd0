"""What a tick costs in each network with carried state: from its observation to quantiles, a tick of each series.

python -m benchmarks.family.cost [--quick]     microseconds of processor time a tick, all threads together

Processor time, as a machine that does something else at the same time says little of what a clock on the wall shows.
"""

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.models import make_manifest, make_pipeline
from benchmarks.report import Report, arguments, finish
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.windows import Block

NETWORKS: dict[str, dict[str, Any]] = {
    "gru_64": {},
    "lstm_64": {"cell": "lstm"},
    "gru_64_64": {"units": (64, 64)},
    "lstm_64_64": {"units": (64, 64), "cell": "lstm"},
    "gru_64_maximum": {"aggregate": "max"},
    "gru_64_7_channels": {"channels": tuple("abcdefg")},
}
SERIES, HORIZON = (1, 64, 1_024), 96


def measure(*, quick: bool) -> Report:
    """The networks take turns, so that a moment in which the machine is busy falls on none of them alone."""
    report, lines = Report(), {name: made(changes) for name, changes in NETWORKS.items()}
    for series in SERIES:
        for line in lines.values():
            seconds(line, series, 3)  # meets memory that is new to the process
        for _ in range(3 if quick else 9):
            for name, line in lines.items():
                report.add(f"cost.{name}.{series}.us_per_tick", 1e6 * seconds(line, series, 30) / series)
    return report


def made(changes: dict[str, Any]) -> Pipeline:
    """The line with a network like that of all benchmarks but for `changes`, compiled."""
    manifest = make_manifest(HORIZON)
    inputs = manifest.network.inputs + ("channels" in changes)
    network = NetworkSettings(**manifest.network.model_dump() | changes | {"inputs": inputs})
    line = make_pipeline(manifest.model_copy(update={"network": network, "kind": network.message_kind}))
    line.inference.engine.warm_up()
    return line


def seconds(line: Pipeline, series: int, batches: int) -> float:
    """Median processor time of a batch with an observation of each series."""
    slots = line.windows.slots.assign(np.zeros(series, np.int64), [f"sensor-{n}" for n in range(series)])
    line.windows.grow()
    random, took = np.random.default_rng(0), []
    for step in range(batches):
        values, fresh = random.normal(20, 1, (series, *line.windows.channels.shape)), np.full(series, step == 0)
        block = Block(slots, np.full(series, step), values, np.arange(series), fresh)
        begun = time.process_time()
        rows, of = line.windows.channels.spread(block)
        line.windows.channels.gathered(line.inference.run(rows, np.ones(len(of), bool)), of)
        took.append(time.process_time() - begun)
    return statistics.median(took)


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    finish("cost", measure(quick=options.quick), options)
