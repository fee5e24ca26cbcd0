"""Messages as whole record batches: what `KafkaProducer.send` does for each message is done once for each batch.

A `send` hashes the key, copies the metadata, checks every argument and makes a future, which costs many times what
the bytes do. What comes here is of one thread and of known types, so records are written straight into the batches
that kafka-python's sender takes. No other file reaches into the accumulator of its producer;
`tests/test_python_batches.py` fails where a release has changed it.
"""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
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
RECORD_BYTES = 17  # of a record beside its key, value and headers, at most
START = b"\0\0"  # no attributes, and the time of the batch
NULL = b"\1"
NO_HEADERS = b"\0"

_hashed = lru_cache(KEYS)(murmur2)


class Batch(ProducerBatch):  # type: ignore[misc]  # kafka-python ships no types
    """Messages of one partition on their way, with one result for all of them."""

    def __init__(self, part: TopicPartition, encoded: bytearray, count: int) -> None:
        super().__init__(part, _records(encoded, count))
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


def send(producer: Any, messages: Sequence[Message], limits: Mapping[str, int], most_bytes: int) -> list[Batch]:
    """Hand `messages` to the sender, those of a partition in their order, and return the batches that hold them.

    A batch has `most_bytes` at most, or what `limits` has for its topic where that is less, or one message. Raises
    as `KafkaProducer.send` does: `KafkaError`, and `ValueError` for a partition that is not there.
    """
    batches = []
    for topic in dict.fromkeys(message.topic for message in messages):
        most = min(most_bytes, limits[topic])
        for number, placed in _placed(producer, topic, messages).items():
            part = TopicPartition(topic, number)
            batches += [Batch(part, *encoded) for encoded in _encoded(placed, most)]
    for batch in batches:
        _enqueue(producer, batch)
    return batches


def _placed(producer: Any, topic: str, messages: Iterable[Message]) -> dict[int, list[Message]]:
    """The messages of `topic` by partition, each where kafka-python's own partitioner puts it."""
    placed: dict[int, list[Message]] = {number: [] for number in sorted(producer.partitions_for(topic))}
    by_hash = list(placed.values())
    led = list(producer._metadata.available_partitions_for_topic(topic) or placed)  # noqa: SLF001
    for message in messages:
        if message.topic != topic:
            continue
        if message.partition is not None:
            if message.partition not in placed:
                raise ValueError(f"{topic} has no partition {message.partition}")
            placed[message.partition].append(message)
        elif message.key is not None:
            by_hash[(_hashed(message.key) & 0x7FFFFFFF) % len(by_hash)].append(message)
        else:
            placed[random.choice(led)].append(message)
    return placed


def _encoded(messages: Iterable[Message], most_bytes: int) -> Iterator[tuple[bytearray, int]]:
    """Batches of `messages`, the headers of the batches still empty, and the number of records in each."""
    batch, count = bytearray(HEADER_BYTES), 0
    for _, key, value, headers, _ in messages:
        keyed = NULL if key is None else _varint(len(key)) + key
        valued = NULL if value is None else _varint(len(value))
        ending = _headed(headers) if headers else NO_HEADERS
        needed = RECORD_BYTES + len(keyed) + len(value or b"") + len(ending)
        if count and len(batch) + needed > most_bytes:
            yield batch, count
            batch, count = bytearray(HEADER_BYTES), 0
        record = b"".join((START, _varint(count), keyed, valued, value or b"", ending))
        batch += _varint(len(record))
        batch += record
        count += 1
    if count:
        yield batch, count


def _enqueue(producer: Any, batch: Batch) -> None:
    part, accumulator = batch.topic_partition, producer._accumulator  # noqa: SLF001
    if batch.records.size_in_bytes() > producer.config["max_request_size"]:
        raise MessageSizeTooLargeError(f"a message of {batch.records.size_in_bytes()} bytes to {part}")
    if producer._transaction_manager.is_transactional():  # noqa: SLF001
        producer._transaction_manager.maybe_add_partition_to_transaction(part)  # noqa: SLF001
    with accumulator._tp_lock(part):  # noqa: SLF001
        accumulator._batches[part].append(batch)  # noqa: SLF001
        accumulator._incomplete.add(batch)  # noqa: SLF001


def _records(encoded: bytearray, count: int) -> Any:
    """`count` encoded records as if they had been appended one by one, with nothing to follow."""
    records = MemoryRecordsBuilder(MAGIC, UNCOMPRESSED, len(encoded))
    builder = records._builder  # noqa: SLF001
    builder._buffer = encoded  # noqa: SLF001
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
