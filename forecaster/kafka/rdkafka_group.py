"""Membership of the consumer group on librdkafka: how it reads, who it is, and what happens to its partitions.

A partition is handed to librdkafka once it is known where to read it from, and taken back before that changes:
until then nothing of it is fetched.
"""

import logging
import struct
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from operator import methodcaller
from typing import Any

import numpy as np
from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka import KafkaError as LibraryError
from kafka import KafkaConsumer
from kafka import TopicPartition as TopicPartitionOf
from kafka.errors import FencedInstanceIdError, InconsistentGroupProtocolError, InvalidSessionTimeoutError, KafkaError

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.kafka.halves import Member, Progress, Rows
from forecaster.kafka.python_commit import act_as_member
from forecaster.kafka.python_connect import READING as PYTHON_READING
from forecaster.kafka.python_connect import (
    await_metadata,
    one_line,
    refresh_metadata,
    routed,
    topic_id,
    wire,
)
from forecaster.kafka.python_group import group_options
from forecaster.kafka.python_headers import headers_of
from forecaster.kafka.rdkafka_connect import by, library_log, library_options, translated
from forecaster.records import Headers

logger = logging.getLogger(__name__)

ANSWER_MS = 1_000  # for what can be done without
READING = {
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.offset.reset": "error",  # said instead of going elsewhere
    "enable.partition.eof": True,  # tells of the markers of transactions at the end
    "queued.max.messages.kbytes": 32 * 2**10,
    "fetch.queue.backoff.ms": 10,  # a second by default, in which a reader that is faster finds nothing
    "fetch.error.backoff.ms": 100,
}


READ_HEADERS = methodcaller("headers")
UNREADABLE: Headers = (("", b""),)


