"""The consumer group on librdkafka: how it reads, what it is told between the records, and how it commits."""

import logging
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, cast

from confluent_kafka import KafkaError as LibraryError
from confluent_kafka import KafkaException
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import FencedInstanceIdError, KafkaError

from forecaster.config import Settings
from forecaster.errors import RetryableError
from forecaster.kafka.credentials import Watch
from forecaster.kafka.halves import Member, Progress, Rows
from forecaster.kafka.python_commit import act_as_member
from forecaster.kafka.python_connect import READING as PYTHON_READING
from forecaster.kafka.python_connect import (
    await_metadata,
    one_line,
    refresh_metadata,
    routed,
    topic_id,
)
from forecaster.kafka.python_group import group_options
from forecaster.kafka.python_headers import headers_of
from forecaster.kafka.rdkafka_connect import by, library_options, translated
from forecaster.kafka.rdkafka_membership import Membership
from forecaster.kafka.rdkafka_rows import UNREADABLE, by_partition

logger = logging.getLogger(__name__)

ANSWER_MS = 1_000  # for what can be done without
READING = {
    "partition.assignment.strategy": "cooperative-sticky",
    "auto.offset.reset": "error",  # said instead of going elsewhere
    "enable.partition.eof": True,  # tells of the markers of transactions at the end
    # What is fetched ahead becomes an object a message at once, ten times its bytes: after a stall a whole backlog.
    "max.partition.fetch.bytes": 2**20,
    "queued.min.messages": 10_000,  # of each partition
    "queued.max.messages.kbytes": 32 * 2**10,
    "fetch.queue.backoff.ms": 10,  # a second by default, in which a reader that is faster finds nothing
    "fetch.error.backoff.ms": 100,
}


class Group:
    """Implements `halves.Group`."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._kafka, self._topic = settings.kafka, settings.topics.input
        self._asking = {**options, **group_options(settings.kafka)}
        self._reading = {**options, **PYTHON_READING}  # outside of the group
        self._refresh_seconds = self._asking["metadata_max_age_ms"] / 1_000
        self._credentials = Watch(settings.kafka)
        self._lookup: Any = None
        self._joined: Membership  # open as long as there is a lookup
        self._out_of_range: set[int] = set()
        self._refreshed = 0.0

    @property
    def lookup(self) -> Any:
        """Implement `Group.lookup`."""
        return self._lookup

    def join(self, deadline: float) -> None:
        """Implement `Group.join`."""
        left_ms = max(1, int((deadline - time.monotonic()) * 1_000))
        self._credentials = Watch(self._kafka)
        lookup = KafkaConsumer(**{**self._asking, "bootstrap_timeout_ms": left_ms})
        try:
            await_metadata(lookup, self._topic, deadline)
        except BaseException:
            lookup.close()
            raise
        joined = Membership(self._topic, {**library_options(self._asking), **READING})
        act_as_member(lookup, joined.place)
        self._lookup, self._joined = lookup, joined
        self._refreshed = time.monotonic()
        self._out_of_range.clear()

    def leave(self, timeout_ms: int) -> None:
        """Implement `Group.leave`."""
        lookup, self._lookup = self._lookup, None
        if lookup is not None:
            with suppress(KafkaError):  # it goes on behind our back, and leaves once a broker answers
                by(time.monotonic() + timeout_ms / 1_000, "close", self._joined.consumer.close)
            with suppress(KafkaError):
                lookup.close(timeout_ms=timeout_ms)

    def outdated(self) -> bool:
        """Implement `Group.outdated`: librdkafka reads credentials once."""
        return self._credentials.changed()

    def fetch(self, timeout_ms: int) -> dict[int, Rows]:
        """Implement `Group.fetch`."""
        try:
            # It waits until it has all that it is asked for: only the first is waited for.
            messages = self._first(time.monotonic() + timeout_ms / 1_000)
            if messages and self._kafka.max_poll_records > 1:
                messages += self._joined.consumer.consume(self._kafka.max_poll_records - 1, 0)
        except KafkaException as error:
            raise routed(translated(error.args[0]), "poll") from None
        if events := [message for message in messages if message.error() is not None]:
            self._note_events(events)
            messages = [message for message in messages if message.error() is None]
        rows = {number: self._readable(number, columns) for number, columns in by_partition(messages).items()}
        for number, columns in rows.items():
            self._joined.moved(number, columns.offset[-1] + 1)
        return rows

    def _first(self, deadline: float) -> list[Any]:
        """The first record, if one comes by `deadline`; at the end of a partition there is more to wait for."""
        while found := self._joined.consumer.consume(1, max(0.0, deadline - time.monotonic())):
            if found[0].error() is None:
                break
            self._note_events(found)
        return cast("list[Any]", found)

    def _readable(self, number: int, rows: Rows) -> Rows:
        """The same, with what `by_partition` could not read."""
        missing = [offset for offset, headers in zip(rows.offset, rows.headers, strict=True) if headers is UNREADABLE]
        if not missing:
            return rows
        part, timeout_ms = TopicPartition(self._topic, number), self._kafka.delivery_timeout
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
                self._joined.moved(number, event.offset())
            elif error.code() == LibraryError._AUTO_OFFSET_RESET:  # noqa: SLF001
                self._out_of_range.add(number)
            else:
                self._note_failure(error)

    def _note_failure(self, error: LibraryError) -> None:
        """Raise what the group or the broker refuses; the rest goes away by itself."""
        failure = translated(error)
        if error.code() == LibraryError._FATAL and self._kafka.group_instance_id:  # noqa: SLF001
            failure = FencedInstanceIdError()  # the one fatal error of a consumer
        route = routed(failure, "poll")
        if error.code() == LibraryError._FATAL or not isinstance(route, RetryableError):  # noqa: SLF001
            raise route
        logger.warning("poll: %s", one_line(failure))

    def member(self) -> Member:
        """Implement `Group.member`."""
        return self._joined.member()

    def changes(self) -> Iterator[tuple[bool, Collection[int]]]:
        """Implement `Group.changes`."""
        while self._lookup is not None and self._joined.notes:
            yield self._joined.notes.popleft()

    def assigned(self) -> set[int]:
        """Implement `Group.assigned`."""
        return set(self._joined.owned)

    def hold(self, numbers: Collection[int]) -> None:
        """Implement `Group.hold`."""
        self._joined.hold(numbers)

    def read_from(self, number: int, offset: int) -> bool:
        """Implement `Group.read_from`."""
        return self._joined.read_from(number, offset)

    def progress(self, number: int) -> Progress:
        """Implement `Group.progress`."""
        return Progress(None, None) if self._lookup is None else self._joined.progress(number)

    def out_of_range(self) -> set[int]:
        """Implement `Group.out_of_range`: librdkafka reads them no further."""
        found, self._out_of_range = self._out_of_range, set()
        return found

    def source(self) -> str:
        """Implement `Group.source`."""
        if time.monotonic() - self._refreshed > self._refresh_seconds:
            self._refreshed = time.monotonic()
            with suppress(KafkaError):  # the broker is away
                refresh_metadata(self._lookup, ANSWER_MS)
        return topic_id(self._lookup, self._topic)
