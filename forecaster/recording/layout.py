"""Which columns of a file hold what, and its rows as ticks."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from forecaster.config import InputSettings
from forecaster.errors import ConfigError
from forecaster.recording.cells import Table, code_cells, labels, numbers
from forecaster.recording.ticks import Recording
from forecaster.recording.times import Times
from forecaster.records import Float
from forecaster.vocabulary import CodeBook

TIME_COLUMNS = ("time", "timestamp", "date", "datetime")
OTHER_SEPARATORS = (";", "\t", "|")
MOST_TIME_COLUMNS = 6  # year to second
IN_WIDE = ": every column is a series, unless --series-column names one with ids or --value-column leaves it out"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what; None lets the header decide.

    `time` may be several joined by commas: date,time or year,month,day and on to the second. Several
    value columns are averaged in a long file; in a wide one they are the series, but for the `channels` of a
    multivariate one. With `coded` values are codes, and `label` says of each row what is to be learnt of it.
    """

    time: str | None = None
    series: str | None = None
    value: tuple[str, ...] = ()
    label: str | None = None
    coded: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of one file. Without `series` the file is wide: `values` are its series.

    With `channels` they are those of each tick, in a wide file of one series, which has the file's `name`.
    """

    time: tuple[str, ...]
    series: str | None
    values: tuple[str, ...]
    label: str | None = None
    coded: bool = False
    covariates: tuple[str, ...] = ()
    channels: bool = False
    name: str = ""

    @classmethod
    def choose(cls, path: Path, header: Sequence[str], settings: InputSettings, columns: Columns) -> "Layout":
        """What `columns` asks for, else what `settings` and common names find in `header`."""
        if len(header) == 1 and any(mark in header[0] for mark in OTHER_SEPARATORS):
            raise ConfigError(f"{path}: its columns are not separated by commas: {header[0][:200]!r}")
        time = _time_columns(path, header, settings, columns.time)
        label = _label_column(header, settings, columns)
        series = columns.series or (settings.series_field if settings.series_field in header else None)
        if settings.channels:
            values = settings.channels
        elif series is not None:
            values = columns.value or (_pick(path, header, (settings.value_field,), "--value-column"),)
        else:  # a column without a name is a row number that a writer put there
            other = {*time, label, *settings.covariates}
            values = columns.value or tuple(name for name in header if name and name not in other)
        if not values:
            raise ConfigError(f"{path}: has no column beside {','.join(time)!r}")
        if columns.coded and series is not None and len(values) > 1:
            raise ConfigError(f"{path}: {','.join(values)}: codes have no mean: name one value column")
        of_channels = bool(settings.channels), path.name.split(".")[0]
        layout = cls(time, series, values, label, columns.coded, settings.covariates, *of_channels)
        for name in layout.names:
            _pick(path, header, (name,))
            if header.count(name) > 1:
                raise ConfigError(f"{path}: column {name!r} stands in the header {header.count(name)} times")
        return layout

    @property
    def names(self) -> list[str]:
        """Every column that is read, once."""
        one_each = [name for name in (self.series, self.label) if name]
        return list(dict.fromkeys((*self.time, *one_each, *self.values, *self.covariates)))

    @property
    def wide(self) -> tuple[str, ...]:
        """The series of a file without a series column."""
        return (self.name,) if self.channels else self.values

    def ticks(self, table: Table, times: Times) -> Recording:
        """The rows of `table` as ticks; those of a wide row one after another."""
        time_ms = times.read(table)
        book = CodeBook()
        values = self._coded(table, book) if self.coded else self._numbers(table)
        given = np.stack([numbers(table, name) for name in self.covariates], axis=1) if self.covariates else None
        if self.series is not None:
            names, series = labels(table, self.series)
            value = np.stack(values, axis=1) if self.channels else np.mean(values, axis=0)
        elif self.channels:
            names, series, value = [self.name], np.zeros(len(time_ms), np.int64), np.stack(values, axis=1)
        else:
            rows, width = len(time_ms), len(values)
            names, series = list(self.values), np.tile(np.arange(width), rows)
            time_ms, value = np.repeat(time_ms, width), np.stack(values, axis=1).ravel()
            given = None if given is None else np.repeat(given, width, axis=0)
        return Recording(names, series, time_ms, value, codes=book.codes, labels=book.labels, covariates=given)

    def _numbers(self, table: Table) -> list[Float]:
        remedy = "" if self.series or self.channels else IN_WIDE
        return [numbers(table, name, remedy) for name in self.values]

    def _coded(self, table: Table, book: CodeBook) -> list[Float]:
        """The value columns as numbers of `book`, each code with the label of its row."""
        label = code_cells(table, self.label) if self.label else None
        return [book.ids(code_cells(table, name), label) for name in self.values]


def _time_columns(path: Path, header: Sequence[str], settings: InputSettings, wanted: str | None) -> tuple[str, ...]:
    if wanted is None:
        return (_pick(path, header, (settings.time_field, *TIME_COLUMNS), "--time-column"),)
    names = (wanted,) if wanted in header else tuple(wanted.split(","))
    if len(names) > MOST_TIME_COLUMNS:
        raise ConfigError(f"{wanted!r}: a time has {MOST_TIME_COLUMNS} columns at most, from year to second")
    return names


def _label_column(header: Sequence[str], settings: InputSettings, columns: Columns) -> str | None:
    """The one asked for, else that of `input.label_field` where the file has it; numbers have no labels."""
    if not columns.coded:
        return None
    return columns.label or (settings.label_field if settings.label_field in header else None)


def _pick(path: Path, header: Sequence[str], candidates: Sequence[str], option: str = "") -> str:
    """The first of `candidates` that is in `header`; `option` would name another one."""
    for candidate in candidates:
        if candidate in header:
            return candidate
    wanted = " or ".join(map(repr, candidates))
    hint = f" ({option} names another)" if option else ""
    raise ConfigError(f"{path}: has no column {wanted}{hint}: it has {', '.join(header)[:200]}")
