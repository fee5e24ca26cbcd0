"""Recorded ticks as columns, in one piece or in parts, and what identifies them."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from forecaster.records import Bool, Float, Int
from forecaster.vocabulary import CodeBook


@dataclass(frozen=True, slots=True)
class Recording:
    """`n` ticks: `series` is the row in `names`, `time_ms` epoch milliseconds, `value` NaN where missing.

    Where a tick has a number for each of several channels, `value` is `[n, channels]`.

    A part of a longer recording has names of its own. `partition` is the topic's where the ticks were
    read from Kafka: event time goes on in each partition by itself. Where the values are codes, `value` is the
    place in `codes`, and in `labels` of what is to be said of a stream whose newest code that is. `covariates`
    `[n, covariates]` are what they are at each tick's own step, past ones first, or None.
    """

    names: list[str]
    series: Int
    time_ms: Int
    value: Float
    partition: int = 0
    codes: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    covariates: Float | None = None

    def __len__(self) -> int:
        return len(self.series)

    def part(self, low: int, high: int) -> "Recording":
        """Ticks `low` to `high` in the order of the recording."""
        return self._rows(slice(low, high))

    def where(self, keep: Bool) -> "Recording":
        """The ticks that `keep` is set for."""
        return self._rows(keep)

    def _rows(self, rows: slice | Bool) -> "Recording":
        columns = "series", "time_ms", "value", "covariates"
        taken = {name: column[rows] for name in columns if (column := getattr(self, name)) is not None}
        return replace(self, **taken)

    def ticks(self) -> Iterator[tuple[str, int, float | str | list[float]]]:
        """Every tick as (series, epoch milliseconds, value): a number, a code or several, NaN for a missing one."""
        series = (self.names[n] for n in self.series.tolist())
        values: list[float | str | list[float]] = self.value.tolist()
        if self.codes:
            values = [self.codes[int(n)] if n == n else n for n in self.value.tolist()]  # noqa: PLR0124  # NaN
        return zip(series, self.time_ms.tolist(), values, strict=True)

    def fingerprint(self) -> str:
        """sha256 over series, times and values of all ticks in order."""
        fingerprint = Fingerprint()
        fingerprint.add(self)
        return fingerprint.hexdigest()


def numbered(texts: Sequence[str]) -> tuple[list[str], Int]:
    """The different texts in order of appearance, and the place of each text among them."""
    place = {text: n for n, text in enumerate(dict.fromkeys(texts))}
    return list(place), np.fromiter(map(place.__getitem__, texts), np.int64, len(texts))


def join(parts: Iterable[Recording]) -> Recording:
    """All ticks of `parts` in one recording; series of one name are one series, in order of appearance."""
    number: dict[str, int] = {}
    book = CodeBook()
    series, time_ms, value = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], list[Float]()
    covariates = []
    for part in recoded(parts, book):
        series.append(_renumber(part, number))
        time_ms.append(part.time_ms)
        value.append(part.value)
        covariates += [] if part.covariates is None else [part.covariates]
    columns = np.concatenate(series), np.concatenate(time_ms), np.concatenate(value or [np.zeros(0)])
    given = np.concatenate(covariates) if covariates else None
    return Recording(list(number), *columns, codes=book.codes, labels=book.labels, covariates=given)


def recoded(parts: Iterable[Recording], book: CodeBook) -> Iterator[Recording]:
    """`parts` with the codes of all of them numbered by one `book`; parts of numbers as they are."""
    for part in parts:
        if not part.codes:
            yield part
            continue
        numbers = np.append(book.ids(part.codes, part.labels), np.nan)
        place = np.where(np.isnan(part.value), len(part.codes), part.value).astype(np.int64)
        yield replace(part, value=numbers[place], codes=book.codes, labels=book.labels)


class Fingerprint:
    """sha256 over ticks as they pass by: where a recording is cut into parts makes no difference.

    The codes of all parts are to be numbered by one book.
    """

    def __init__(self) -> None:
        self.ticks = 0
        self._number: dict[str, int] = {}
        self._codes = ""
        self._digest = hashlib.sha256()

    @property
    def series(self) -> int:
        """How many different series there were."""
        return len(self._number)

    def add(self, part: Recording) -> None:
        """Take the ticks of `part`, which come after those of the parts before it."""
        given = part.covariates
        also = [] if given is None else [("covariates", "<f8", given.shape[1:])]
        own = [("series", "<i8"), ("time_ms", "<i8"), ("value", "<f8", part.value.shape[1:])]
        rows = np.zeros(len(part), np.dtype([*own, *also]))
        rows["series"] = _renumber(part, self._number)
        rows["time_ms"] = part.time_ms
        rows["value"] = np.where(np.isnan(part.value), np.nan, part.value)  # a NaN has many bit patterns
        if given is not None:
            rows["covariates"] = np.where(np.isnan(given), np.nan, given)
        self._digest.update(rows.tobytes())
        self._codes = "".join(f"\0{code}\0{label}" for code, label in zip(part.codes, part.labels, strict=True))
        self.ticks += len(part)

    def passing(self, parts: Iterable[Recording]) -> Iterator[Recording]:
        """`parts` as they are, each added on its way."""
        for part in parts:
            self.add(part)
            yield part

    def hexdigest(self) -> str:
        """The fingerprint of all ticks so far."""
        digest = self._digest.copy()
        digest.update("\0".join(self._number).encode())
        digest.update(self._codes.encode())
        return digest.hexdigest()


def _renumber(part: Recording, number: dict[str, int]) -> Int:
    """`part.series` as numbers of `number`, which grows by the names that are new, in order of appearance."""
    rows = len(part)
    first = np.full(len(part.names), rows)
    first[part.series[::-1]] = np.arange(rows)[::-1]  # of equal series the last one written stays
    numbers = np.zeros(len(part.names), np.int64)
    for n in np.argsort(first)[: np.count_nonzero(first < rows)].tolist():
        numbers[n] = number.setdefault(part.names[n], len(number))
    return numbers[part.series]
