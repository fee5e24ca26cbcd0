"""Recorded ticks from CSV files, plain or gzipped, as columns in the order of the file.

Two shapes are read: *long*, a row per tick with a series, a time and a value column; and *wide*, a
time column and one column per series. Times are epoch numbers or ISO 8601; one without a zone is UTC.
"""

import csv
import gzip
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from forecaster.config import PER_MS, InputSettings
from forecaster.errors import ConfigError
from forecaster.records import Float, Int

TIME_COLUMNS = ("time", "timestamp", "date", "datetime")
MISSING = frozenset(("", "na", "nan", "null", "none"))


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what; None lets the header decide. Several value columns are averaged."""

    time: str | None = None
    series: str | None = None
    value: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """`n` ticks: `series` is the row in `names`, `time_ms` epoch milliseconds, `value` NaN where missing."""

    names: list[str]
    series: Int
    time_ms: Int
    value: Float

    def __len__(self) -> int:
        return len(self.series)

    def part(self, low: int, high: int) -> "Recording":
        """Ticks `low` to `high` in the order of the recording."""
        return Recording(self.names, self.series[low:high], self.time_ms[low:high], self.value[low:high])

    def ticks(self) -> Iterator[tuple[str, int, float]]:
        """Every tick as (series, epoch milliseconds, value)."""
        series = (self.names[n] for n in self.series.tolist())
        return zip(series, self.time_ms.tolist(), self.value.tolist(), strict=True)

    def fingerprint(self) -> str:
        """sha256 over names, times and values."""
        digest = hashlib.sha256("\0".join(self.names).encode())
        for column in (self.series, self.time_ms, self.value):
            digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()


def read_recording(paths: Sequence[Path], settings: InputSettings, columns: Columns) -> Recording:
    """All ticks of the CSV files at `paths`, file after file.

    A series name that stands in several files is told apart by the file's name. Raises `ConfigError`
    with one line that names file and row.
    """
    parts = [_read_file(path, settings, columns) for path in paths]
    seen: dict[str, int] = {}
    for part in parts:
        for name in part.names:
            seen[name] = seen.get(name, 0) + 1
    names: list[str] = []
    series = []
    for path, part in zip(paths, parts, strict=True):
        series.append(part.series + len(names))
        names += [name if seen[name] == 1 else f"{path.name.split('.')[0]}.{name}" for name in part.names]
    return Recording(
        names,
        np.concatenate(series),
        np.concatenate([part.time_ms for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def _read_file(path: Path, settings: InputSettings, columns: Columns) -> Recording:
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as file:
            rows = list(csv.reader(file))
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: cannot be read as CSV: {error}") from error
    if len(rows) < 2:
        raise ConfigError(f"{path}: has no rows below a header")
    header, body = rows[0], rows[1:]
    for number, row in enumerate(body, 2):
        if len(row) != len(header):
            raise ConfigError(f"{path}: row {number}: {len(row)} columns, the header has {len(header)}")
    table = dict(zip(header, zip(*body, strict=True), strict=True))
    time_column = _pick(path, header, columns.time, (settings.time_field, *TIME_COLUMNS))
    time_ms = _times(path, time_column, table[time_column], settings)
    series_column = columns.series or (settings.series_field if settings.series_field in header else None)
    if series_column is None:
        return _wide(path, table, time_column, columns.value, time_ms)
    _pick(path, header, series_column, ())
    value_columns = columns.value or (_pick(path, header, None, (settings.value_field,)),)
    values = [_values(path, _pick(path, header, name, ()), table[name]) for name in value_columns]
    names, series = np.unique(np.array(table[series_column]), return_inverse=True)
    return Recording(names.tolist(), series.astype(np.int64), time_ms, np.mean(values, axis=0))


def _wide(
    path: Path, table: dict[str, tuple[str, ...]], time_column: str, chosen: tuple[str, ...], time_ms: Int
) -> Recording:
    names = [_pick(path, list(table), name, ()) for name in chosen] or [name for name in table if name != time_column]
    if not names:
        raise ConfigError(f"{path}: has no column beside {time_column!r}")
    values = np.stack([_values(path, name, table[name]) for name in names], axis=1)
    rows = len(time_ms)
    return Recording(names, np.tile(np.arange(len(names)), rows), np.repeat(time_ms, len(names)), values.ravel())


def _pick(path: Path, header: list[str], name: str | None, fallbacks: tuple[str, ...]) -> str:
    for candidate in (name,) if name else fallbacks:
        if candidate in header:
            return candidate
    wanted = repr(name) if name else " or ".join(map(repr, fallbacks))
    raise ConfigError(f"{path}: has no column {wanted}: it has {', '.join(header)[:200]}")


def _times(path: Path, name: str, texts: Sequence[str], settings: InputSettings) -> Int:
    try:
        numbers = np.array(texts, dtype=np.float64)
        if np.isfinite(numbers).all():
            return np.rint(numbers / PER_MS[settings.time_unit]).astype(np.int64)
    except ValueError:
        pass  # ISO times, or a mistake that the reading one by one will name
    one_by_one = (_time(path, name, number, text, settings) for number, text in enumerate(texts, 2))
    return np.fromiter(one_by_one, np.int64, len(texts))


def _time(path: Path, name: str, number: int, text: str, settings: InputSettings) -> int:
    with suppress(ValueError, OverflowError):
        return round(float(text) / PER_MS[settings.time_unit])
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{path}: row {number}: {text[:40]!r} in column {name!r} is no time") from None
    return round((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1000)


def _values(path: Path, name: str, texts: Sequence[str]) -> Float:
    filled = [text if text.strip().lower() not in MISSING else "nan" for text in texts]
    try:
        values = np.array(filled, dtype=np.float64)
    except ValueError:
        values = np.array([_number(path, name, number, text) for number, text in enumerate(filled, 2)])
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32))
    if infinite.any():
        number = int(infinite.argmax())
        raise ConfigError(f"{path}: row {number + 2}: {texts[number]!r} in column {name!r} does not fit a float32")
    return values


def _number(path: Path, name: str, number: int, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{path}: row {number}: {text[:40]!r} in column {name!r} is no number") from None
