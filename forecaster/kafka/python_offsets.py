"""Where logs begin and end, asked through kafka-python, of partitions that may have no leader."""

from collections.abc import Collection
from typing import Any

from kafka import TopicPartition
from kafka.errors import LeaderNotAvailableError


def with_leader(consumer: Any, parts: Collection[TopicPartition]) -> set[TopicPartition]:
    """Those of `parts` that have a leader in the newest metadata; where one has none, newer ones are asked for."""
    cluster = consumer._cluster  # noqa: SLF001
    found = {part for part in parts if cluster.leader_for_partition(part) not in (None, -1)}
    if len(found) < len(parts):
        cluster.request_update()
    return found


def log_begins(consumer: Any, parts: Collection[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
    """The first offset of each log; raises `KafkaError` where one of them is not told in time."""
    return _told(consumer.beginning_offsets, parts, timeout_ms)


def log_ends(consumer: Any, parts: Collection[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
    """The offset behind each log; raises `KafkaError` where one of them is not told in time."""
    return _told(consumer.end_offsets, parts, timeout_ms)


def _told(ask: Any, parts: Collection[TopicPartition], timeout_ms: int) -> dict[TopicPartition, int]:
    try:
        found: dict[TopicPartition, int] = ask(list(parts), timeout_ms=timeout_ms)
    except KeyError as error:  # kafka-python asks nobody about a partition without a leader, and misses the answer
        raise LeaderNotAvailableError(f"{error.args[0]} has no leader") from None
    return found
