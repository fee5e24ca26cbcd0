"""Fetched records as plain rows: kafka-python makes two objects of each record, calls it by many properties, and more.

What decides on the records of a fetch (checksums, aborted transactions, control batches) is asked of kafka-python;
records in the format of today are taken apart here, all others by kafka-python too. No other file
reaches into its fetcher; `tests/test_python_rows.py` fails where a release has changed it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.util import decode_varint

from forecaster.records import Headers

NO_TIME = -1  # as the broker has it: records from before Kafka 0.10 have none

Row = tuple[int, int, bytes | None, bytes | None, Headers]  # offset, timestamp in ms, key, value, headers


def read_rows(consumer: Any) -> None:
    """Let `consumer.poll` return a list of rows for each partition from now on."""
    consumer._fetcher.PartitionRecords = _PartitionRows  # noqa: SLF001


class _PartitionRows(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    """What one fetch brought of one partition."""

    fetch_offset: int
    next_fetch_offset: int

    def take(self, n: int | None = None) -> list[Row]:
        rows: list[Row] = super().take(n)
        if rows:
            self.next_fetch_offset = max(self.next_fetch_offset, rows[-1][0] + 1)
        return rows

    def _maybe_skip_record(self, row: Row) -> bool:
        return row[0] < self.fetch_offset

    def _unpack_records(self, tp: Any, records: Any, *_: Any) -> Iterator[Row]:
        while (batch := records.next_batch()) is not None:
            if self.check_crcs and not batch.validate_crc():
                raise CorruptRecordError(f"the batch of {tp} at offset {batch.base_offset} fails its checksum")
            if not isinstance(batch, DefaultRecordBatch):
                yield from _any_rows(batch)
                continue
            self.leader_epoch = batch.leader_epoch
            if self._is_visible(batch):
                rows = _plain_rows(batch)
                yield from _any_rows(batch) if rows is None else rows
            self.next_fetch_offset = batch.next_offset
        self.drain()

    def _is_visible(self, batch: Any) -> bool:
        """Whether the batch has records, and those of no aborted transaction."""
        if batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return False
        return not batch.is_control_batch


def _any_rows(batch: Any) -> Iterable[Row]:
    for record in batch:
        if not record.validate_crc():
            raise CorruptRecordError(f"the record at offset {record.offset} fails its checksum")
        headers = [(name, value or b"") for name, value in record.headers]
        time_ms = NO_TIME if record.timestamp is None else record.timestamp
        yield record.offset, time_ms, record.key, record.value, headers


def _plain_rows(batch: Any) -> list[Row] | None:
    """The rows of a batch; None where it is damaged, of which kafka-python knows how to tell."""
    iter(batch)  # decompresses it
    data, at = bytes(batch._buffer), batch._pos  # noqa: SLF001
    base, stamped = batch.base_offset, batch.timestamp_type == batch.LOG_APPEND_TIME
    time_ms, moves = (batch.max_timestamp, 0) if stamped else (batch.first_timestamp, 1)
    rows: list[Row] = []
    try:
        for _ in range(batch.records_count):
            size, at = decode_varint(data, at)
            end = at + size
            later, at = decode_varint(data, at + 1)  # behind the attributes, which no version uses
            offset, at = decode_varint(data, at)
            size, at = decode_varint(data, at)
            key = None if size < 0 else data[at : (at := at + size)]
            size, at = decode_varint(data, at)
            value = None if size < 0 else data[at : (at := at + size)]
            count, at = decode_varint(data, at)
            headers, at = _headers(data, at, count) if count else ((), at)
            if at != end or count < 0:
                return None
            rows.append((base + offset, time_ms + moves * later, key, value, headers))
    except (IndexError, ValueError):
        return None
    return rows if at == len(data) else None


def _headers(data: bytes, at: int, count: int) -> tuple[Headers, int]:
    """`count` headers that begin at `at`, and where they end; a null value is an empty one: it cannot be produced."""
    headers = []
    for _ in range(count):
        size, at = decode_varint(data, at)
        name = data[at : (at := at + size)].decode("utf-8", "backslashreplace")  # as python_headers does
        size, at = decode_varint(data, at)
        headers.append((name, b"" if size < 0 else data[at : (at := at + size)]))
    return headers, at
