"""The Kafka client on kafka-python: a consumer in the group and a producer, used from one thread."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import MemberState

from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Found, Reader
from forecaster.config import Settings
from forecaster.errors import RetryableError
from forecaster.kafka.client import Incident, Lag
from forecaster.kafka.python_connect import check_topics, connection_options, prepare_library, routed, unavailable
from forecaster.kafka.python_group import Group
from forecaster.kafka.python_placement import Placement
from forecaster.kafka.python_places import Places, Polled
from forecaster.kafka.python_publisher import Publisher
from forecaster.kafka.python_restore import Start
from forecaster.kafka.python_rows import Row
from forecaster.kafka.python_transactions import transactional_id
from forecaster.kafka.python_watch import Watchdog
from forecaster.records import Message, RecordBatch

JOIN_MS = 500  # kafka-python throws a join away that completes between two polls: short polls would never end one
PLACE_MS = 200  # of a poll, for reading the state topic


class KafkaPythonClient:
    """Implements `forecaster.kafka.client.Client`.

    `rebuild_span_ms` is how much record time is replayed before the committed offset of a newly assigned
    partition without a checkpoint, None for all of its log. `make_reader` makes what reads the checkpoints
    of an input partition; None where there are none. `clock` gives seconds since the epoch, for the lag.
    """

    def __init__(
        self,
        settings: Settings,
        rebuild_span_ms: int | None,
        client_id: str,
        make_reader: Callable[[int], Reader] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._kafka, self._topic = settings.kafka, settings.topics.input
        self._clock = clock
        self._options = connection_options(settings.kafka, client_id)
        self._group = Group(settings, self._options)
        self._transactional = settings.delivery == "exactly_once"
        self._publisher = Publisher(settings, self._options, transactional_id(settings))
        self._placement = Placement(settings, rebuild_span_ms, self._options, make_reader)
        self._watchdog = Watchdog(settings.kafka.stuck_timeout)
        self._name = ""  # of this member, as the group gave it
        self._member: Any = None  # what the group knew us as when the records in hand were polled
        self._source = ""
        self._places = Places()
        self._checkpointed: set[int] = set()  # their state was published since the last commit

    def start(self) -> None:
        """Implement `Client.start`; joining the group goes on inside `poll`."""
        prepare_library()
        deadline = time.monotonic() + self._kafka.startup_timeout / 1_000
        check_topics(self._settings, self._options["client_id"], deadline)
        self._publisher.check(deadline)
        try:
            self._group.join(deadline)
        except (KafkaError, OSError) as error:
            raise unavailable(self._kafka, error) from None

    def poll(self, timeout_ms: int) -> RecordBatch:
        """Implement `Client.poll`; an unreachable broker gives an empty batch."""
        if self._group.consumer is None:  # connecting anew failed
            self._join()
        if not self._group.settled():
            timeout_ms = max(timeout_ms, JOIN_MS)
        elif self._places.unplaced:
            timeout_ms = 0
        records = self._group.fetch(timeout_ms)
        self._note_new_name()
        self._note_rebalances()
        self._note_jumps(records)
        self._watch()
        waiting = set(self._places.unplaced)  # their records were fetched from wherever kafka-python stood
        if waiting:
            self._place(PLACE_MS)
        self._member = self._group.consumer.group_metadata()
        polled = [
            (part.partition, rows)
            for part, rows in records.items()
            if part.partition in self._places.of and part.partition not in waiting
        ]
        return self._places.batch(self._topic, polled if self._is_member() else self._put_back(polled))

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
        if self._transactional and not self._is_member():
            raise RetryableError("could not publish: this member has lost its place in the group")
        self._checkpointed.update(record.partition for record in state)
        self._publisher.publish([*messages, *self._saved(state)])

    def commit(self) -> None:
        """Implement `Client.commit`."""
        offsets = self._places.to_commit(self._checkpointed)
        if self._transactional:
            self._publisher.commit(self._wire(offsets), self._member)
        else:
            self._commit_alone(offsets)
        self._checkpointed.clear()
        self._places.committed(offsets)

    def reset(self) -> None:
        """Implement `Client.reset`; the consumer stays, it reconnects by itself."""
        self._publisher.discard()
        self._checkpointed.clear()
        self._note_rebalances()
        self._release(list(self._places.of))

    def joined(self) -> bool:
        """Implement `Client.joined`."""
        if self._group.consumer is None or self._places.unplaced:
            return False
        return self._group.settled()

    def lag(self) -> Mapping[int, Lag]:
        """Implement `Client.lag` from what the last fetches told; asks the broker nothing."""
        lags = {}
        for number in self._places.of:
            with suppress(KafkaError):  # revoked since the last poll
                lags[number] = self._lag(number)
        return lags

    def close(self) -> None:
        """Implement `Client.close`."""
        self._publisher.discard()
        self._placement.close()
        self._group.leave(self._kafka.shutdown_timeout)

    def _is_member(self) -> bool:
        """Whether the broker could tell us from a member that it has lost: without a name it refuses nobody."""
        member = self._member
        if member is None or member.generation_id < 0 or not member.member_id:
            return False
        return bool(member.state == MemberState.STABLE)  # else a newer generation, but the partitions of the one before

    def _put_back(self, polled: Polled) -> Polled:
        """Read these records again once the group has settled: until then nothing could be committed. None are left."""
        for number, _ in polled:
            with suppress(KafkaError, KeyError, ValueError):  # revoked; the note of it comes with the next poll
                self._group.consumer.seek(TopicPartition(self._topic, number), self._places.of[number].next)
        return []

    def _note_new_name(self) -> None:
        """Drop everything where the group has given this member another name, and so had thrown it out.

        kafka-python says nothing of what was lost where that happens while it joins.
        """
        name = self._group.consumer.group_metadata().member_id
        if name != self._name:
            self._release(list(self._places.of))
        self._name = name

    def _note_jumps(self, records: Mapping[TopicPartition, Sequence[Row]]) -> None:
        """Place partitions anew that kafka-python reads on elsewhere, as records were deleted or the log's end lost."""
        jumped = self._group.out_of_range()
        for part, rows in records.items():
            place = self._places.of.get(part.partition)
            if place is not None and rows[0][0] < place.next:
                jumped.add(part.partition)
        self._release(self._places.of.keys() & jumped)

    def _note_rebalances(self) -> None:
        for assigned, numbers in self._group.changes():
            self._release(numbers)
            if not assigned:
                self._places.unplaced.difference_update(numbers)

    def _release(self, numbers: Collection[int]) -> None:
        self._places.release(numbers)
        self._placement.forget(numbers)

    def _watch(self) -> None:
        """Notice a topic that was made anew, and a partition that is silently read no more."""
        source, before = self._group.source(), self._source
        self._source = source or before
        if before and source not in ("", before):
            self._release(list(self._places.of))
        stuck = self._watchdog.stuck(self._group.consumer, self._topic, self._places.of)
        if stuck:
            text = f"{self._topic}: partitions {stuck} are not read although records wait: connecting anew"
            self._places.incidents.append(Incident("stuck_partition", len(stuck), text))
            self._connect_anew()

    def _connect_anew(self) -> None:
        self._release(list(self._places.of))
        self._places.unplaced.clear()
        self._group.leave(self._kafka.delivery_timeout)
        self._join()

    def _join(self) -> None:
        try:
            self._group.join(time.monotonic() + self._kafka.delivery_timeout / 1_000)
        except (KafkaError, OSError) as error:
            raise routed(error, "connect anew") from None

    def _place(self, timeout_ms: int) -> None:
        """Seek partitions to where they begin; those that the broker tells nothing of are left to the next poll."""
        consumer, unplaced = self._group.consumer, self._places.unplaced
        # What was lost without a word is not ours: placed, its offset would be committed over that of its new owner.
        unplaced &= {part.partition for part in consumer.assignment()}
        consumer.pause(*(TopicPartition(self._topic, number) for number in unplaced))
        try:
            self._placement.reach(consumer, unplaced, alone=not self._places.of)
            self._publisher.open()  # ends what an earlier run left open, which hides offsets
            starts = self._placement.find(consumer, unplaced, self._source, timeout_ms)
            # A start that is stored nowhere is committed at once: "latest" must not move on in a crash.
            self._group.commit(
                self._wire({number: start.resume for number, start in starts.items() if start.resume != start.stored})
            )
        except KafkaError as error:
            self._placement.failed(error)
            return
        for number, start in starts.items():
            self._begin(number, start)

    def _begin(self, number: int, start: Start) -> None:
        part = TopicPartition(self._topic, number)
        try:
            self._group.consumer.seek(part, start.restore)
            self._group.consumer.resume(part)
        except (KafkaError, KeyError, ValueError):  # revoked meanwhile; the note of it comes with the next poll
            return
        self._placement.forget([number])
        self._places.begin(number, start)

    def _wire(self, offsets: Mapping[int, int]) -> dict[TopicPartition, OffsetAndMetadata]:
        """Offsets with the topic's id beside them, so that they are never taken for another topic's."""
        return {
            TopicPartition(self._topic, number): OffsetAndMetadata(offset, self._source, -1)
            for number, offset in offsets.items()
        }

    def _saved(self, state: Sequence[StateRecord]) -> list[Message]:
        topic, partition_for = self._settings.topics.state, self._placement.partition_for
        try:
            return [Message(topic, one.key, one.value, (), partition_for(one.partition)) for one in state]
        except KafkaError as error:
            raise routed(error, "write a checkpoint") from None

    def _commit_alone(self, offsets: Mapping[int, int]) -> None:
        try:
            self._group.commit(self._wire(offsets))
        except KafkaError as error:
            raise routed(error, "commit") from None

    def _lag(self, number: int) -> Lag:
        """Return the lag by position, since behind the last record there may be transaction markers."""
        part, consumer = TopicPartition(self._topic, number), self._group.consumer
        end, position = consumer.highwater(part), consumer.position(part, timeout_ms=0)
        records = 0 if end is None or position is None else max(0, end - position)
        newest = self._places.of[number].time_ms
        age = 0.0 if newest is None else max(0.0, self._clock() - newest / 1_000)
        return Lag(records, age if records else 0.0)
