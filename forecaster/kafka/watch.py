"""Finds a partition that stands still although its end moves."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

ANSWER_MS = 1_000


class Watchdog:
    """Finds partitions that are silently read no more. The broker is asked only about those that gave nothing."""

    def __init__(self, timeout_ms: int) -> None:
        self._timeout = timeout_ms / 1_000
        self._since: dict[int, tuple[int | None, float]] = {}  # position, and since when it stands there
        self._asked = self._called = 0.0

    def forget(self) -> None:
        """Begin anew."""
        self._since.clear()

    def stuck(self, lookup: Any, topic: str, positions: Callable[[], Mapping[int, int | None]]) -> list[int]:
        """Those partitions whose position has not moved for the timeout while records wait behind it."""
        now = time.monotonic()
        if now - self._called > self._timeout / 4:  # nobody polled meanwhile: no wonder that nothing moved
            self.forget()
        self._called = now
        if now - self._asked < self._timeout / 2:
            return []
        self._asked = now
        standing = self._standing(topic, positions(), now)
        ends: dict[TopicPartition, int] = {}
        if standing:
            with suppress(KafkaError):  # the broker is away: nobody reads anything
                ends = lookup.end_offsets(list(standing), timeout_ms=ANSWER_MS)
        stuck = [part.partition for part, end in ends.items() if end > standing[part]]
        if stuck:
            self.forget()
        return stuck

    def _standing(self, topic: str, positions: Mapping[int, int | None], now: float) -> dict[TopicPartition, int]:
        standing = {}
        for number, position in positions.items():
            before, since = self._since.get(number, (None, now))
            if position is None or position != before:
                self._since[number] = position, now
            elif now - since >= self._timeout:
                standing[TopicPartition(topic, number)] = position
        return standing
