"""The input topic's history as recorded ticks: what training learns from where there is no file."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.formats.json_ticks import JsonTickDecoder
from forecaster.kafka.python_connect import (
    READING,
    REFUSALS,
    connection_options,
    input_partitions,
    prepare_library,
    routed,
    unavailable,
)
from forecaster.kafka.python_offsets import log_begins, log_ends
from forecaster.recording.ticks import Recording, numbered
from forecaster.records import RecordBatch, TickBatch
from forecaster.vocabulary import CodeBook

POLL_MS = 100
RECORDS = 200_000  # of a part at most; a fetch holds fewer unless they are tiny


class Span(NamedTuple):
    """The records of `partition` from offset `first` up to, without, `end`."""

    partition: TopicPartition
    first: int
    end: int


def read_history(
    settings: Settings, client_id: str, start_ms: int | None, say: Callable[[str], None]
) -> Iterator[Recording]:
    """The ticks of the input topic as they were at the call, partition after partition, a fetch at a time.

    Reads records whose timestamp in the log is `start_ms` or later, from the earliest without it, in no
    consumer group. They are decoded as in serving; what is malformed is left out, and `say` gets one
    line about it. Raises `ConfigError` where there is no tick, `BrokerUnavailableError` without a broker.
    """
    prepare_library()
    book = CodeBook() if settings.model.coded else None
    decoder = JsonTickDecoder(settings.input, book, settings.model.horizon)
    own, left_out, found = len(settings.input.covariates), _Malformed(), False
    try:
        for records in _read(settings, client_id, start_ms):
            ticks = decoder.decode(records)
            future = ticks.ahead(records, settings.stream.max_future)
            left_out.add(records, ticks, future)
            if len(part := _recording(records, ticks.take(~future), book, own)):
                found = True
                yield part
    except REFUSALS as error:
        raise routed(error, "read the input topic") from None
    except (KafkaError, OSError) as error:
        raise unavailable(settings.kafka, error) from None
    left_out.tell(say)
    if not found:
        since = "" if start_ms is None else " since --from"
        raise ConfigError(f"topics.input = {settings.topics.input!r}: holds no tick{since}")


def _read(settings: Settings, client_id: str, start_ms: int | None) -> Iterator[RecordBatch]:
    parts = [TopicPartition(settings.topics.input, number) for number in input_partitions(settings, client_id)]
    timeout_ms = settings.kafka.startup_timeout
    options = {**connection_options(settings.kafka, client_id), **READING, "max_poll_records": RECORDS}
    with closing(KafkaConsumer(**options, bootstrap_timeout_ms=timeout_ms)) as consumer:
        for span in _spans(consumer, parts, start_ms, timeout_ms):
            for rows in _fetches(consumer, span, timeout_ms):
                yield record_batch(span.partition, rows)


def _spans(consumer: Any, parts: Sequence[TopicPartition], start_ms: int | None, timeout_ms: int) -> list[Span]:
    begin = log_begins(consumer, parts, timeout_ms)
    end = log_ends(consumer, parts, timeout_ms)
    if start_ms is not None:
        found = consumer.offsets_for_times(dict.fromkeys(parts, max(0, start_ms)), timeout_ms=timeout_ms)
        begin = {part: end[part] if found[part] is None else found[part].offset for part in parts}
    return [Span(part, begin[part], end[part]) for part in parts if begin[part] < end[part]]


def _fetches(consumer: Any, span: Span, timeout_ms: int) -> Iterator[list[Any]]:
    """Records up to the end by position: behind the last record there may be transaction markers."""
    part = span.partition
    consumer.assign([part])
    consumer.seek(part, span.first)
    position, since = span.first, time.monotonic()
    while position < span.end:
        found = consumer.poll(timeout_ms=POLL_MS).get(part, [])
        before, position = position, consumer.position(part)
        if rows := [row for row in found if row.offset < span.end]:
            yield rows
        if position > before:
            since = time.monotonic()  # also what the reader of these records takes is no fault of the broker
        elif time.monotonic() - since > timeout_ms / 1_000:
            name = f"{part.topic}/{part.partition}"
            raise KafkaTimeoutError(f"{name} stays at offset {position} of {span.end}")


def record_batch(part: TopicPartition, rows: list[Any]) -> RecordBatch:
    """Records of one partition, at least one, as columns."""
    return RecordBatch(
        topic=part.topic,
        partition=np.full(len(rows), part.partition),
        offset=np.array([row.offset for row in rows], np.int64),
        timestamp_ms=np.array([-1 if row.timestamp is None else row.timestamp for row in rows], np.int64),
        key=[row.key for row in rows],
        value=[row.value for row in rows],
        headers=[()] * len(rows),
        silent=np.zeros(len(rows), bool),
    )


def _recording(records: RecordBatch, ticks: TickBatch, book: CodeBook | None, covariates: int) -> Recording:
    """`ticks` with so many covariates, of which a recording has what they were at each tick's own step."""
    names, series = numbered(ticks.series)
    codes, labels = (book.codes, book.labels) if book else ([], [])
    own = ticks.covariates[:, :covariates] if covariates else None
    return Recording(names, series, ticks.time_ms, ticks.value, int(records.partition[0]), codes, labels, own)


class _Malformed:
    """Counts the records that serving would send to the dead-letter topic."""

    def __init__(self) -> None:
        self._reasons: Counter[str] = Counter()
        self._first = ""

    def add(self, records: RecordBatch, ticks: TickBatch, future: np.ndarray) -> None:
        """Take the faults of `ticks`, and the first tick of each record that lies in the future."""
        faults = {int(row): ("future", "a tick is too far ahead of its record's time") for row in ticks.record[future]}
        faults |= {fault.record: (fault.reason, fault.error) for fault in ticks.faults}
        self._reasons.update(faults[row][0] for row in sorted(faults))
        if faults and not self._first:
            row = min(faults)
            source = f"{records.topic}/{records.partition[row]}/{records.offset[row]}"
            self._first = f"{source}: {' '.join(faults[row][1].split())}"

    def tell(self, say: Callable[[str], None]) -> None:
        """One line, if there were any."""
        if self._reasons:
            counts = ", ".join(f"{count} {reason}" for reason, count in self._reasons.most_common())
            say(f"left out what is malformed in {self._reasons.total()} records ({counts}); the first: {self._first}")
