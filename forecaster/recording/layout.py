"""Which columns of a file hold what, and its rows as ticks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecaster.config import InputSettings
from forecaster.errors import ConfigError
from forecaster.recording.cells import Table, labels, numbers
from forecaster.recording.ticks import Recording
from forecaster.recording.times import Times

TIME_COLUMNS = ("time", "timestamp", "date", "datetime")
MOST_TIME_COLUMNS = 6  # year to second


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what; None lets the header decide.

    `time` may be several joined by commas: date,time or year,month,day and on to the second. Several
    value columns are averaged in a long file; in a wide one they are the series.
    """

    time: str | None = None
    series: str | None = None
    value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one file. Without `series` the file is wide: `values` are its series."""

    time: tuple[str, ...]
    series: str | None
    values: tuple[str, ...]

    @classmethod
    def choose(cls, path: Path, header: Sequence[str], settings: InputSettings, columns: Columns) -> "Layout":
        """What `columns` asks for, else what `settings` and common names find in `header`."""
        time = _time_columns(path, header, settings, columns.time)
        series = columns.series or (settings.series_field if settings.series_field in header else None)
        if series is not None:
            values = columns.value or (_pick(path, header, (settings.value_field,)),)
        else:  # a column without a name is a row number that a writer put there
            values = columns.value or tuple(name for name in header if name and name not in time)
        if not values:
            raise ConfigError(f"{path}: has no column beside {','.join(time)!r}")
        layout = cls(time, series, values)
        for name in layout.names:
            _pick(path, header, (name,))
            if header.count(name) > 1:
                raise ConfigError(f"{path}: column {name!r} stands in the header {header.count(name)} times")
        return layout

    @property
    def names(self) -> list[str]:
        """Every column that is read, once."""
        return list(dict.fromkeys((*self.time, *((self.series,) if self.series else ()), *self.values)))

    def ticks(self, table: Table, times: Times) -> Recording:
        """The rows of `table` as ticks; those of a wide row one after another."""
        time_ms = times.read(table)
        values = [numbers(table, name) for name in self.values]
        if self.series is not None:
            names, series = labels(table, self.series)
            return Recording(names, series, time_ms, np.mean(values, axis=0))
        rows, width = len(time_ms), len(values)
        series = np.tile(np.arange(width), rows)
        return Recording(list(self.values), series, np.repeat(time_ms, width), np.stack(values, axis=1).ravel())


def _time_columns(path: Path, header: Sequence[str], settings: InputSettings, wanted: str | None) -> tuple[str, ...]:
    if wanted is None:
        return (_pick(path, header, (settings.time_field, *TIME_COLUMNS)),)
    names = (wanted,) if wanted in header else tuple(wanted.split(","))
    if len(names) > MOST_TIME_COLUMNS:
        raise ConfigError(f"{wanted!r}: a time has {MOST_TIME_COLUMNS} columns at most, from year to second")
    return names


def _pick(path: Path, header: Sequence[str], candidates: Sequence[str]) -> str:
    for candidate in candidates:
        if candidate in header:
            return candidate
    wanted = " or ".join(map(repr, candidates))
    raise ConfigError(f"{path}: has no column {wanted}: it has {', '.join(header)[:200]}")
