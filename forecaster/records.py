"""The columns that travel down the line: raw records in, ticks, messages out."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Int = NDArray[np.int64]
Float = NDArray[np.float64]
Bool = NDArray[np.bool_]
Headers = Sequence[tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Raw records of one poll: `n` rows, grouped by partition, offsets ascending in each.

    `timestamp_ms` is the broker's record timestamp in epoch milliseconds. Records with
    `silent` set are replayed to rebuild state: they were published by an earlier run.
    """

    topic: str
    partition: Int
    offset: Int
    timestamp_ms: Int
    key: list[bytes | None]
    value: list[bytes | None]
    headers: list[Headers]
    silent: Bool

    def __len__(self) -> int:
        return len(self.value)


class Fault(NamedTuple):
    """Why a record goes to the dead-letter topic: its row, a bounded reason code, a text."""

    record: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class TickBatch:
    """Decoded ticks of one poll batch as columns, in record order.

    `record` is the row in the `RecordBatch` and `index` the tick's place in that record.
    `time_ms` is event time in epoch milliseconds; `value` is float64, NaN for a missing one, `[n, channels]` where
    a tick has a number for each of several channels. `covariates` are rows `[n, width]`.
    """

    series: list[str]
    time_ms: Int
    value: Float
    record: Int
    index: Int
    covariates: Float
    faults: list[Fault] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.series)

    def ahead(self, records: RecordBatch, most_ms: int) -> Bool:
        """Which ticks lie further ahead of their record's time than `most_ms`; none where it has no time."""
        record_ms = records.timestamp_ms[self.record]
        ahead: Bool = (self.time_ms > record_ms + most_ms) & (record_ms >= 0)
        return ahead

    def take(self, keep: Bool) -> "TickBatch":
        """The ticks where `keep` is set; the faults stay."""
        series = list(compress(self.series, keep.tolist()))
        columns = "time_ms", "value", "record", "index", "covariates"
        return replace(self, series=series, **{name: getattr(self, name)[keep] for name in columns})


class Message(NamedTuple):
    """One record to produce."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
