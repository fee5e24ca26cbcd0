"""Finds where newly assigned partitions begin: with which checkpoint, from which offset, silent up to which."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from kafka import TopicPartition
from kafka.errors import KafkaError

from forecaster.checkpoint.reader import Reader
from forecaster.config import Settings
from forecaster.errors import RetryableError
from forecaster.kafka.python_connect import READING, routed
from forecaster.kafka.python_offsets import log_begins, with_leader
from forecaster.kafka.restore import Policy, Start, find_starts
from forecaster.kafka.state_topic import StateTopic

logger = logging.getLogger(__name__)

FIRST_LOOKUP_MS = 1_000  # doubled up to the longest while the broker is away: poll must stay short
LONGEST_LOOKUP_MS = 8_000
PAUSE_SECONDS = 0.2
LOOK_UP = "look up committed offsets"


class Placement:
    """Asks the broker a little with each call; a failure leaves things such that the next call goes on."""

    def __init__(
        self,
        settings: Settings,
        rebuild_span_ms: int | None,
        options: Mapping[str, Any],
        make_reader: Callable[[int], Reader] | None,
    ) -> None:
        self._topic = settings.topics.input
        self._policy = Policy(settings.kafka.auto_offset_reset, rebuild_span_ms, settings.kafka.lost_offsets)
        self._probe = {**options, **READING}
        self._state = None if make_reader is None else StateTopic(settings.topics.state, self._probe, make_reader)
        self._lookup_ms = FIRST_LOOKUP_MS

    def forget(self, numbers: Iterable[int]) -> None:
        """Give up on partitions `numbers`; asked for again they are looked up anew."""
        if self._state is not None:
            self._state.forget(numbers)

    def reach(self, consumer: Any, numbers: Collection[int], *, alone: bool) -> set[int]:
        """Those of partitions `numbers` whose leader answers: others do not wait for one that has none.

        Raises `RetryableError` where that is none of them, `ConfigError` where the broker refuses this user.

        Other partitions, where those asked for are not `alone`, wait meanwhile: then it asks again sooner.

        Asked of a connection that comes back by itself: a new one to a broker that is away leaks its sockets.
        """
        if not alone:
            self._lookup_ms = FIRST_LOOKUP_MS
        parts = with_leader(consumer, [TopicPartition(self._topic, number) for number in numbers], self._lookup_ms)
        if not parts:
            raise RetryableError(f"could not {LOOK_UP}: partitions {sorted(numbers)} of {self._topic} have no leader")
        try:
            log_begins(consumer, parts, self._lookup_ms)
        except KafkaError as error:
            raise routed(error, LOOK_UP) from None
        return {part.partition for part in parts}

    def find(self, consumer: Any, numbers: Iterable[int], source: str, timeout_ms: int) -> dict[int, Start]:
        """The starts of those of partitions `numbers` that can begin; waits up to `timeout_ms` for their state.

        Raises as `reach` does, and `ForecasterError` where the settings say to stop.
        """
        try:
            readers: Mapping[int, Reader | None] = dict.fromkeys(numbers)
            if self._state is not None:
                readers = self._state.read(numbers, timeout_ms)
            parts = {TopicPartition(self._topic, number): reader for number, reader in sorted(readers.items())}
            starts = find_starts(consumer, parts, self._policy, source, self._probe, self._lookup_ms) if parts else {}
        except KafkaError as error:
            raise routed(error, LOOK_UP) from None
        self._lookup_ms = FIRST_LOOKUP_MS
        return {part.partition: start for part, start in starts.items()}

    def failed(self, failure: RetryableError) -> None:
        """Say that the next call tries again, more patiently."""
        logger.warning("%s; trying again", failure)
        time.sleep(PAUSE_SECONDS)  # some errors return at once; do not spin on them
        self._lookup_ms = min(2 * self._lookup_ms, LONGEST_LOOKUP_MS)

    def partition_for(self, number: int) -> int:
        """The partition of the state topic that holds the state of input partition `number`."""
        assert self._state is not None, "state is published only where it is read"  # noqa: S101
        return self._state.partition_for(number)

    def close(self) -> None:
        """Close all connections."""
        if self._state is not None:
            self._state.close()
