"""What the daemon needs of a Kafka client; each adapter, and the in-memory fake, is one class."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

from forecaster.records import Message, RecordBatch


class Lag(NamedTuple):
    """How far a partition's reader is behind: records, and the age of the next one in seconds."""

    records: int
    seconds: float


class Client(Protocol):
    """One member of the consumer group with its producer. Used from one thread.

    Any broker failure after `start` surfaces as `RetryableError`; the daemon then calls `reset`.
    """

    def start(self) -> None:
        """Connect, check the topics (create missing ones where allowed) and join the group.

        Raises `ConfigError` for a missing topic that may not or cannot be created, and
        `BrokerUnavailableError` when no broker answers within `kafka.startup_timeout`.
        """

    def poll(self, timeout_ms: int) -> RecordBatch:
        """The next records of the assigned partitions, at most `kafka.max_poll_records`; may be empty.

        A partition that was just assigned is read from its restore offset on, with the records
        below its committed offset marked `silent`.
        """

    def dropped(self) -> list[int]:
        """Partitions revoked, lost or newly assigned up to the last poll: the caller drops their state.

        Each is returned once; a record of the last poll belongs to the time after the drop.
        """

    def publish(self, messages: Sequence[Message]) -> None:
        """Send `messages` in order and return once the broker acknowledged every one of them.

        Raises `RetryableError` when any is not acknowledged within `kafka.delivery_timeout`.
        """

    def commit(self) -> None:
        """Commit the offsets behind everything that `poll` has returned so far."""

    def reset(self) -> None:
        """After a failure: forget what was polled, so that every partition is dropped and restored."""

    def joined(self) -> bool:
        """Whether this member holds a stable place in the group (readiness)."""

    def lag(self) -> Mapping[int, Lag]:
        """Lag by partition of the input topic."""

    def close(self) -> None:
        """Leave the group and close both connections; bounded by `kafka.shutdown_timeout`."""
