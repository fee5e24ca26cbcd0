"""Commits through kafka-python in the name of a member that another library keeps in the group.

librdkafka's own commit waits for a broker that is away without a limit, and holds its consumer up meanwhile.
"""

from collections.abc import Callable
from typing import Any

from kafka.coordinator.base import Generation


def act_as_member(consumer: Any, place: Callable[[], tuple[int, str] | None]) -> None:
    """Let `consumer.commit` send the generation and name that `place` gives, and fail without; it never joins."""

    def generation() -> Generation | None:
        found = place()
        return None if found is None else Generation(*found, None)

    coordinator = consumer._coordinator  # noqa: SLF001
    coordinator.generation_if_stable = generation
    coordinator._subscription.partitions_auto_assigned = lambda: True  # noqa: SLF001
