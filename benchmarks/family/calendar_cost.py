"""What a tick costs where seasons follow a time zone and where there are sessions, beside UTC: all that differs.

python -m benchmarks.family.calendar_cost [--quick]     microseconds of processor time a tick

That is the grid, the windows, the features with a day and a week of five-minute steps, the baseline of the next 12 and
their times; the network, and JSON but for the times, are the same in all three ways. They take turns, so that a moment
in which the machine is busy falls on none of them alone.
"""

import statistics
import time
from typing import Any

import numpy as np

from benchmarks.report import Report, arguments, finish
from forecaster.config import Settings
from forecaster.features.running import Features
from forecaster.formats.forecast_json import number_rows
from forecaster.records import Int
from forecaster.windows import Windows
from training.seasons import features_of

CYCLES, HORIZON, CONTEXT = (288, 2_016), 12, 288
NEW_YORK = {"time_zone": "America/New_York"}
WAYS: dict[str, dict[str, Any]] = {
    "utc": {},
    "time_zone": NEW_YORK,
    "sessions": NEW_YORK | {"sessions": {"hours": ["09:30-16:00"]}},
}
SERIES, ROUNDS, BEGIN_MS = (1, 64, 1_024), 30, 1_714_743_000_000  # Friday, 3 May 2024, 09:30 in New York


class Line:
    """From event times to what the network takes and the encoder adds."""

    def __init__(self, stream: dict[str, Any], series: int) -> None:
        settings = Settings(stream={"step": "5min"} | stream, model={"context_length": CONTEXT})
        self.windows, self.features = Windows(settings.stream, CONTEXT), Features(features_of(CYCLES, settings))
        self._names, self._partition = [f"sensor-{n}" for n in range(series)], np.zeros(series, np.int64)
        self._row = np.zeros(series, np.int64)

    def take(self, time_ms: int, values: np.ndarray) -> None:
        """A tick of each series at `time_ms`."""
        grid, times_ms = self.windows.grid, np.full(len(values), time_ms)
        assert grid.is_open(times_ms).all()
        _, block = self.windows.admit(self._partition, self._names, times_ms, values)
        if self.windows.capacity > len(self.features.seen):
            self.features.grow(self.windows.capacity)
        step = self.features.advance(block.slot, block.index, block.value[:, None])
        row = np.arange(len(block))
        step.inputs(), step.recent(row, self._row, HORIZON), step.baseline(row, self._row, HORIZON)
        step.commit()
        origin_ms: Int = grid.origin_ms(block.index)
        if grid.sessions is not None:
            number_rows(grid.ahead_ms(origin_ms, HORIZON))


def measure(*, quick: bool) -> Report:
    """A row for each way and number of series."""
    report, random = Report(), np.random.default_rng(0)
    for series in SERIES:
        lines = {name: Line(stream, series) for name, stream in WAYS.items()}
        begun = {name: np.array([BEGIN_MS]) for name in lines}
        for turn in range(4 if quick else 10):
            for name, line in lines.items():
                times_ms = line.windows.grid.ahead_ms(begun[name], ROUNDS)[0]
                begun[name] = times_ms[-1:]
                took = seconds(line, times_ms, random.normal(20, 1, (ROUNDS, series)))
                if turn:  # the first one meets memory that is new to the process
                    report.add(f"calendar_cost.{name}.{series}.us_per_tick", 1e6 * took / series)
    return report


def seconds(line: Line, times_ms: Int, values: np.ndarray) -> float:
    """Median processor time of a batch with a tick of each series, one batch at each of `times_ms`."""
    took = []
    for time_ms, row in zip(times_ms.tolist(), values, strict=True):
        begun = time.process_time()
        line.take(time_ms, row)
        took.append(time.process_time() - begun)
    return statistics.median(took)


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    finish("calendar_cost", measure(quick=options.quick), options)
