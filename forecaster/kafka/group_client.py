"""One member of the group with its producer, whichever library moves the records: what `Client` promises."""

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence

from kafka.errors import KafkaError

from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Found
from forecaster.config import Settings
from forecaster.errors import RetryableError
from forecaster.kafka.client import Incident, Lag
from forecaster.kafka.halves import Group, Member, Publisher, Rows
from forecaster.kafka.placement import Placement
from forecaster.kafka.places import Places
from forecaster.kafka.python_commit import Commits
from forecaster.kafka.python_connect import (
    check_topics,
    one_line,
    prepare_library,
    refresh_metadata,
    routed,
    unavailable,
    wire,
)
from forecaster.kafka.restore import Start
from forecaster.kafka.watch import Ends, Watchdog
from forecaster.records import Message, RecordBatch

logger = logging.getLogger(__name__)

PLACE_MS = 200  # of a poll, for reading the state topic


class GroupClient:
    """Implements `forecaster.kafka.client.Client` on the two halves that differ by library.

    `clock` gives seconds since the epoch, for the lag.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        group: Group,
        publisher: Publisher,
        placement: Placement,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings, self._client_id = settings, client_id
        self._kafka, self._topic = settings.kafka, settings.topics.input
        self._clock = clock
        self._group, self._publisher, self._placement = group, publisher, placement
        self._transactional = settings.delivery == "exactly_once"
        self._watchdog = Watchdog(settings.kafka.stuck_timeout)
        self._ends = Ends()
        self._name = ""  # of this member, as the group gave it
        self._member = Member("", settled=False, metadata=None)  # when the records in hand were polled
        self._source = ""
        self._places = Places()
        self._jumped: set[int] = set()  # partitions that the library reads on elsewhere, or no further
        self._checkpointed: set[int] = set()  # their state was published since the last commit
        self._commits = Commits(settings.kafka.delivery_timeout)

    def start(self) -> None:
        """Implement `Client.start`; joining the group goes on inside `poll`."""
        prepare_library()
        deadline = time.monotonic() + self._kafka.startup_timeout / 1_000
        check_topics(self._settings, self._client_id, deadline)
        self._publisher.check(deadline)
        try:
            self._group.join(deadline)
        except (KafkaError, OSError) as error:
            raise unavailable(self._kafka, error) from None

    def poll(self, timeout_ms: int) -> RecordBatch:
        """Implement `Client.poll`; an unreachable broker gives an empty batch."""
        if self._group.lookup is None:  # connecting anew failed
            self._join()
        elif self._group.outdated():
            logger.warning("the files of kafka's credentials have changed: connecting anew")
            self._connect_anew()
        self._routed(lambda: self._commits.check(self._group.lookup), "commit")
        records = self._group.fetch(0 if self._places.unplaced else timeout_ms)
        self._note_new_name()
        self._note_rebalances()
        self._note_jumps(records)
        self._watch(full=sum(len(rows.offset) for rows in records.values()) >= self._kafka.max_poll_records)
        waiting = set(self._places.unplaced)  # their records were fetched from wherever the library stood
        if waiting:
            self._place(PLACE_MS)
        self._member = self._group.member()
        polled = {n: rows for n, rows in records.items() if n in self._places.of and n not in waiting}
        return self._places.batch(self._topic, polled if self._member.settled else self._put_back(polled))

    def dropped(self) -> list[int]:
        """Implement `Client.dropped`."""
        return self._places.dropped()

    def restored(self) -> Mapping[int, Found]:
        """Implement `Client.restored`."""
        return self._places.restored()

    def positions(self) -> Mapping[int, int]:
        """Implement `Client.positions`."""
        return self._places.positions()

    def incidents(self) -> Sequence[Incident]:
        """Implement `Client.incidents`."""
        return self._places.told()

    def source(self) -> str:
        """Implement `Client.source`."""
        return self._source

    def publish(self, messages: Sequence[Message], state: Sequence[StateRecord] = ()) -> None:
        """Implement `Client.publish`."""
        if self._transactional and not self._member.settled:
            raise RetryableError("could not publish: this member has lost its place in the group")
        self._checkpointed.update(record.partition for record in state)
        self._publisher.publish([*messages, *self._saved(state)])

    def commit(self) -> None:
        """Implement `Client.commit`."""
        offsets = self._places.to_commit(self._checkpointed)
        if self._transactional:
            self._publisher.commit(offsets, self._source, self._member.metadata)
        else:
            self._commit_alone(offsets)
        self._checkpointed.clear()
        self._places.committed(offsets)

    def reset(self) -> None:
        """Implement `Client.reset`; the consumer stays, it reconnects by itself."""
        self._publisher.discard()
        self._commits.forget()
        self._checkpointed.clear()
        self._note_rebalances()
        self._release(list(self._places.of))

    def joined(self) -> bool:
        """Implement `Client.joined` as of the last poll; asks the library nothing."""
        return self._group.lookup is not None and not self._places.unplaced and self._member.settled

    def lag(self) -> Mapping[int, Lag]:
        """Implement `Client.lag` from what the last fetches and `Ends` told; asks the broker nothing."""
        return {number: self._lag(number) for number in self._places.of}

    def unread(self) -> int:
        """Implement `Client.unread` as of the last poll."""
        return len(self._places.unplaced)

    def close(self) -> None:
        """Implement `Client.close`."""
        try:
            self._commits.confirm(self._group.lookup)
        except KafkaError as error:
            logger.warning("the last offsets are not committed, their ticks are forecast again: %s", one_line(error))
        self._publisher.discard()
        self._placement.close()
        self._group.leave(self._kafka.shutdown_timeout)

    def _put_back(self, polled: Mapping[int, Rows]) -> Mapping[int, Rows]:
        """Read these records again once the group has settled: until then nothing could be committed. None are left."""
        for number in polled:
            self._group.read_from(number, self._places.of[number].next)
        return {}

    def _note_new_name(self) -> None:
        """Drop everything where the group has given this member another name, and so had thrown it out.

        kafka-python says nothing of what was lost where that happens while it joins.
        """
        name = self._group.member().name
        if name != self._name:
            self._release(list(self._places.of))
        self._name = name

    def _note_jumps(self, records: Mapping[int, Rows]) -> None:
        """Place partitions anew that the library reads on elsewhere, as records were deleted or the log's end lost."""
        self._jumped |= self._group.out_of_range()
        if self._jumped:
            self._refresh()
        jumped, self._jumped = self._jumped, set()
        for number, rows in records.items():
            place = self._places.of.get(number)
            if place is not None and rows.offset[0] < place.next:
                jumped.add(number)
        self._release(self._places.of.keys() & jumped)

    def _refresh(self) -> None:
        """Have the input topic's id of now."""
        try:
            refresh_metadata(self._group.lookup, self._kafka.delivery_timeout)
        except KafkaError as error:
            raise routed(error, "ask for the input topic") from None

    def _note_rebalances(self) -> None:
        for assigned, numbers in self._group.changes():
            self._release(numbers)
            if not assigned:
                self._places.unplaced.difference_update(numbers)

    def _release(self, numbers: Collection[int]) -> None:
        self._places.release(numbers)
        self._commits.forget(numbers)
        self._placement.forget(numbers)
        self._ends.forget(numbers)

    def _watch(self, *, full: bool) -> None:
        """Notice a topic that was made anew, and a partition that is silently read no more."""
        source, before = self._group.source(), self._source
        self._source = source or before
        if before and source not in ("", before):
            self._release(list(self._places.of))
        if full:
            self._ends.ask(self._group.lookup, self._topic, self._places.of)
        stuck = self._watchdog.stuck(self._group.lookup, self._topic, self._read_to, full=full)
        if stuck:
            text = f"{self._topic}: partitions {stuck} are not read although records wait: connecting anew"
            self._places.incidents.append(Incident("stuck_partition", len(stuck), text))
            self._connect_anew()

    def _read_to(self) -> dict[int, int | None]:
        return {number: self._group.progress(number).position for number in self._places.of}

    def _connect_anew(self) -> None:
        self._release(list(self._places.of))
        self._places.unplaced.clear()
        self._commits.forget()
        self._publisher.discard()
        self._group.leave(self._kafka.delivery_timeout)
        self._join()

    def _join(self) -> None:
        try:
            self._group.join(time.monotonic() + self._kafka.delivery_timeout / 1_000)
        except (KafkaError, OSError) as error:
            raise routed(error, "connect anew") from None

    def _place(self, timeout_ms: int) -> None:
        """Read partitions from where they begin; those that the broker tells nothing of are left to the next poll."""
        lookup, unplaced = self._group.lookup, self._places.unplaced
        # What was lost without a word is not ours: placed, its offset would be committed over that of its new owner.
        unplaced &= self._group.assigned()
        self._group.hold(unplaced)
        try:
            reached = self._placement.reach(lookup, unplaced, alone=not self._places.of)
            self._routed(self._publisher.open, "open a producer")  # ends what was left open, which hides offsets
            starts = self._placement.find(lookup, reached, self._source, timeout_ms)
            # A start that is stored nowhere is committed at once: "latest" must not move on in a crash.
            unstored = {number: start.resume for number, start in starts.items() if start.resume != start.stored}
            self._commit_alone(unstored)
            self._routed(lambda: self._commits.confirm(lookup), "commit")
        except RetryableError as error:
            self._commits.forget(unplaced)  # they are looked up anew; what is owed of others stays so
            self._placement.failed(error)
            return
        for number, start in starts.items():
            self._begin(number, start)

    def _begin(self, number: int, start: Start) -> None:
        if self._group.read_from(number, start.restore):  # else the note of its end comes with the next poll
            self._placement.forget([number])
            self._places.begin(number, start)

    def _saved(self, state: Sequence[StateRecord]) -> list[Message]:
        topic, partition_for = self._settings.topics.state, self._placement.partition_for
        try:
            return [Message(topic, one.key, one.value, (), partition_for(one.partition)) for one in state]
        except KafkaError as error:
            raise routed(error, "write a checkpoint") from None

    def _commit_alone(self, offsets: Mapping[int, int]) -> None:
        wired = wire(self._topic, offsets, self._source)
        self._routed(lambda: self._commits.send(self._group.lookup, wired), "commit")

    def _routed(self, call: Callable[[], None], what: str) -> None:
        try:
            call()
        except KafkaError as error:
            raise routed(error, what) from None

    def _lag(self, number: int) -> Lag:
        position, fetched = self._group.progress(number)
        end = self._ends.of(number, fetched)
        records = 0 if end is None or position is None else max(0, end - position)
        newest = self._places.of[number].time_ms
        age = 0.0 if newest is None else max(0.0, self._clock() - newest / 1_000)
        return Lag(records, age if records else 0.0)
