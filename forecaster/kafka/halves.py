"""The two halves of a client that differ by library: the place in the group, and the producer.

All that one learns of committed offsets, logs and topics is asked by kafka-python, whichever library moves the records.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from forecaster.records import Headers, Message


class Rows(NamedTuple):
    """Records of one partition as columns, at least one, offsets ascending; times in epoch milliseconds."""

    offset: Sequence[int]
    timestamp_ms: Sequence[int]
    key: Sequence[bytes | None]
    value: Sequence[bytes | None]
    headers: Sequence[Headers]


class Member(NamedTuple):
    """What the group knows this worker as: `settled` where it has its place and holds the partitions of that place."""

    name: str
    settled: bool
    metadata: Any  # for the library's own producer


class Progress(NamedTuple):
    """The offset that is read next, behind the markers of transactions, and the log's end; None: not known yet."""

    position: int | None
    end: int | None


class Group(Protocol):
    """Membership in the consumer group, and the consumer of the input topic.

    Methods raise `RetryableError`, or `ConfigError` and `FencedError` where the broker refuses this worker.
    """

    @property
    def lookup(self) -> Any:
        """A consumer of kafka-python that asks for and commits offsets as this member; None before `join`."""

    def join(self, deadline: float) -> None:
        """Connect and subscribe by `deadline` (of `time.monotonic`); joining itself goes on inside `fetch`.

        Raises `KafkaError` of kafka-python or `OSError` where no broker answers; then there is no `lookup`.
        """

    def leave(self, timeout_ms: int) -> None:
        """Leave the group (a static member keeps its place) and close the connection."""

    def outdated(self) -> bool:
        """Whether the connection has credentials that were replaced, and the library reads no others by itself."""

    def fetch(self, timeout_ms: int) -> dict[int, Rows]:
        """New records by partition, at most `kafka.max_poll_records`; none while the broker is away."""

    def member(self) -> Member:
        """What the group knows this worker as by now."""

    def changes(self) -> Iterator[tuple[bool, Collection[int]]]:
        """What happened to partitions since the last call: (assigned?, partitions)."""

    def assigned(self) -> set[int]:
        """The partitions that this member has."""

    def hold(self, numbers: Collection[int]) -> None:
        """Read these assigned partitions no further until `read_from`."""

    def read_from(self, number: int, offset: int) -> bool:
        """Read a partition from `offset` on; whether it still is this member's."""

    def out_of_range(self) -> set[int]:
        """Partitions whose next record was gone from the log since the last call."""

    def source(self) -> str:
        """The id of the input topic: another one once it was deleted and made anew; empty where the broker has none."""

    def progress(self, number: int) -> Progress:
        """How far a partition is read; asks the broker nothing."""


class Publisher(Protocol):
    """A producer that is made when first needed and thrown away after a failure.

    With exactly-once everything from `publish` to `commit` is one transaction. Raises as `Group` does.
    """

    def check(self, deadline: float) -> None:
        """Show by `deadline` (of `time.monotonic`) that the broker can do what is asked of it; `ConfigError` if not."""

    def open(self) -> None:
        """Have a producer; what an earlier one of the same transactional id left open is aborted first.

        Raises `KafkaError` of kafka-python where the broker does not answer, or refuses.
        """

    def publish(self, messages: Sequence[Message]) -> None:
        """Send `messages` and wait for every acknowledgement; a dead letter that is too large is cut."""

    def commit(self, offsets: Mapping[int, int], source: str, member: Any) -> None:
        """Commit the transaction with `offsets` of the input topic `source` in the name of a `Member.metadata`."""

    def discard(self) -> None:
        """Throw the producer away with whatever it still holds, so that nothing is sent behind our back."""
