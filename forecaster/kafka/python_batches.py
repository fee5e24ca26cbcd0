"""Messages as whole record batches: what `KafkaProducer.send` does for each message is done once for each batch.

A `send` hashes the key, copies the metadata, checks every argument and makes a future, which costs many times what
the bytes do. What comes here is of one thread and of known types, so records are written straight into the batches
that kafka-python's sender takes. No other file reaches into the accumulator of its producer;
`tests/test_python_batches.py` fails where a release has changed it.
"""

import random
import time
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.partitioner import murmur2
from kafka.producer.future import FutureRecordMetadata
from kafka.producer.producer_batch import ProducerBatch
from kafka.record.default_records import DefaultRecordBatchBuilder
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.record.util import encode_varint

from forecaster.records import Headers, Message

MAGIC, UNCOMPRESSED = 2, 0
KEYS = 2**17  # whose hash is kept: in pure Python it takes longer than all the rest
HEADER_BYTES: int = DefaultRecordBatchBuilder.header_size_in_bytes()
LENGTH_BYTES = 5  # of a record's length, at most
START = b"\0\0"  # no attributes, and the time of the batch
NULL = b"\1"
NO_HEADERS = b"\0"

_hashed = lru_cache(KEYS)(murmur2)


class Batch(ProducerBatch):  # type: ignore[misc]  # kafka-python ships no types
    """Messages of one partition on their way, with one result for all of them."""

    def __init__(self, part: TopicPartition, body: bytes, count: int) -> None:
        super().__init__(part, _records(body, count))
        self._record_futures = _Futures(self.produce_future, count)

    def check(self, deadline: float) -> None:
        """Raise what any of the messages failed with; `deadline` is in seconds of `time.monotonic`."""
        if self.produce_future.wait(max(0.0, deadline - time.monotonic())) and self.produce_future.is_done:
            _, _, failure = self.produce_future.value
            if failure is not None:
                errors = map(failure, range(self.record_count))  # of most, only that another one was refused
                raise next((error for error in errors if type(error) is not KafkaError), failure(0))
            return
        if not self._record_futures.made:
            raise KafkaTimeoutError(f"no answer for {self.record_count} messages to {self.topic_partition}")
        for future in self._record_futures.made:
            future.get(timeout=max(0.0, deadline - time.monotonic()))


class _Futures:
    """A future for each message, made only where the broker finds the batch too large and kafka-python splits it."""

    def __init__(self, whole: Any, count: int) -> None:
        self._whole, self._count = whole, count
        self.made: list[Any] = []

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Any:
        if not self.made:
            self.made = [FutureRecordMetadata(self._whole, at, 0, None, -1, -1, -1) for at in range(self._count)]
        return self.made[index]


def send(producer: Any, messages: Iterable[Message], limits: Mapping[str, int], most_bytes: int) -> list[Batch]:
    """Hand `messages` to the sender in their order and return the batches that hold them.

    A batch has `most_bytes` at most, or what `limits` has for its topic where that is less, or one message. Raises
    as `KafkaProducer.send` does: `KafkaError`, and `ValueError` for a partition that is not there.
    """
    topics: dict[str, _Topic] = {}
    for name, run in groupby(messages, attrgetter("topic")):
        if name not in topics:
            topics[name] = _Topic(producer, name, min(most_bytes, limits[name]))
        topics[name].add(run)
    return [batch for topic in topics.values() for part in topic.parts.values() for batch in part.finished()]


class _Topic:
    def __init__(self, producer: Any, name: str, most_bytes: int) -> None:
        numbers = sorted(producer.partitions_for(name))
        self.parts = {number: _Part(producer, TopicPartition(name, number), most_bytes) for number in numbers}
        self._led = list(producer._metadata.available_partitions_for_topic(name) or numbers)  # noqa: SLF001

    def add(self, messages: Iterable[Message]) -> None:
        """Put each message where kafka-python's own partitioner would."""
        parts, led = list(self.parts.values()), self._led
        for _, key, value, headers, number in messages:
            if number is not None:
                part = self._numbered(number)
            elif key is not None:
                part = parts[(_hashed(key) & 0x7FFFFFFF) % len(parts)]
            else:
                part = self.parts[random.choice(led)]
            part.add(key, value, headers)

    def _numbered(self, number: int) -> "_Part":
        if number not in self.parts:
            raise ValueError(f"there is no partition {number}")
        return self.parts[number]


class _Part:
    """The batches of one partition: those that the sender has, and what goes into the next one."""

    def __init__(self, producer: Any, part: TopicPartition, most_bytes: int) -> None:
        self._producer, self._part, self._most = producer, part, most_bytes
        self._pieces: list[bytes] = []
        self._count, self._size = 0, HEADER_BYTES
        self._batches: list[Batch] = []

    def add(self, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        keyed = (NULL, b"") if key is None else (_varint(len(key)), key)
        valued = (NULL, b"") if value is None else (_varint(len(value)), value)
        pieces = *keyed, *valued, _headed(headers) if headers else NO_HEADERS
        record = b"".join((START, _varint(self._count), *pieces))
        size = len(record) + LENGTH_BYTES
        if self._count and self._size + size > self._most:
            self._hand_over()
            record = b"".join((START, _varint(0), *pieces))
        self._pieces += _varint(len(record)), record
        self._count += 1
        self._size += size

    def finished(self) -> list[Batch]:
        """All of them, with the sender."""
        if self._count:
            self._hand_over()
        return self._batches

    def _hand_over(self) -> None:
        batch = Batch(self._part, b"".join(self._pieces), self._count)
        self._pieces, self._count, self._size = [], 0, HEADER_BYTES
        self._batches.append(batch)
        _enqueue(self._producer, batch)


def _enqueue(producer: Any, batch: Batch) -> None:
    part, accumulator = batch.topic_partition, producer._accumulator  # noqa: SLF001
    if batch.records.size_in_bytes() > producer.config["max_request_size"]:
        raise MessageSizeTooLargeError(f"a message of {batch.records.size_in_bytes()} bytes to {part}")
    if producer._transaction_manager.is_transactional():  # noqa: SLF001
        producer._transaction_manager.maybe_add_partition_to_transaction(part)  # noqa: SLF001
    with accumulator._tp_lock(part):  # noqa: SLF001
        accumulator._batches[part].append(batch)  # noqa: SLF001
        accumulator._incomplete.add(batch)  # noqa: SLF001


def _records(body: bytes, count: int) -> Any:
    """`count` encoded records as if they had been appended one by one, with nothing to follow."""
    records = MemoryRecordsBuilder(MAGIC, UNCOMPRESSED, HEADER_BYTES + len(body))
    builder = records._builder  # noqa: SLF001
    builder._buffer += body  # noqa: SLF001
    builder._first_timestamp = builder._max_timestamp = int(time.time() * 1_000)  # noqa: SLF001
    builder._num_records, builder._last_offset = count, count - 1  # noqa: SLF001
    records._next_offset = count  # noqa: SLF001
    return records


def _headed(headers: Headers) -> bytes:
    names = [name.encode() for name, _ in headers]
    pieces = [_varint(len(headers))]
    for name, (_, value) in zip(names, headers, strict=True):
        pieces += _varint(len(name)), name, _varint(len(value)), value
    return b"".join(pieces)


@lru_cache(2**14)
def _varint(number: int) -> bytes:
    encoded = bytearray()
    encode_varint(number, encoded.append)
    return bytes(encoded)
