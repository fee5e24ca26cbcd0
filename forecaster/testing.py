"""Stand-ins that run the whole line in memory: a clock, a broker, and a client that keeps the client's contract.

The contract suite of the tests holds `MemoryClient` against the real clients.
"""

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Found, Reader
from forecaster.config import Settings
from forecaster.errors import BrokerUnavailableError, ConfigError, RetryableError
from forecaster.kafka.client import Incident, Lag
from forecaster.records import Headers, Message, RecordBatch

Operation = Literal["publish", "commit"]


class FakeClock:
    """Seconds since the epoch that move only when told to."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class MemoryRecord(NamedTuple):
    """One record of a log."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


class MemoryLog:
    """One partition: records whose offsets outlive the deletion of older ones."""

    def __init__(self) -> None:
        self.begin = 0
        self.records: list[MemoryRecord] = []

    @property
    def end(self) -> int:
        return self.begin + len(self.records)

    def delete_before(self, offset: int) -> None:
        """Move the start up to `offset`, as retention does."""
        del self.records[: max(0, offset - self.begin)]
        self.begin = max(self.begin, offset)

    def read(self, offset: int, limit: int) -> list[MemoryRecord]:
        at = max(0, offset - self.begin)
        return self.records[at : at + limit]


class MemoryBroker:
    """Topics, committed offsets and groups. Set `available` to False for an outage."""

    def __init__(self, clock: FakeClock | None = None) -> None:
        self.clock = clock or FakeClock()
        self.available = True
        self.topics: dict[str, list[MemoryLog]] = {}
        self.committed: dict[tuple[str, str, int], int] = {}
        self._members: dict[tuple[str, str], list[MemoryClient]] = defaultdict(list)

    def create_topic(self, name: str, partitions: int) -> None:
        self.topics.setdefault(name, [MemoryLog() for _ in range(partitions)])

    def append(self, message: Message, partition: int | None = None, timestamp_ms: int | None = None) -> int:
        """Append to `partition`, or the one of the message's key; returns the offset."""
        logs = self.topics[message.topic]
        number = zlib.crc32(message.key or b"") % len(logs) if partition is None else partition
        log = logs[number]
        time_ms = round(self.clock() * 1_000) if timestamp_ms is None else timestamp_ms
        log.records.append(MemoryRecord(log.end, time_ms, message.key, message.value, tuple(message.headers)))
        return log.end - 1

    def records(self, topic: str) -> list[MemoryRecord]:
        """Return all records of `topic`, by partition."""
        return [record for log in self.topics[topic] for record in log.records]

    def join(self, group: str, topic: str, member: "MemoryClient") -> None:
        self._members[group, topic].append(member)
        self._share(group, topic)

    def leave(self, group: str, topic: str, member: "MemoryClient") -> None:
        self._members[group, topic].remove(member)
        self._share(group, topic)

    def _share(self, group: str, topic: str) -> None:
        """Deal the partitions out in turn; revoke everywhere before assigning anywhere."""
        members = self._members[group, topic]
        wanted = {member: set(range(i, len(self.topics[topic]), len(members))) for i, member in enumerate(members)}
        for member, numbers in wanted.items():
            member.revoke(member.assigned - numbers)
        for member, numbers in wanted.items():
            member.assign(numbers - member.assigned)


@dataclass
class _Reader:
    """Where a partition stands: below `resume` records are silent, `next` is the offset poll returns next."""

    resume: int
    next: int
    time_ms: int | None = None


