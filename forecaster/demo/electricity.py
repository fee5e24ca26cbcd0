"""The recorded series of the demo: `data/README.md` says where they come from."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from forecaster.config import InputSettings
from forecaster.recording import Columns, Recording, read_recording
from forecaster.records import Float, Int

FILE = Path(__file__).parent / "data" / "england_wales_demand.csv.gz"
NAMES = ("demand-june", "demand-july", "demand-august")
UNIT = "MW"
STEP_MS = 30 * 60_000
WEEK = 7 * 48  # steps
WEEKS = 4  # of each series: all but the last are history


@dataclass(frozen=True, slots=True)
class Weeks:
    """Series of the same length on one clock: `values` `[series, steps]`, step n at `start_ms + n * STEP_MS`."""

    names: tuple[str, ...]
    start_ms: int
    values: Float

    @property
    def unseen_from(self) -> int:
        """The first step that training never sees."""
        return int(self.values.shape[1]) - WEEK

    @property
    def end_ms(self) -> int:
        """Event time behind the last recorded value."""
        return self.start_ms + int(self.values.shape[1]) * STEP_MS

    def recording(self, low: int, high: int) -> Recording:
        """The ticks of steps `low` to `high`, in order of time. Past the end the last week comes again."""
        steps = np.arange(low, high)
        series = np.tile(np.arange(len(self.names)), len(steps))
        time_ms = np.repeat(self.start_ms + steps * STEP_MS, len(self.names))
        return Recording(list(self.names), series, time_ms, self.values[:, self._recorded(steps)].T.ravel())

    def until(self, series: str, origin_ms: int, count: int) -> Float:
        """The last `count` values of `series` up to event time `origin_ms`, or as many as there are."""
        last = (origin_ms - self.start_ms) // STEP_MS
        steps = np.arange(max(0, last - count + 1), last + 1)
        values: Float = self.values[self.names.index(series), self._recorded(steps)]
        return values

    def _recorded(self, steps: Int) -> Int:
        past: Int = np.where(steps < self.values.shape[1], steps, self.unseen_from + (steps - self.unseen_from) % WEEK)
        return past


@cache
def load_weeks() -> Weeks:
    """Weeks 1–4, 5–8 and 9–12 of the record side by side, with the times of weeks 1–4."""
    record = read_recording([FILE], InputSettings(), Columns())
    return Weeks(NAMES, int(record.time_ms[0]), record.value.reshape(len(NAMES), WEEKS * WEEK))


def write_csv(recording: Recording, path: Path) -> None:
    """`recording` as a file that `forecaster train --input` reads: a row per tick."""
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("series", "ts", "value"))
        rows.writerows(recording.ticks())
