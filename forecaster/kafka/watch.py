"""Finds a partition that stands still although its end moves, and how far a client is behind that has much in hand."""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from forecaster.kafka.python_offsets import log_ends, with_leader

ANSWER_MS = 1_000
ENDS_EVERY_S = 15.0


class Ends:
    """Where logs end, asked of the broker while polls are full.

    A library knows the end as of its last fetch. What that brought keeps a slow daemon busy for minutes, in which the
    lag would seem to shrink while it grows.
    """

    def __init__(self) -> None:
        self._known: dict[int, int] = {}
        self._asked = 0.0

    def ask(self, lookup: Any, topic: str, numbers: Iterable[int]) -> None:
        """Have the ends of now, if those known are old; without an answer those known are kept."""
        now = time.monotonic()
        if now - self._asked < ENDS_EVERY_S:
            return
        self._asked = now
        parts = with_leader(lookup, [TopicPartition(topic, number) for number in numbers], ANSWER_MS)
        with suppress(KafkaError):
            self._known = {part.partition: end for part, end in log_ends(lookup, parts, ANSWER_MS).items()}

    def of(self, number: int, fetched: int | None) -> int | None:
        """The end of a partition, whose last fetch told of `fetched`: the later of the two, where any is known."""
        return max((end for end in (fetched, self._known.get(number)) if end is not None), default=None)

    def forget(self, numbers: Iterable[int]) -> None:
        """Ask anew: these partitions may be of another topic now."""
        for number in numbers:
            self._known.pop(number, None)


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
                ends = log_ends(lookup, with_leader(lookup, standing, ANSWER_MS), ANSWER_MS)
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
