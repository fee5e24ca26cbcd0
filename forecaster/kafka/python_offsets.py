"""Where logs begin and end, asked through kafka-python, of partitions that may have no leader."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError, LeaderNotAvailableError

from forecaster.kafka.python_connect import refresh_metadata


def with_leader(consumer: Any, parts: Collection[TopicPartition], timeout_ms: int) -> set[TopicPartition]:
    """Those of `parts` that have a leader; where one has none by the last metadata, newer ones are waited for."""
    found = _led(consumer, parts)
    if len(found) < len(parts):
        for topic in {part.topic for part in parts}:
            consumer._cluster.add_topic(topic)  # noqa: SLF001  # it forgets one that was away, and asks no more
        with suppress(KafkaError):  # no answer in time: the next call asks again
            refresh_metadata(consumer, timeout_ms)
        found = _led(consumer, parts)
    return found


def _led(consumer: Any, parts: Collection[TopicPartition]) -> set[TopicPartition]:
    cluster = consumer._cluster  # noqa: SLF001
    return {part for part in parts if cluster.leader_for_partition(part) not in (None, -1)}


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
