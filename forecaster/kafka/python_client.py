"""The Kafka client on kafka-python: a consumer in the group and a producer, used from one thread."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import InconsistentGroupProtocolError, InvalidSessionTimeoutError, KafkaError, KafkaTimeoutError
from kafka.structs import MemberState

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.kafka.client import Lag
from forecaster.kafka.python_connect import (
    check_topics,
    connection_options,
    one_line,
    prepare_library,
    routed,
    unavailable,
)
from forecaster.kafka.python_publisher import Publisher
from forecaster.kafka.python_restore import Policy, Start, find_starts
from forecaster.records import Headers, Message, RecordBatch

logger = logging.getLogger(__name__)

FIRST_LOOKUP_MS = 1_000  # doubled up to the longest while the broker is away: poll must stay short
LONGEST_LOOKUP_MS = 8_000
READING = {
    "enable_auto_commit": False,
    "isolation_level": "read_committed",
    "auto_offset_reset": "earliest",  # only for offsets that expire while they are read
    "allow_auto_create_topics": False,
    "metadata_max_age_ms": 60_000,  # how soon new partitions are found
    "fetch_max_wait_ms": 100,  # also how long a seek waits for the fetch that is under way
    "max_partition_fetch_bytes": 4 * 2**20,
    "metrics_enabled": False,
}


class _Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """Notes what happens on the consumer's own thread, where nothing may block: (assigned?, partitions)."""

    def __init__(self) -> None:
        self.notes: deque[tuple[bool, list[int]]] = deque()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.notes.append((True, [part.partition for part in assigned]))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.notes.append((False, [part.partition for part in revoked]))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)