class Group:
    """Implements `halves.Group`."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._kafka, self._topic = settings.kafka, settings.topics.input
        self._asking = {**options, **group_options(settings.kafka)}
        self._reading = {**options, **PYTHON_READING}  # outside of the group
        self._refresh_seconds = self._asking["metadata_max_age_ms"] / 1_000
        self._consumer: Any = None
        self._lookup: Any = None
        self._forget()

    def _forget(self) -> None:
        self._notes: deque[tuple[bool, list[int]]] = deque()
        self._owned: set[int] = set()  # as the group gave them
        self._positions: dict[int, int] = {}  # of those that librdkafka has been handed
        self._settled = -1  # the generation of the last assignment
        self._out_of_range: set[int] = set()
        self._refreshed = time.monotonic()

    @property
    def lookup(self) -> Any:
        """Implement `Group.lookup`."""
        return self._lookup

    def join(self, deadline: float) -> None:
        """Implement `Group.join`."""
        left_ms = max(1, int((deadline - time.monotonic()) * 1_000))
        lookup = KafkaConsumer(**{**self._asking, "bootstrap_timeout_ms": left_ms})
        try:
            await_metadata(lookup, self._topic, deadline)
        except BaseException:
            lookup.close()
            raise
        self._forget()
        self._consumer = Consumer({**library_options(self._asking), **READING}, logger=library_log)
        self._consumer.subscribe(
            [self._topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )
        act_as_member(lookup, lambda: self._place()[:2])
        self._lookup = lookup

    def leave(self, timeout_ms: int) -> None:
        """Implement `Group.leave`."""
        consumer, self._consumer = self._consumer, None
        lookup, self._lookup = self._lookup, None
        if consumer is not None:
            with suppress(KafkaError):  # it goes on behind our back, and leaves once a broker answers
                by(time.monotonic() + timeout_ms / 1_000, "close", consumer.close)
            with suppress(KafkaError):
                lookup.close(timeout_ms=timeout_ms)
        self._forget()

    def _on_assign(self, consumer: Any, parts: Sequence[TopicPartition]) -> None:
        numbers = [part.partition for part in parts]
        self._owned.update(numbers)
        self._notes.append((True, numbers))
        consumer.incremental_assign([])
        self._settled, _, _ = self._place()

    def _on_revoke(self, consumer: Any, parts: Sequence[TopicPartition]) -> None:
        numbers = [part.partition for part in parts]
        self._owned.difference_update(numbers)
        self._notes.append((False, numbers))
        consumer.incremental_unassign(self._taken_back(numbers))

    def _taken_back(self, numbers: Collection[int]) -> list[TopicPartition]:
        """Those of partitions `numbers` that librdkafka has; from now on it has not."""
        held = [number for number in numbers if self._positions.pop(number, None) is not None]
        return [TopicPartition(self._topic, number) for number in held]

    def fetch(self, timeout_ms: int) -> dict[int, Rows]:
        """Implement `Group.fetch`."""
        try:
            # It waits until it has all that it is asked for: only the first is waited for.
            messages = self._consumer.consume(1, timeout_ms / 1_000)
            if messages and self._kafka.max_poll_records > 1:
                messages += self._consumer.consume(self._kafka.max_poll_records - 1, 0)
        except KafkaException as error:
            raise routed(translated(error.args[0]), "poll") from None
        if events := [message for message in messages if message.error() is not None]:
            self._note_events(events)
            messages = [message for message in messages if message.error() is None]
        rows = {number: self._readable(number, columns) for number, columns in _by_partition(messages).items()}
        for number in rows.keys() & self._positions.keys():
            self._positions[number] = max(self._positions[number], rows[number].offset[-1] + 1)
        return rows

    def _readable(self, number: int, rows: Rows) -> Rows:
        """The same, with what `_columns` could not read."""
        missing = [offset for offset, headers in zip(rows.offset, rows.headers, strict=True) if headers is UNREADABLE]
        if not missing:
            return rows
        part, timeout_ms = TopicPartitionOf(self._topic, number), self._kafka.delivery_timeout
        try:
            found = headers_of(self._reading, part, missing, timeout_ms)
        except KafkaError as error:
            raise routed(error, "read headers") from None
        both = zip(rows.offset, rows.headers, strict=True)
        return rows._replace(headers=[found[at] if headers is UNREADABLE else headers for at, headers in both])

    def _note_events(self, events: Sequence[Any]) -> None:
        """Take what librdkafka tells between the records."""
        for event in events:
            error, number = event.error(), event.partition()
            if error.code() == LibraryError._PARTITION_EOF:  # noqa: SLF001  # the library's name for its own errors
                if number in self._positions:
                    self._positions[number] = event.offset()
            elif error.code() == LibraryError._AUTO_OFFSET_RESET:  # noqa: SLF001
                self._out_of_range.add(number)
            else:
                self._note_failure(error)

    def _note_failure(self, error: LibraryError) -> None:
        """Raise what the group or the broker refuses; the rest goes away by itself."""
        failure = translated(error)
        if error.code() == LibraryError._FATAL and self._kafka.group_instance_id:  # noqa: SLF001
            failure = FencedInstanceIdError()  # the one fatal error of a consumer
        if isinstance(failure, InvalidSessionTimeoutError):
            raise ConfigError(f"kafka.session_timeout: the broker does not allow it: {one_line(failure)}")
        if isinstance(failure, InconsistentGroupProtocolError):
            name = self._kafka.group_id
            raise ConfigError(f"kafka.group_id: {name!r} is in use by other software: {one_line(failure)}")
        route = routed(failure, "poll")
        if error.code() == LibraryError._FATAL or isinstance(route, ConfigError):  # noqa: SLF001
            raise route
        logger.warning("poll: %s", one_line(failure))

    def _place(self) -> tuple[int, str, bytes]:
        """The generation, the member's name, and the bytes that hold them, as librdkafka's producer takes them."""
        metadata: bytes = self._consumer.consumer_group_metadata()
        (generation,) = struct.unpack_from("=i", metadata, len(b"CGMDv2:"))
        _, name, *_ = metadata[len(b"CGMDv2:") + 4 :].split(b"\0")
        return generation, name.decode(), metadata

    def member(self) -> Member:
        """Implement `Group.member`.

        Of a newer generation librdkafka has not told yet which partitions it brings.
        """
        generation, name, metadata = self._place()
        return Member(name, bool(name) and 0 <= generation == self._settled, metadata)

    def changes(self) -> Iterator[tuple[bool, Collection[int]]]:
        """Implement `Group.changes`."""
        while self._notes:
            yield self._notes.popleft()

    def assigned(self) -> set[int]:
        """Implement `Group.assigned`."""
        return set(self._owned)

    def hold(self, numbers: Collection[int]) -> None:
        """Implement `Group.hold`."""
        if parts := self._taken_back(numbers):
            self._consumer.incremental_unassign(parts)

    def read_from(self, number: int, offset: int) -> bool:
        """Implement `Group.read_from`."""
        if number not in self._owned:
            return False
        self.hold([number])
        self._consumer.incremental_assign([TopicPartition(self._topic, number, offset)])
        self._positions[number] = offset
        return True

    def out_of_range(self) -> set[int]:
        """Implement `Group.out_of_range`: librdkafka reads them no further."""
        found = set(self._out_of_range)
        if found:
            try:
                self._refresh(self._kafka.delivery_timeout)
            except KafkaError as error:
                raise routed(error, "ask for the input topic") from None
        self._out_of_range -= found
        return found

    def source(self) -> str:
        """Implement `Group.source`."""
        if time.monotonic() - self._refreshed > self._refresh_seconds:
            with suppress(KafkaError):  # the broker is away
                self._refresh(ANSWER_MS)
        return topic_id(self._lookup, self._topic)

    def _refresh(self, timeout_ms: int) -> None:
        self._refreshed = time.monotonic()
        refresh_metadata(self._lookup, timeout_ms)

    def progress(self, number: int) -> Progress:
        """Implement `Group.progress`."""
        if number not in self._positions:
            return Progress(None, None)
        _, end = self._consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
        return Progress(self._positions[number], None if end < 0 else end)

    def commit(self, offsets: Mapping[int, int], source: str) -> None:
        """Implement `Group.commit`."""
        if not offsets:
            return
        try:
            self._lookup.commit(wire(self._topic, offsets, source), timeout_ms=self._kafka.delivery_timeout)
        except KafkaError as error:
            raise routed(error, "commit") from None


def _by_partition(messages: Sequence[Any]) -> dict[int, Rows]:
    """The columns of each partition; librdkafka gives them mixed, in the order of their fetches."""
    if not messages:
        return {}
    number = np.array([message.partition() for message in messages])
    if (number == number[0]).all():
        return {int(number[0]): _columns(messages)}
    order = np.argsort(number, kind="stable").tolist()
    numbers, begins = np.unique(np.sort(number), return_index=True)
    ends = [*begins[1:].tolist(), len(messages)]
    return {
        n: _columns([messages[at] for at in order[begin:end]])
        for n, begin, end in zip(numbers.tolist(), begins.tolist(), ends, strict=True)
    }


def _columns(messages: Sequence[Any]) -> Rows:
    """The columns of `messages`, with `UNREADABLE` where a header's key is no UTF-8."""
    return Rows(
        [message.offset() for message in messages],
        [message.timestamp()[1] for message in messages],
        [message.key() for message in messages],
        [message.value() for message in messages],
        _headers(messages),
    )


def _headers(messages: Sequence[Any]) -> list[Headers]:
    """Of each message. A key that is no UTF-8 makes confluent-kafka return a broken object beside its error.

    Called from Python that object would end the process; `methodcaller` throws it away and raises `SystemError`.
    """
    read, found = map(READ_HEADERS, messages), list[Headers]()
    while len(found) < len(messages):
        try:
            found.extend([(name, value or b"") for name, value in headers] if headers else () for headers in read)
        except SystemError:
            found.append(UNREADABLE)
    return found
