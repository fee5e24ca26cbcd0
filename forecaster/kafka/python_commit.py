"""Commits through kafka-python outside of transactions, also for a member that another library keeps in the group.

librdkafka's own commit waits for a broker that is away without a limit, and holds its consumer up meanwhile.
"""

from collections.abc import Callable, Mapping
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition
from kafka.coordinator.base import Generation
from kafka.errors import KafkaError

Offsets = Mapping[TopicPartition, OffsetAndMetadata]


class Commits:
    """Commits of one group member, of which one may be under way: a batch need not wait for the offsets of the last.

    Each is confirmed before the next one is sent, and what failed for a reason that passes is sent again.
    """

    def __init__(self, timeout_ms: int) -> None:
        self._timeout_ms = timeout_ms
        self._sent: tuple[Any, Offsets, Any] | None = None  # through which consumer, what, and its future

    def send(self, consumer: Any, offsets: Offsets) -> None:
        """Have `offsets` committed; raises `KafkaError` where that fails at once, or those before could not be."""
        self.confirm()
        if not offsets:
            return
        if consumer._coordinator.coordinator_unknown():  # noqa: SLF001  # the future would be that of looking for it
            consumer.commit(dict(offsets), timeout_ms=self._timeout_ms)
        else:
            self._sent = consumer, offsets, consumer.commit_async(dict(offsets))

    def check(self) -> None:
        """`confirm` where that takes no waiting."""
        if self._sent is not None and self._sent[2].is_done:
            self.confirm()

    def confirm(self) -> None:
        """Return once what was sent is committed; raises `KafkaError` where it could not be."""
        if self._sent is None:
            return
        (consumer, offsets, future), self._sent = self._sent, None
        try:
            if not future.succeeded():
                consumer._net.run(consumer._manager.wait_for, future, self._timeout_ms)  # noqa: SLF001
        except KafkaError as error:
            if not error.retriable:
                raise
            consumer.commit(dict(offsets), timeout_ms=self._timeout_ms)

    def forget(self) -> None:
        """Ask no more what became of it."""
        self._sent = None


def act_as_member(consumer: Any, place: Callable[[], tuple[int, str] | None]) -> None:
    """Let `consumer.commit` send the generation and name that `place` gives, and fail without; it never joins."""

    def generation() -> Generation | None:
        found = place()
        return None if found is None else Generation(*found, None)

    coordinator = consumer._coordinator  # noqa: SLF001
    coordinator.generation_if_stable = generation
    coordinator._subscription.partitions_auto_assigned = lambda: True  # noqa: SLF001
