"""Watches over a consumer: finds a partition that stands still although its end moves."""

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

ANSWER_MS = 1_000


class Watchdog:
    """Finds partitions that are silently read no more. The broker is asked only about those that gave nothing."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout = timeout_ms / 1_000
        self._since: dict[int, tuple[int, float]] = {}  # position, and since when it stands there
        self._asked = self._called = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self._since.clear()

    def stuck(self, consumer: Any, topic: str, numbers: Iterable[int]) -> list[int]:
        """Those of partitions `numbers` whose position has not moved for the timeout while records wait behind it."""
        now = time.monotonic()
        if now - self._called > self._timeout / 4:  # nobody polled meanwhile: no wonder that nothing moved
            self.forget()
        self._called = now
        if now - self._asked < self._timeout / 2:
            return []
        self._asked = now
        standing = self._standing(consumer, topic, numbers, now)
        ends: dict[TopicPartition, int] = {}
        if standing:
            with suppress(KafkaError):  # the broker is away: nobody reads anything
                ends = consumer.end_offsets(list(standing), timeout_ms=ANSWER_MS)
        stuck = [part.partition for part, end in ends.items() if end > standing[part]]
        if stuck:
            self.forget()
        return stuck

    def _standing(self, consumer: Any, topic: str, numbers: Iterable[int], now: float) -> dict[TopicPartition, int]:
        standing = {}
        for number in numbers:
            part = TopicPartition(topic, number)
            with suppress(KafkaError):  # revoked since the last poll
                position = consumer.position(part, timeout_ms=0)
                before, since = self._since.get(number, (None, now))
                if position != before:
                    self._since[number] = position, now
                elif now - since >= self._timeout:
                    standing[part] = position
        return standing