class KafkaPythonClient:
    """Implements `forecaster.kafka.client.Client`.

    `rebuild_span_ms` is how much record time is replayed before the committed offset of a newly
    assigned partition, None for all of its log. `clock` gives seconds since the epoch, for the lag.
    """

    def __init__(
        self,
        settings: Settings,
        rebuild_span_ms: int | None,
        client_id: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._kafka = settings.kafka
        self._topic = settings.topics.input
        self._policy = Policy(settings.kafka.auto_offset_reset, rebuild_span_ms)
        self._lookup_ms = FIRST_LOOKUP_MS
        self._clock = clock
        self._options = connection_options(settings.kafka, client_id)
        self._publisher = Publisher(settings, self._options)
        self._consumer: Any = None
        self._rebalances = _Rebalances()
        self._unplaced: set[int] = set()  # assigned, but where to read from is not known yet
        self._resume: dict[int, int] = {}  # by placed partition: the committed offset
        self._next: dict[int, int] = {}  # the offset behind what poll has returned
        self._time_ms: dict[int, int] = {}  # the timestamp of the record before that
        self._dropped: dict[int, None] = {}

    def start(self) -> None:
        """Implement `Client.start`; joining the group goes on inside `poll`."""
        prepare_library()
        deadline = time.monotonic() + self._kafka.startup_timeout / 1_000
        check_topics(self._settings, self._options["client_id"], deadline)
        left_ms = max(1, int((deadline - time.monotonic()) * 1_000))
        try:
            self._consumer = KafkaConsumer(**self._options, **self._group_options(), bootstrap_timeout_ms=left_ms)
            self._consumer.subscribe([self._topic], listener=self._rebalances)
            # kafka-python loses the request for a topic's metadata when another one is under way, and a group leader
            # without it assigns no partition to anyone: fetch it before the first poll joins.
            while not self._consumer.partitions_for_topic(self._topic):
                if time.monotonic() > deadline:
                    raise KafkaTimeoutError(f"no metadata of {self._topic}")
        except (KafkaError, OSError) as error:
            raise unavailable(self._kafka, error) from None

    def poll(self, timeout_ms: int) -> RecordBatch:
        """Implement `Client.poll`; an unreachable broker gives an empty batch."""
        records = self._fetch(timeout_ms)
        self._note_rebalances()
        waiting = set(self._unplaced)  # their records were fetched from wherever kafka-python stood
        if waiting:
            self._place(waiting)
        return self._batch(
            [
                (part.partition, rows)
                for part, rows in records.items()
                if part.partition in self._next and part.partition not in waiting
            ]
        )

    def dropped(self) -> list[int]:
        """Implement `Client.dropped`."""
        dropped, self._dropped = sorted(self._dropped), {}
        return dropped

    def publish(self, messages: Sequence[Message]) -> None:
        """Implement `Client.publish`."""
        self._publisher.publish(messages)

    def commit(self) -> None:
        """Implement `Client.commit`; never goes below the committed offset while a partition is restored."""
        behind = {number: offset for number, offset in self._next.items() if offset > self._resume[number]}
        if behind:
            try:
                self._commit(behind)
            except KafkaError as error:
                raise routed(error, "commit") from None
            self._resume.update(behind)

    def reset(self) -> None:
        """Implement `Client.reset`; the consumer stays, it reconnects by itself."""
        self._publisher.discard()
        self._note_rebalances()
        self._release(list(self._next))

    def joined(self) -> bool:
        """Implement `Client.joined`."""
        if self._consumer is None or self._unplaced:
            return False
        return bool(self._consumer.group_metadata().state == MemberState.STABLE)

    def lag(self) -> Mapping[int, Lag]:
        """Implement `Client.lag` from what the last fetches told; asks the broker nothing."""
        lags = {}
        for number in self._next:
            with suppress(KafkaError):  # revoked since the last poll
                lags[number] = self._lag(TopicPartition(self._topic, number))
        return lags

    def close(self) -> None:
        """Implement `Client.close`."""
        self._publisher.discard()
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            with suppress(KafkaError):
                consumer.close(timeout_ms=self._kafka.shutdown_timeout)

    def _group_options(self) -> dict[str, Any]:
        session_ms = self._kafka.session_timeout
        return {
            **READING,
            "group_id": self._kafka.group_id,
            "partition_assignment_strategy": [CooperativeStickyAssignor],
            "max_poll_records": self._kafka.max_poll_records,
            "session_timeout_ms": session_ms,
            "heartbeat_interval_ms": max(1, min(1_000, session_ms // 3)),  # also how soon a rebalance is noticed
            "max_poll_interval_ms": max(300_000, 4 * self._kafka.delivery_timeout, session_ms),
        }

    def _fetch(self, timeout_ms: int) -> dict[TopicPartition, list[Any]]:
        try:
            records: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms=timeout_ms)
        except InvalidSessionTimeoutError as error:
            raise ConfigError(f"kafka.session_timeout: the broker does not allow it: {one_line(error)}") from None
        except InconsistentGroupProtocolError as error:
            name = self._kafka.group_id
            raise ConfigError(f"kafka.group_id: {name!r} is in use by other software: {one_line(error)}") from None
        except KafkaError as error:
            if not error.retriable:
                raise routed(error, "poll") from None
            logger.debug("poll: %s", one_line(error))
            time.sleep(min(timeout_ms, 100) / 1_000)  # an error returns at once; do not spin on it
            return {}
        return records

    def _note_rebalances(self) -> None:
        while self._rebalances.notes:
            assigned, numbers = self._rebalances.notes.popleft()
            self._release(numbers)
            if not assigned:
                self._unplaced.difference_update(numbers)

    def _release(self, numbers: Sequence[int]) -> None:
        """Forget where partitions stand: their state is dropped and they are placed anew."""
        for number in numbers:
            for column in (self._resume, self._next, self._time_ms):
                column.pop(number, None)
            self._dropped[number] = None
        self._unplaced.update(numbers)

    def _place(self, numbers: Iterable[int]) -> None:
        """Seek partitions to their restore offsets. Where the broker does not tell them, the next poll tries again."""
        parts = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        try:
            starts = find_starts(
                self._consumer,
                parts,
                self._policy,
                probe_options={**self._options, **READING},
                timeout_ms=self._lookup_ms,
            )
            # A start that is stored nowhere is committed at once: "latest" must not move on in a crash.
            self._commit({p.partition: start.resume for p, start in starts.items() if start.resume != start.stored})
        except KafkaError as error:
            failure = routed(error, "look up committed offsets")
            if isinstance(failure, ConfigError):
                raise failure from None
            logger.warning("%s; trying again", failure)
            self._lookup_ms = min(2 * self._lookup_ms, LONGEST_LOOKUP_MS)
            return
        self._lookup_ms = FIRST_LOOKUP_MS
        for part, start in starts.items():
            self._begin(part, start)

    def _begin(self, part: TopicPartition, start: Start) -> None:
        with suppress(ValueError):  # revoked meanwhile; the note of it comes with the next poll
            self._consumer.seek(part, start.restore)
        self._unplaced.discard(part.partition)
        self._resume[part.partition] = start.resume
        self._next[part.partition] = start.restore

    def _commit(self, offsets: Mapping[int, int]) -> None:
        wanted = {
            TopicPartition(self._topic, number): OffsetAndMetadata(offset, "", -1) for number, offset in offsets.items()
        }
        if wanted:
            self._consumer.commit(wanted, timeout_ms=self._kafka.delivery_timeout)

    def _batch(self, parts: Sequence[tuple[int, list[Any]]]) -> RecordBatch:
        sizes = [len(rows) for _, rows in parts]
        total = sum(sizes)
        numbers = [number for number, _ in parts]
        offset = np.fromiter((row.offset for _, rows in parts for row in rows), np.int64, total)
        for number, rows in parts:
            self._next[number] = rows[-1].offset + 1
            self._time_ms[number] = rows[-1].timestamp
        return RecordBatch(
            topic=self._topic,
            partition=np.repeat(np.array(numbers, np.int64), sizes),
            offset=offset,
            timestamp_ms=np.fromiter((row.timestamp for _, rows in parts for row in rows), np.int64, total),
            key=[row.key for _, rows in parts for row in rows],
            value=[row.value for _, rows in parts for row in rows],
            headers=[_headers(row.headers) if row.headers else () for _, rows in parts for row in rows],
            silent=offset < np.repeat(np.array([self._resume[number] for number in numbers], np.int64), sizes),
        )

    def _lag(self, part: TopicPartition) -> Lag:
        """Return the lag by position, since behind the last record there may be transaction markers."""
        end = self._consumer.highwater(part)
        position = self._consumer.position(part, timeout_ms=0)
        records = 0 if end is None or position is None else max(0, end - position)
        newest = self._time_ms.get(part.partition)
        age = 0.0 if newest is None else max(0.0, self._clock() - newest / 1_000)
        return Lag(records, age if records else 0.0)


def _headers(headers: Headers) -> Headers:
    """Return `headers` with null values as empty ones: kafka-python reads null, but does not produce it."""
    return [(name, b"" if value is None else value) for name, value in headers]
