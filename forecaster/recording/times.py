"""From the cells of a time column, or of several, to epoch milliseconds.

A time is an epoch number in `input.time_unit`, ISO 8601 text, or spread over columns: date and time of
day as text, or year, month, day and, if there are any, hour, minute and second as numbers. What has no
zone is UTC. A column that mixes numbers, times with a zone and times without is refused: one of them
must mean something else.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from forecaster.config.stream import PER_MS, InputSettings
from forecaster.errors import ConfigError
from forecaster.recording.cells import NUMBERS, Column, Table
from forecaster.records import Bool, Float, Int

FIRST_MS, END_MS = -62_135_596_800_000, 253_402_300_800_000  # the years 1 to 9999
NUMBER, ZONED, BARE = "a number", "a time with a zone", "a time without a zone"
EPOCH, MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
SLASHED = re.compile(r"(\d{4})[/.-](\d{1,2})[/.-](\d{1,2})(?:[T ]+(\d{1,2})(:.+))?")
AFTER_DATE = np.zeros(256, bool)  # the bytes that may follow a date where there is no zone
AFTER_DATE[np.frombuffer(b"0123456789:.T ", np.uint8)] = True


@dataclass(slots=True)
class Times:
    """Reads the time of every row, table after table of one file, from the columns `names`."""

    names: tuple[str, ...]
    settings: InputSettings
    _first: tuple[str, int] | None = None  # what the first row holds, and its number

    def read(self, table: Table) -> Int:
        """Epoch milliseconds of every row; raises `ConfigError` for one that has no time."""
        columns = [table.columns[name] for name in self.names]
        if len(columns) > 2:
            return self._checked(table, columns, _calendar_ms([_as_numbers(column) for column in columns]))
        if len(columns) == 2:
            return self._read_texts(table, [f"{date}T{time}" for date, time in zip(*columns, strict=True)])
        (column,) = columns
        if isinstance(column, list):
            found = _all_numbers(column)
            if found is None:
                return self._read_texts(table, column)
            self._note(table, 0, column[0], NUMBER)
            return self._epoch(table, columns, found)
        if column.dtype.kind == "M":
            ticks = column.astype("M8[us]")
            return self._checked(table, columns, np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / 1000))
        return self._epoch(table, columns, _as_numbers(column))

    def _epoch(self, table: Table, columns: list[Column], numbers: Float) -> Int:
        return self._checked(table, columns, numbers / PER_MS[self.settings.time_unit])

    def _checked(self, table: Table, columns: list[Column], time_ms: Float) -> Int:
        """`time_ms` to the nearest millisecond."""
        wrong = ~((time_ms >= FIRST_MS) & (time_ms < END_MS))
        if wrong.any():
            row = int(wrong.argmax())
            raise self._fault(table, row, " ".join(str(column[row]) for column in columns), "is no time")
        return np.floor(time_ms + 0.5).astype(np.int64)

    def _read_texts(self, table: Table, texts: list[str]) -> Int:
        whole = _iso_at_once(texts)
        if whole is None:
            whole = self._one_by_one(table, texts)
        else:
            self._note(table, 0, texts[0], ZONED if texts[0].endswith("Z") else BARE)
        return (whole + 500) // 1000

    def _one_by_one(self, table: Table, texts: list[str]) -> Int:
        """Epoch microseconds of texts that differ in form, or one of which is no time."""
        times = np.empty(len(texts), np.int64)
        for row, text in enumerate(texts):
            time = _parsed(text)
            if time is None:
                times[row] = round(1000 * self._number(table, row, text))
                continue
            self._note(table, row, text, ZONED if time.tzinfo else BARE)
            times[row] = ((time if time.tzinfo else time.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
        return times

    def _number(self, table: Table, row: int, text: str) -> float:
        """Epoch milliseconds of a number among texts."""
        time_ms = _number(text) / PER_MS[self.settings.time_unit]
        if not FIRST_MS <= time_ms < END_MS:
            raise self._fault(table, row, text, "is no time")
        self._note(table, row, text, NUMBER)
        return time_ms

    def _note(self, table: Table, row: int, text: str, kind: str) -> None:
        first, where = self._first = self._first or (kind, table.rows[row])
        if kind != first:
            raise self._fault(table, row, text, f"is {kind}, row {where} has {first}")

    def _fault(self, table: Table, row: int, text: str, problem: str) -> ConfigError:
        return table.fault(row, ",".join(self.names), text, problem)


def _all_numbers(texts: list[str]) -> Float | None:
    """`texts` as numbers, None where they are something else."""
    try:
        return np.fromiter(map(float, texts), np.float64, len(texts))
    except ValueError:
        return None


def _as_numbers(column: Column) -> Float:
    """The column as float64, NaN for what is no number."""
    if not isinstance(column, list):
        return column.astype(np.float64) if column.dtype.kind in NUMBERS else np.full(len(column), np.nan)
    found = _all_numbers(column)
    return np.array([_number(text) for text in column]) if found is None else found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def _iso_at_once(texts: list[str]) -> Int | None:
    """Epoch microseconds of texts of one length that all end in Z or all have no zone, otherwise None."""
    try:
        array = np.array(texts, np.bytes_)
        table = array.view(np.uint8).reshape(len(texts), -1)
        if (table[:, -1] == ord("Z")).all():
            table = np.ascontiguousarray(table[:, :-1])
        if not _is_plain(table):
            return None
        times: NDArray[np.datetime64] = table.view(f"S{table.shape[1]}").ravel().astype("M8[us]")
    except ValueError:
        return None
    return times.astype(np.int64)


def _is_plain(table: NDArray[np.uint8]) -> bool:
    """Whether NumPy reads these texts as we do: YYYY-MM-DD first, then no zone and no shorter text's padding."""
    if table.shape[1] < len("YYYY-MM-DD"):
        return False
    digits = (table[:, (0, 1, 2, 3, 5, 6, 8, 9)] - ord("0")) < 10
    dashes = table[:, (4, 7)] == ord("-")
    return bool(digits.all() and dashes.all() and AFTER_DATE[table[:, 10:]].all())


def _parsed(text: str) -> datetime | None:
    """ISO 8601, also with slashes, or without leading zeros."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        match = SLASHED.fullmatch(text.strip())
    if match is None:
        return None
    year, month, day, hour, rest = match.groups()
    clock = f"T{hour:0>2}{rest}" if hour else ""
    try:
        return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}{clock}")
    except ValueError:
        return None


def _calendar_ms(parts: list[Float]) -> Float:
    """Epoch milliseconds from year, month, day and up to three parts of the day; NaN where there is no such time."""
    midnight = [np.zeros(len(parts[0]))] * (6 - len(parts))
    year, month, day, hour, minute, second = parts + midnight
    good = _whole(year, 1, 10_000) & _whole(month, 1, 13) & _whole(day, 1, 32) & _whole(hour, 0, 24)
    good &= _whole(minute, 0, 60) & (second >= 0) & (second < 60)
    months = np.where(good, (year - 1970) * 12 + month - 1, 0).astype("M8[M]")
    days = months.astype("M8[D]") + np.where(good, day - 1, 0).astype("m8[D]")
    good &= days.astype("M8[M]") == months  # there is no 30 February
    time_ms = 86_400_000.0 * days.astype(np.int64) + 1000 * (3600 * hour + 60 * minute + second)
    return np.where(good, time_ms, np.nan)


def _whole(values: Float, low: int, high: int) -> Bool:
    """Which are whole numbers in [low, high)."""
    whole: Bool = (values >= low) & (values < high) & (values % 1 == 0)
    return whole
