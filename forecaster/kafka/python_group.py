"""Membership of the consumer group on kafka-python: how it reads, who it is, and what happens to its partitions."""

import logging
import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    FencedInstanceIdError,
    KafkaError,
)
from kafka.structs import MemberState

from forecaster.config import KafkaSettings, Settings
from forecaster.kafka.halves import Member, Progress, Rows
from forecaster.kafka.python_connect import (
    READING,
    await_metadata,
    one_line,
    routed,
    topic_id,
)
from forecaster.kafka.python_rows import read_rows

logger = logging.getLogger(__name__)

JOIN_MS = 500  # kafka-python throws a join away that completes between two polls: short polls would never end one


class Rebalances(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """Notes what happens on the consumer's own thread, where nothing may block: (assigned?, partitions)."""

    def __init__(self) -> None:
        self.notes: deque[tuple[bool, list[int]]] = deque()

    def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        self.notes.append((True, [part.partition for part in assigned]))

    def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        self.notes.append((False, [part.partition for part in revoked]))

    def on_partitions_lost(self, lost: Iterable[TopicPartition]) -> None:
        self.on_partitions_revoked(lost)


def group_instance_id(kafka: KafkaSettings) -> str | None:
    """The name of this worker as a static member of the group; None for a dynamic one."""
    return None if kafka.group_instance_id is None else f"{kafka.group_instance_id}-{kafka.worker_index}"


def group_options(kafka: KafkaSettings) -> dict[str, Any]:
    """What makes a consumer a member of the group."""
    session_ms = kafka.session_timeout
    return {
        **READING,
        "group_id": kafka.group_id,
        "group_instance_id": group_instance_id(kafka),
        "partition_assignment_strategy": [CooperativeStickyAssignor],
        "max_poll_records": kafka.max_poll_records,
        "session_timeout_ms": session_ms,
        "heartbeat_interval_ms": max(1, min(1_000, session_ms // 3)),  # also how soon a rebalance is noticed
        "max_poll_interval_ms": max(300_000, 4 * kafka.delivery_timeout, session_ms),
    }


class Group:
    """Implements `halves.Group`."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._kafka, self._topic = settings.kafka, settings.topics.input
        self._options = {**options, **group_options(settings.kafka)}
        self._rebalances = Rebalances()
        self._silent = False
        self._out_of_range: set[int] = set()
        self.consumer: Any = None

    @property
    def lookup(self) -> Any:
        """Implement `Group.lookup`."""
        return self.consumer

    def join(self, deadline: float) -> None:
        """Implement `Group.join`."""
        left_ms = max(1, int((deadline - time.monotonic()) * 1_000))
        self.consumer = KafkaConsumer(**{**self._options, "bootstrap_timeout_ms": left_ms})
        read_rows(self.consumer)
        self.consumer.subscribe([self._topic], listener=self._rebalances)
        self._watch_resets()
        # kafka-python loses the request for a topic's metadata when another one is under way, and a group leader
        # without it assigns no partition to anyone: fetch it before the first poll joins.
        await_metadata(self.consumer, self._topic, deadline)

    def leave(self, timeout_ms: int) -> None:
        """Implement `Group.leave`."""
        consumer, self.consumer = self.consumer, None
        self._rebalances.notes.clear()
        self._out_of_range.clear()
        if consumer is not None:
            with suppress(KafkaError):
                consumer.close(timeout_ms=timeout_ms)

    def outdated(self) -> bool:
        """Implement `Group.outdated`: each connection is made with the credentials of its time."""
        return False

    def fetch(self, timeout_ms: int) -> dict[int, Rows]:
        """Implement `Group.fetch`."""
        if not self.member().settled:
            timeout_ms = max(timeout_ms, JOIN_MS)
        try:
            records = self.consumer.poll(timeout_ms=timeout_ms)
        except KafkaError as error:
            if not error.retriable:
                raise routed(error, "poll") from None
            logger.debug("poll: %s", one_line(error))
            time.sleep(min(timeout_ms, 100) / 1_000)  # an error returns at once; do not spin on it
            return {}
        self._check_name()
        return {part.partition: Rows(*zip(*rows, strict=True)) for part, rows in records.items()}

    def _check_name(self) -> None:
        """Raise `FencedError` where another daemon has this static member's name.

        kafka-python learns of it by a heartbeat, and then says no more than that it sends none.
        """
        coordinator = self.consumer._coordinator  # noqa: SLF001
        silent = coordinator.state == MemberState.STABLE and not coordinator._heartbeat_enabled  # noqa: SLF001
        # twice in a row: between two steps of a join it is so once
        if silent and self._silent and self._options["group_instance_id"]:
            raise routed(FencedInstanceIdError(), "poll")
        self._silent = silent

    def member(self) -> Member:
        """Implement `Group.member`: without a name the broker could not tell us from a member that it has lost.

        In a rebalance it is of a newer generation, but has the partitions of the one before.
        """
        found = self.consumer.group_metadata()
        named = found.generation_id >= 0 and bool(found.member_id)
        return Member(found.member_id, named and found.state == MemberState.STABLE, found)

    def changes(self) -> Iterator[tuple[bool, Collection[int]]]:
        """Implement `Group.changes`."""
        while self._rebalances.notes:
            yield self._rebalances.notes.popleft()

    def assigned(self) -> set[int]:
        """Implement `Group.assigned`."""
        return {part.partition for part in self.consumer.assignment()}

    def hold(self, numbers: Collection[int]) -> None:
        """Implement `Group.hold`."""
        self.consumer.pause(*(TopicPartition(self._topic, number) for number in numbers))

    def read_from(self, number: int, offset: int) -> bool:
        """Implement `Group.read_from`."""
        part = TopicPartition(self._topic, number)
        try:
            self.consumer.seek(part, offset)
            self.consumer.resume(part)
        except (KafkaError, KeyError, ValueError):  # revoked meanwhile
            return False
        return True

    def out_of_range(self) -> set[int]:
        """Implement `Group.out_of_range`: kafka-python went elsewhere."""
        found, self._out_of_range = self._out_of_range, set()
        return found

    def _watch_resets(self) -> None:
        """Note what kafka-python resets in silence, whereby records would be passed over that nobody counts."""
        subscription = self.consumer._subscription  # noqa: SLF001
        reset = subscription.request_offset_reset

        def noted(part: TopicPartition, *strategy: Any) -> None:
            self._out_of_range.add(part.partition)
            reset(part, *strategy)

        subscription.request_offset_reset = noted

    def source(self) -> str:
        """Implement `Group.source`."""
        return topic_id(self.consumer, self._topic)

    def progress(self, number: int) -> Progress:
        """Implement `Group.progress`."""
        part = TopicPartition(self._topic, number)
        try:
            return Progress(self.consumer.position(part, timeout_ms=0), self.consumer.highwater(part))
        except KafkaError:  # revoked since the last poll
            return Progress(None, None)
