"""Commits through kafka-python outside of transactions, also for a member that another library keeps in the group.

librdkafka's own commit waits for a broker that is away without a limit, and holds its consumer up meanwhile.
"""

import time
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from kafka import OffsetAndMetadata, TopicPartition
from kafka.coordinator.base import Generation
from kafka.errors import KafkaError, KafkaTimeoutError

Offsets = Mapping[TopicPartition, OffsetAndMetadata]


class Commits:
    """Commits of one group member, of which one is under way at a time: no batch waits for the offsets of the last.

    What comes while the broker has not answered yet is sent behind the answer, and what failed for a reason that
    passes is sent again.
    """

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._sent: _Sent | None = None
        self._owed: dict[TopicPartition, OffsetAndMetadata] = {}

    def send(self, consumer: Any, offsets: Offsets) -> None:
        """Have `offsets` committed; raises `KafkaError` where they or those before them could not be."""
        self._owed |= offsets
        self.check(consumer)

    def check(self, consumer: Any) -> None:
        """Send what is owed if the broker has answered; raises as `send` does, and without an answer in time."""
        if self._sent is not None:
            if not self._sent.future.is_done and time.monotonic() < self._sent.deadline:
                return
            self._await()
        if self._owed:
            self._send(consumer)

    def confirm(self, consumer: Any) -> None:
        """Return once all is committed; raises as `send` does."""
        self.check(consumer)
        while self._sent is not None:
            self._await()
            self.check(consumer)

    def forget(self, numbers: Collection[int] | None = None) -> None:
        """Owe nothing of partitions `numbers`; without them, ask no more what became of anything."""
        if numbers is None:
            self._sent, self._owed = None, {}
            return
        self._owed = _without(numbers, self._owed)
        if self._sent is not None:  # nor is it sent again: by then another member may have committed more
            self._sent = self._sent._replace(offsets=_without(numbers, self._sent.offsets))

    def _send(self, consumer: Any) -> None:
        offsets, self._owed = self._owed, {}
        if consumer._coordinator.coordinator_unknown():  # noqa: SLF001  # the future would be that of looking for it
            self._commit(consumer, offsets)
            return
        deadline = time.monotonic() + self._timeout_ms / 1_000
        self._sent = _Sent(consumer, offsets, consumer.commit_async(offsets), deadline)

    def _await(self) -> None:
        """Return once what was sent is committed."""
        assert self._sent is not None  # noqa: S101
        (consumer, offsets, future, deadline), self._sent = self._sent, None
        left_ms = max(0.0, 1_000 * (deadline - time.monotonic()))
        try:
            if not future.succeeded():
                consumer._net.run(consumer._manager.wait_for, future, left_ms)  # noqa: SLF001
        except KafkaError as error:
            if not error.retriable or isinstance(error, KafkaTimeoutError):
                self._owed = {**offsets, **self._owed}
                raise
            self._commit(consumer, offsets)

    def _commit(self, consumer: Any, offsets: Offsets) -> None:
        """Return once `offsets` are committed; what could not be stays owed: whoever is told may go on."""
        try:
            consumer.commit(offsets, timeout_ms=self._timeout_ms)
        except KafkaError:
            self._owed = {**offsets, **self._owed}
            raise


class _Sent(NamedTuple):
    """Offsets on their way through a consumer, to be answered by `deadline` (of `time.monotonic`)."""

    consumer: Any
    offsets: Offsets
    future: Any
    deadline: float


def _without(numbers: Collection[int], offsets: Offsets) -> dict[TopicPartition, OffsetAndMetadata]:
    return {part: offset for part, offset in offsets.items() if part.partition not in numbers}


def act_as_member(consumer: Any, place: Callable[[], tuple[int, str] | None]) -> None:
    """Let `consumer.commit` send the generation and name that `place` gives, and fail without; it never joins."""

    def generation() -> Generation | None:
        found = place()
        return None if found is None else Generation(*found, None)

    coordinator = consumer._coordinator  # noqa: SLF001
    coordinator.generation_if_stable = generation
    coordinator._subscription.partitions_auto_assigned = lambda: True  # noqa: SLF001
