"""What a tick costs where seasons follow a time zone and where there are sessions, beside UTC: from bytes to bytes.

python -m benchmarks.family.calendar_cost [--quick]     microseconds of processor time a tick, all threads together

A GRU of 64 units with a day and a week of five-minute steps forecasts 12 of them. The ways take turns, so that a
moment in which the machine is busy falls on none of them alone.
"""

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.models import make_manifest, make_pipeline
from benchmarks.report import Report, arguments, finish
from forecaster.config import Settings
from forecaster.manifest import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.records import Int, RecordBatch
from training.seasons import features_of

STEP_MS, CYCLES, HORIZON = 300_000, (288, 2_016), 12
NEW_YORK = {"time_zone": "America/New_York"}
WAYS: dict[str, dict[str, Any]] = {
    "utc": {},
    "time_zone": NEW_YORK,
    "sessions": NEW_YORK | {"sessions": {"hours": ["09:30-16:00"]}},
}
SERIES, ROUNDS, BEGIN_MS = (1, 64, 1_024), 30, 1_714_743_000_000  # Friday, 3 May 2024, 09:30 in New York


def measure(*, quick: bool) -> Report:
    """A row for each way and number of series."""
    report, lines = Report(), {name: made(stream) for name, stream in WAYS.items()}
    for series in SERIES:
        begun = {name: np.array([BEGIN_MS]) for name in lines}
        for turn in range(4 if quick else 10):
            for name, line in lines.items():
                times_ms = line.windows.grid.ahead_ms(begun[name], ROUNDS)[0]
                begun[name] = times_ms[-1:]
                took = seconds(line, times_ms, series)
                if turn:  # the first one meets memory that is new to the process
                    report.add(f"calendar_cost.{name}.{series}.us_per_tick", 1e6 * took / series)
    return report


def made(stream: dict[str, Any]) -> Pipeline:
    """The line of a stream, compiled."""
    settings = Settings(stream={"step": "5min"} | stream)
    features, manifest = features_of(CYCLES, settings), make_manifest(HORIZON)
    shape = {"inputs": len(features.input_names), "recents": features.recents}
    network = NetworkSettings(**manifest.network.model_dump() | shape)
    changes = {"features": features, "network": network, "step_ms": STEP_MS}
    line = make_pipeline(manifest.model_copy(update=changes), settings)
    line.inference.engine.warm_up()
    return line


def seconds(line: Pipeline, times_ms: Int, series: int) -> float:
    """Median processor time of a batch with a tick of each series, one batch at each of `times_ms`."""
    random, took = np.random.default_rng(0), []
    for time_ms in times_ms.tolist():
        batch = records(time_ms, random.normal(20, 1, series))
        begun = time.process_time()
        line.process(batch)
        took.append(time.process_time() - begun)
    return statistics.median(took)


def records(time_ms: int, values: np.ndarray) -> RecordBatch:
    """A tick at `time_ms` of as many series as there are `values`; the names differ by their number."""
    count = len(values)
    names = [b"%d-%d" % (count, n) for n in range(count)]
    texts = zip(names, values.tolist(), strict=True)
    return RecordBatch(
        topic="ticks",
        partition=np.zeros(count, np.int64),
        offset=np.arange(count),
        timestamp_ms=np.full(count, time_ms),
        key=list(names),
        value=[b'{"series":"%b","ts":%d,"value":%.3f}' % (name, time_ms, value) for name, value in texts],
        headers=[()] * count,
        silent=np.zeros(count, bool),
    )


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    finish("calendar_cost", measure(quick=options.quick), options)
