"""Membership of the consumer group on kafka-python: how it reads, who it is, and what happens to its partitions."""

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.errors import (
    FencedInstanceIdError,
    InconsistentGroupProtocolError,
    InvalidSessionTimeoutError,
    KafkaError,
    KafkaTimeoutError,
)
from kafka.structs import MemberState

from forecaster.config import KafkaSettings, Settings
from forecaster.errors import ConfigError
from forecaster.kafka.python_connect import one_line, routed
from forecaster.kafka.python_rows import Row, read_rows

logger = logging.getLogger(__name__)

READING = {
    "enable_auto_commit": False,
    "isolation_level": "read_committed",  # also makes the lookup of committed offsets wait for open transactions
    "auto_offset_reset": "earliest",  # only for offsets that expire while they are read
    "allow_auto_create_topics": False,
    "metadata_max_age_ms": 60_000,  # how soon new partitions are found
    "fetch_max_wait_ms": 100,  # also how long a seek waits for the fetch that is under way
    "max_partition_fetch_bytes": 4 * 2**20,
    "fetch_max_bytes": 32 * 2**20,
    "metrics_enabled": False,
}


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
    """The membership of this worker in the consumer group, and its consumer of the input topic."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._kafka, self._topic = settings.kafka, settings.topics.input
        self._options = {**options, **group_options(settings.kafka)}
        self._rebalances = Rebalances()
        self._silent = False
        self._out_of_range: set[int] = set()
        self.consumer: Any = None

    def join(self, deadline: float) -> None:
        """Connect and subscribe by `deadline` (of `time.monotonic`); joining itself goes on inside `fetch`."""
        left_ms = max(1, int((deadline - time.monotonic()) * 1_000))
        self.consumer = KafkaConsumer(**{**self._options, "bootstrap_timeout_ms": left_ms})
        read_rows(self.consumer)
        self.consumer.subscribe([self._topic], listener=self._rebalances)
        self._watch_resets()
        # kafka-python loses the request for a topic's metadata when another one is under way, and a group leader
        # without it assigns no partition to anyone: fetch it before the first poll joins.
        while not self.consumer.partitions_for_topic(self._topic):
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no metadata of {self._topic}")

    def leave(self, timeout_ms: int) -> None:
        """Leave the group (a static member keeps its place) and close the connection."""
        consumer, self.consumer = self.consumer, None
        self._rebalances.notes.clear()
        self._out_of_range.clear()
        if consumer is not None:
            with suppress(KafkaError):
                consumer.close(timeout_ms=timeout_ms)

    def fetch(self, timeout_ms: int) -> dict[TopicPartition, list[Row]]:
        """What one poll returns; nothing while the broker is away.

        Raises `ConfigError` where the broker refuses the membership, `FencedError` where another has its name.
        """
        try:
            records: dict[TopicPartition, list[Any]] = self.consumer.poll(timeout_ms=timeout_ms)
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
        self._check_name()
        return records

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

    def settled(self) -> bool:
        """Whether this member has its place, and no rebalance is under way."""
        return bool(self.consumer.group_metadata().state == MemberState.STABLE)

    def changes(self) -> Iterator[tuple[bool, list[int]]]:
        """What happened to partitions since the last call: (assigned?, partitions)."""
        while self._rebalances.notes:
            yield self._rebalances.notes.popleft()

    def out_of_range(self) -> set[int]:
        """Partitions whose next record was no longer in the log since the last call: kafka-python went elsewhere.

        By then `source` is that of now. Raises `RetryableError` where the broker does not tell.
        """
        found = set(self._out_of_range)
        if found:
            try:
                self._refresh()
            except KafkaError as error:
                raise routed(error, "ask for the input topic") from None
        self._out_of_range -= found
        return found

    def _refresh(self) -> None:
        consumer = self.consumer
        asked = consumer._cluster.request_update()  # noqa: SLF001
        consumer._net.run(consumer._manager.wait_for, asked, self._kafka.delivery_timeout)  # noqa: SLF001

    def _watch_resets(self) -> None:
        """Note what kafka-python resets in silence, whereby records would be passed over that nobody counts."""
        subscription = self.consumer._subscription  # noqa: SLF001
        reset = subscription.request_offset_reset

        def noted(part: TopicPartition, *strategy: Any) -> None:
            self._out_of_range.add(part.partition)
            reset(part, *strategy)

        subscription.request_offset_reset = noted

    def source(self) -> str:
        """The id of the input topic as the last metadata have it: another one once it was deleted and made anew."""
        found = self.consumer._cluster.topic_id(self._topic)  # noqa: SLF001
        return "" if found is None or found.int == 0 else str(found)

    def commit(self, offsets: Mapping[TopicPartition, OffsetAndMetadata]) -> None:
        """Commit `offsets` outside of any transaction; raises `KafkaError`."""
        if offsets:
            self.consumer.commit(dict(offsets), timeout_ms=self._kafka.delivery_timeout)
