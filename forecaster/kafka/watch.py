"""Finds a partition that stands still although its end moves."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from forecaster.kafka.python_offsets import log_ends, with_leader

ANSWER_MS = 1_000


class Watchdog:
    """Finds partitions that are silently read no more. The broker is asked only about those that gave nothing."""

    def __init__(self, timeout_ms: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout, self._clock = timeout_ms / 1_000, clock
        self._since: dict[int, tuple[int | None, float]] = {}  # position, and since when it stands there
        self._asked = self._called = 0.0
        self._waited = 0.0  # the time that is counted

    def forget(self) -> None:
        """Begin anew."""
        self._since.clear()

    def stuck(
        self, lookup: Any, topic: str, positions: Callable[[], Mapping[int, int | None]], *, full: bool
    ) -> list[int]:
        """Those partitions whose position has not moved for the timeout while records wait behind it.

        Time in which polls were `full` does not count: a library hands out all that it fetched of one partition
        before it comes to the next, which takes a slow daemon minutes.
        """
        now = self._clock()
        passed, self._called = now - self._called, now
        if passed > self._timeout / 4:  # nobody polled meanwhile: no wonder that nothing moved
            self.forget()
        if not full:
            self._waited += passed
        if now - self._asked < self._timeout / 2:
            return []
        self._asked = now
        standing = self._standing(topic, positions(), self._waited)
        ends: dict[TopicPartition, int] = {}
        if standing:
            with suppress(KafkaError):  # the broker is away: nobody reads anything
                ends = log_ends(lookup, with_leader(lookup, standing), ANSWER_MS)
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
