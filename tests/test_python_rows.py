"""Rows of fetched records against what kafka-python itself makes of the same bytes."""

import struct
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.legacy_records import LegacyRecordBatchBuilder
from kafka.record.memory_records import MemoryRecords
from kafka.record.util import calc_crc32c

from forecaster.kafka.python_rows import Row, _PartitionRows

PART = TopicPartition("ticks", 3)
GZIP, CONTROL, LOG_APPEND = 1, 0x20, 0x08
ABORT, COMMIT = struct.pack(">hh", 0, 0), struct.pack(">hh", 0, 1)
NOW_MS = 1_714_550_400_000

Written = tuple[int, int, bytes | None, bytes | None, list[tuple[str, bytes | None]]]


def batch(
    base: int, records: Sequence[Written], *, producer: int = -1, transactional: bool = False, attributes: int = 0,
    compression: int = 0, epoch: int = 5,
) -> bytes:  # fmt: skip
    """The bytes of one record batch; each record's offset is above `base`, its time behind `NOW_MS`."""
    state = {"producer_id": producer, "producer_epoch": 0, "base_sequence": 0}
    builder = DefaultRecordBatchBuilder(
        magic=2, compression_type=compression, is_transactional=transactional, batch_size=2**20, **state
    )
    for offset, later, key, value, headers in records:
        builder.append(offset, NOW_MS + later, key, value, headers)
    made = bytearray(builder.build())
    struct.pack_into(">q", made, 0, base)
    struct.pack_into(">i", made, 12, epoch)
    (before,) = struct.unpack_from(">h", made, 21)
    struct.pack_into(">h", made, 21, before | attributes)
    struct.pack_into(">I", made, 17, calc_crc32c(memoryview(made)[21:]))
    return bytes(made)


def numbered(count: int) -> list[Written]:
    return [(n, n, b"k%d" % n, b"v%d" % n, []) for n in range(count)]


def marker(base: int, producer: int, kind: bytes) -> bytes:
    record = (0, 0, kind, b"\0" * 6, [])
    return batch(base, [record], producer=producer, transactional=True, attributes=CONTROL)


def read(reader: type, data: bytes, at: int, aborted: Sequence[Any], sizes: Sequence[int]) -> list[Any]:
    """What `reader` returns for one take after another, and where it stands after each."""
    found = reader(
        at, PART, MemoryRecords(data), isolation_level=IsolationLevel.READ_COMMITTED, aborted_transactions=aborted
    )
    steps = []
    for size in sizes:
        rows = found.take(size) if found else []
        steps.append(([as_row(row) for row in rows], found.next_fetch_offset, found.leader_epoch, bool(found)))
    return steps


def as_row(row: Any) -> Row:
    if type(row) is tuple:
        return (*row[:4], list(row[4]))
    return row.offset, row.timestamp, row.key, row.value, [(name, value or b"") for name, value in row.headers]


def same(data: bytes, at: int = 0, aborted: Sequence[Any] = (), sizes: Sequence[int] = (3, 1, 10_000, 1)) -> list[Row]:
    theirs, ours = (read(reader, data, at, aborted, sizes) for reader in (Fetcher.PartitionRecords, _PartitionRows))
    assert ours == theirs
    return [row for rows, *_ in ours for row in rows]


some_bytes = st.none() | st.binary(max_size=90) | st.integers(8_000, 9_000).map(bytes)
headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=2)
record = st.tuples(
    st.integers(1, 3), st.integers(-(2**40), 2**40), some_bytes, some_bytes, st.just([]) | st.just([]) | headers
)


@given(
    batches=st.lists(st.tuples(st.lists(record, min_size=1, max_size=6), st.sampled_from([0, GZIP]), st.booleans())),
    at=st.integers(0, 12),
    sizes=st.lists(st.integers(1, 8), max_size=12),
)
def test_rows_are_what_kafka_python_reads_whatever_is_in_the_batches(batches: Any, at: int, sizes: list[int]) -> None:
    data, base = b"", 0
    for records, compression, stamped in batches:
        offset, written = -1, []
        for gap, *rest in records:  # compaction leaves gaps
            offset += gap
            written.append((offset, *rest))
        data += batch(base, written, compression=compression, attributes=LOG_APPEND if stamped else 0)
        base += offset + 1
    same(data, at, sizes=[*sizes, 100, 1])


def test_records_of_aborted_transactions_and_markers_are_no_rows() -> None:
    data = b"".join(
        [
            batch(0, numbered(4), producer=7, transactional=True),
            batch(4, numbered(2)),
            marker(6, 7, ABORT),
            batch(7, numbered(3), producer=7, transactional=True),
            batch(10, numbered(2), producer=8, transactional=True),
            marker(12, 7, COMMIT),
            marker(13, 8, ABORT),
            batch(14, [(0, 0, COMMIT, b"", [])], attributes=CONTROL),
        ]
    )
    aborted = [SimpleNamespace(producer_id=8, first_offset=10), SimpleNamespace(producer_id=7, first_offset=0)]
    assert [row[0] for row in same(data, aborted=aborted)] == [4, 5, 7, 8, 9]


def test_a_row_before_the_fetched_offset_is_left_out() -> None:
    assert [row[0] for row in same(batch(10, numbered(5)), at=13)] == [13, 14]


def test_records_of_the_old_format_are_read_too() -> None:
    builder = LegacyRecordBatchBuilder(magic=1, compression_type=0, batch_size=10_000)
    for n in range(3):
        builder.append(n, NOW_MS, b"k", b"v%d" % n)
    assert [row[3] for row in same(bytes(builder.build()))] == [b"v0", b"v1", b"v2"]


def test_a_record_from_before_there_were_timestamps_has_none_of_a_number() -> None:
    builder = LegacyRecordBatchBuilder(magic=0, compression_type=0, batch_size=10_000)
    builder.append(0, None, b"k", b"v")
    found = _PartitionRows(0, PART, MemoryRecords(bytes(builder.build())))
    assert found.take(10) == [(0, -1, b"k", b"v", [])]


@pytest.mark.parametrize("at", [40, 75, -1])
def test_a_batch_that_was_damaged_is_refused_behind_what_is_whole(at: int) -> None:
    whole, damaged = batch(0, numbered(3)), bytearray(batch(3, numbered(3)))
    damaged[at] ^= 0xFF
    for reader in (Fetcher.PartitionRecords, _PartitionRows):
        found = reader(0, PART, MemoryRecords(whole + bytes(damaged)))
        assert [as_row(row)[0] for row in found.take(10)] == [0, 1, 2]
        with pytest.raises(CorruptRecordError, match="at offset 3 f"):
            found.take(10)


@pytest.mark.parametrize("much", [-1, -2, 1])
def test_a_batch_that_its_records_do_not_fill_exactly_is_refused_as_by_kafka_python(much: int) -> None:
    damaged = bytearray(batch(0, numbered(3)) + b"\0")
    del damaged[len(damaged) - 1 + much :]
    struct.pack_into(">i", damaged, 8, len(damaged) - 12)
    struct.pack_into(">I", damaged, 17, calc_crc32c(memoryview(damaged)[21:]))
    for reader in (Fetcher.PartitionRecords, _PartitionRows):
        found = reader(0, PART, MemoryRecords(bytes(damaged)))
        with pytest.raises(CorruptRecordError):
            [found.take(1) for _ in range(4)]