class MemoryClient:
    """Implements `forecaster.kafka.client.Client` over a `MemoryBroker`.

    `fail_next` makes the coming calls of an operation fail; `revoke` and `assign` rebalance by hand.
    """

    def __init__(
        self,
        settings: Settings,
        rebuild_span_ms: int | None,
        client_id: str,
        make_reader: Callable[[int], Reader] | None = None,
        *,
        broker: MemoryBroker,
    ) -> None:
        self.client_id = client_id
        self.broker = broker
        self.assigned: set[int] = set()
        self._settings = settings
        self._topic = settings.topics.input
        self._group = settings.kafka.group_id
        self._span_ms = rebuild_span_ms
        self._readers: dict[int, _Reader] = {}
        self._dropped: set[int] = set()
        self._stale: set[int] = set()  # revoked, lost or assigned since the last poll
        self._failures: dict[Operation, int] = {"publish": 0, "commit": 0}
        self._make_reader = make_reader
        self._pending: list[Message] = []
        self._checkpointed: set[int] = set()
        self._restored: dict[int, Found] = {}
        self._incidents: list[Incident] = []

    def start(self) -> None:
        """Implement `Client.start`."""
        if not self.broker.available:
            raise BrokerUnavailableError("kafka.bootstrap_servers: the broker is away")
        topics = self._settings.topics
        for role, name in (("input", topics.input), ("output", topics.output), ("dead_letter", topics.dead_letter)):
            if name not in self.broker.topics and not topics.create:
                raise ConfigError(f"topics.{role} = {name!r}: no such topic, and topics.create is off")
            self.broker.create_topic(name, topics.partitions)
        self.broker.create_topic(topics.state, len(self.broker.topics[self._topic]))
        self.broker.join(self._group, self._topic, self)

    def poll(self, timeout_ms: int) -> RecordBatch:  # noqa: ARG002  # memory never waits
        """Implement `Client.poll`."""
        if not self.broker.available:
            return self._batch([])
        self._dropped |= self._stale
        for number in self._stale:
            self._readers.pop(number, None)
        self._stale.clear()
        for number in sorted(self.assigned - self._readers.keys()):
            self._readers[number] = self._place(number)
        return self._batch(self._take(self._settings.kafka.max_poll_records))

    def dropped(self) -> list[int]:
        """Implement `Client.dropped`."""
        dropped, self._dropped = sorted(self._dropped), set()
        return dropped

    def restored(self) -> Mapping[int, Found]:
        """Implement `Client.restored`."""
        restored, self._restored = self._restored, {}
        return restored

    def positions(self) -> Mapping[int, int]:
        """Implement `Client.positions`."""
        return {number: reader.next for number, reader in self._readers.items() if reader.next >= reader.resume}

    def incidents(self) -> Sequence[Incident]:
        """Implement `Client.incidents`."""
        incidents, self._incidents = self._incidents, []
        return incidents

    def source(self) -> str:
        """Implement `Client.source`."""
        return "memory"

    def publish(self, messages: Sequence[Message], state: Sequence[StateRecord] = ()) -> None:
        """Implement `Client.publish`; a failure injected here comes before the first message."""
        self._maybe_fail("publish")
        self._checkpointed.update(one.partition for one in state)
        topic = self._settings.topics.state
        self._pending += [*messages, *(Message(topic, one.key, one.value, (), one.partition) for one in state)]
        if self._settings.delivery == "at_least_once":
            self._append_pending()

    def commit(self) -> None:
        """Implement `Client.commit`; refused when the group was rebalanced since the last poll."""
        self._maybe_fail("commit")
        if self._stale:
            raise RetryableError("could not commit: the group was rebalanced")
        self._append_pending()
        for number, reader in self._readers.items():
            if reader.next > reader.resume or number in self._checkpointed:
                reader.resume = max(reader.next, reader.resume)
                self.broker.committed[self._group, self._topic, number] = reader.resume
        self._checkpointed.clear()

    def reset(self) -> None:
        """Implement `Client.reset`."""
        self._pending.clear()
        self._checkpointed.clear()
        self._stale |= self.assigned

    def joined(self) -> bool:
        """Implement `Client.joined`."""
        return self.broker.available and bool(self.assigned) and not self._stale

    def lag(self) -> Mapping[int, Lag]:
        """Implement `Client.lag`."""
        return {number: self._lag(number, reader) for number, reader in self._readers.items()}

    def unread(self) -> int:
        """Implement `Client.unread`."""
        return len(self._stale)

    def close(self) -> None:
        """Implement `Client.close`."""
        self.broker.leave(self._group, self._topic, self)
        self.assigned.clear()
        self._readers.clear()

    def fail_next(self, operation: Operation, times: int = 1) -> None:
        self._failures[operation] += times

    def revoke(self, numbers: Iterable[int]) -> None:
        taken = self.assigned.intersection(numbers)
        self.assigned -= taken
        self._stale |= taken

    def assign(self, numbers: Iterable[int]) -> None:
        given = set(numbers) - self.assigned
        self.assigned |= given
        self._stale |= given

    def _append_pending(self) -> None:
        for message in self._pending:
            self.broker.append(message, message.partition)
        self._pending.clear()

    def _maybe_fail(self, operation: Operation) -> None:
        if self._failures[operation]:
            self._failures[operation] -= 1
            raise RetryableError(f"could not {operation}: injected by the test")
        if not self.broker.available:
            raise RetryableError(f"could not {operation}: the broker is away")

    def _place(self, number: int) -> _Reader:
        """Return where to begin: the committed offset inside the log, replayed from the rebuild span before it."""
        log = self.broker.topics[self._topic][number]
        first = log.begin if self._settings.kafka.auto_offset_reset == "earliest" else log.end
        place = (self._group, self._topic, number)
        resume = min(max(self.broker.committed.get(place, first), log.begin), log.end)
        self.broker.committed[place] = resume
        if (found := self._find(number, resume)) is not None:
            self._restored[number] = found
            if found.checkpoint is not None:
                return _Reader(resume, found.checkpoint.offset)
        if self._span_ms is None or resume == log.begin:
            return _Reader(resume, log.begin)
        oldest_ms = log.records[resume - log.begin - 1].timestamp_ms - self._span_ms
        restore = next(record.offset for record in log.records if record.timestamp_ms >= oldest_ms)
        return _Reader(resume, min(restore, resume))

    def _find(self, number: int, resume: int) -> Found | None:
        if self._make_reader is None:
            return None
        reader = self._make_reader(number)
        for record in self.broker.topics[self._settings.topics.state][number].records:
            reader.add(record.key, record.value)
        found = reader.newest(resume, self.source())
        self._incidents += [Incident("checkpoint_refused", 1, text, reason) for reason, text in found.problems]
        return found

    def _take(self, limit: int) -> list[tuple[int, list[MemoryRecord]]]:
        taken = []
        for number in sorted(self._readers):
            rows = self.broker.topics[self._topic][number].read(self._readers[number].next, limit)
            limit -= len(rows)
            if rows:
                taken.append((number, rows))
        return taken

    def _batch(self, parts: Sequence[tuple[int, list[MemoryRecord]]]) -> RecordBatch:
        sizes = [len(rows) for _, rows in parts]
        rows = [row for _, part in parts for row in part]
        offset = np.array([row.offset for row in rows], np.int64)
        resume = np.array([self._readers[number].resume for number, _ in parts], np.int64)
        for number, part in parts:
            self._readers[number].next = part[-1].offset + 1
            self._readers[number].time_ms = part[-1].timestamp_ms
        return RecordBatch(
            topic=self._topic,
            partition=np.repeat(np.array([number for number, _ in parts], np.int64), sizes),
            offset=offset,
            timestamp_ms=np.array([row.timestamp_ms for row in rows], np.int64),
            key=[row.key for row in rows],
            value=[row.value for row in rows],
            headers=[row.headers for row in rows],
            silent=offset < np.repeat(resume, sizes),
        )

    def _lag(self, number: int, reader: _Reader) -> Lag:
        records = self.broker.topics[self._topic][number].end - reader.next
        seconds = 0.0 if reader.time_ms is None else max(0.0, self.broker.clock() - reader.time_ms / 1_000)
        return Lag(records, seconds if records else 0.0)
