"""What the daemon needs of a Kafka client; each adapter, and the in-memory fake, is one class."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Found
from forecaster.records import Message, RecordBatch

IncidentKind = Literal["lost_records", "topic_recreated", "stuck_partition", "checkpoint_refused"]


class Lag(NamedTuple):
    """How far a partition's reader is behind: records, and the age of the next one in seconds."""

    records: int
    seconds: float


class Incident(NamedTuple):
    """Something that an operator wants to know: of how many (records, checkpoints, …), and a text for the log."""

    kind: IncidentKind
    number: int
    text: str
    reason: str = ""  # of a refused checkpoint: a bounded code


class Client(Protocol):
    """One member of the consumer group with its producer. Used from one thread.

    Any broker failure after `start` surfaces as `RetryableError`; the daemon then calls `reset`.
    With `delivery = "exactly_once"` everything from `publish` to `commit` is one transaction.
    """

    def start(self) -> None:
        """Connect, check the topics (create missing ones where allowed) and join the group.

        Raises `ConfigError` for a missing topic that may not or cannot be created, and
        `BrokerUnavailableError` when no broker answers within `kafka.startup_timeout`.
        """

    def poll(self, timeout_ms: int) -> RecordBatch:
        """The next records of the assigned partitions, at most `kafka.max_poll_records`; may be empty.

        A partition that was just assigned is read from its restore offset on, with the records
        below its committed offset marked `silent`. Raises `FencedError` where another daemon has
        taken this one's identity.
        """

    def dropped(self) -> list[int]:
        """Partitions revoked, lost or newly assigned up to the last poll: the caller drops their state.

        Each is returned once; a record of the last poll belongs to the time after the drop.
        """

    def restored(self) -> Mapping[int, Found]:
        """What the state topic has of partitions that begin, since the last call.

        The caller loads the checkpoint, where there is one, after the drop: the partition is read from there.
        """

    def positions(self) -> Mapping[int, int]:
        """By partition, the offset behind what `poll` has returned; without those that are still replayed."""

    def incidents(self) -> Sequence[Incident]:
        """What was noticed since the last call."""

    def source(self) -> str:
        """What tells this input topic from another one that had its name before; empty where the broker does not."""

    def publish(self, messages: Sequence[Message], state: Sequence[StateRecord] = ()) -> None:
        """Send `messages` and `state` in order and return once the broker acknowledged every one of them.

        With exactly-once they are visible from the `commit` on, which must follow. Raises `RetryableError`
        when any is not acknowledged within `kafka.delivery_timeout`, `FencedError` as `poll` does.
        """

    def commit(self) -> None:
        """Commit the offsets behind everything that `poll` has returned so far.

        Outside of a transaction the answer is awaited by the next `commit` or `close`: what that takes is not added
        to each batch, and what was not committed is forecast again.

        The offset of a partition whose state was published goes along in any case, so that a worker which
        has lost the partition is fenced.
        """

    def reset(self) -> None:
        """After a failure: forget what was polled, so that every partition is dropped and restored."""

    def joined(self) -> bool:
        """Whether this member holds a stable place in the group (readiness)."""

    def lag(self) -> Mapping[int, Lag]:
        """Lag by partition of the input topic, of those that are read."""

    def unread(self) -> int:
        """How many partitions this member has but does not read: no leader, or nobody told yet where they begin."""

    def close(self) -> None:
        """Leave the group and close both connections; bounded by `kafka.shutdown_timeout`."""
