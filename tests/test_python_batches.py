"""Record batches against what kafka-python itself makes of the same messages, and their results."""

import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.errors import InvalidRecordError, KafkaTimeoutError, MessageSizeTooLargeError
from kafka.partitioner import DefaultPartitioner
from kafka.producer.record_accumulator import RecordAccumulator
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from forecaster.kafka.python_batches import Batch, send
from forecaster.records import Message

TOPIC = "forecasts"


class Cluster:
    """As many of kafka-python's metadata as a partitioner asks for."""

    def __init__(self, partitions: int) -> None:
        self.numbers = set(range(partitions))

    def topics(self) -> set[str]:
        return {TOPIC}

    def partitions_for_topic(self, _: str) -> set[int]:
        return self.numbers

    def available_partitions_for_topic(self, _: str) -> set[int]:
        return self.numbers


class Producer:
    """A producer whose sender never runs: what it would send stays in the accumulator."""

    def __init__(self, partitions: int) -> None:
        self._metadata = Cluster(partitions)
        self._accumulator = RecordAccumulator()
        self._transaction_manager = SimpleNamespace(is_transactional=lambda: False)
        self.config = {"max_request_size": 10_000}

    def partitions_for(self, topic: str) -> set[int]:
        return self._metadata.partitions_for_topic(topic)

    def waiting(self) -> dict[int, list[Any]]:
        return {part.partition: list(batches) for part, batches in self._accumulator._batches.items() if batches}


def batches_of(messages: Iterable[Message], *, partitions: int = 1, most_bytes: int = 10_000) -> list[Batch]:
    return send(Producer(partitions), list(messages), {TOPIC: 2**20}, most_bytes)


def records_of(batch: Batch) -> list[Any]:
    batch.records.close()
    return [record for found in MemoryRecords(batch.records.buffer()) for record in found]


def keyed(keys: Iterable[bytes | None], size: int = 3) -> list[Message]:
    return [Message(TOPIC, key, b"v" * size) for key in keys]


def placed(producer: Producer, messages: Sequence[Message]) -> dict[int, list[bytes | None]]:
    """The keys by partition."""
    found = defaultdict(list)
    for batch in send(producer, messages, {TOPIC: 2**20}, 10_000):
        found[batch.topic_partition.partition] += [record.key for record in records_of(batch)]
    return found


some_bytes = st.none() | st.binary(max_size=200)
headers = st.lists(st.tuples(st.text(max_size=70), st.binary(max_size=70)), max_size=3)


@given(st.lists(st.tuples(some_bytes, some_bytes, headers), min_size=1, max_size=70))
def test_a_batch_is_byte_for_byte_what_kafka_python_makes_of_the_same_messages(found: Any) -> None:
    (ours,) = batches_of([Message(TOPIC, *message) for message in found], most_bytes=2**20)
    time_ms = ours.records._builder._first_timestamp
    theirs = MemoryRecordsBuilder(2, 0, 2**20)
    for message in found:
        theirs.append(time_ms, *message)
    for records in (ours.records, theirs):
        records.set_producer_state(9, 1, 17, is_transactional=True)
        records.close()
    assert bytes(ours.records.buffer()) == bytes(theirs.buffer())
    assert ours.records.next_offset() == theirs.next_offset()
    assert abs(time.time() * 1_000 - time_ms) < 60_000


@given(st.lists(st.binary(max_size=20), min_size=1), st.integers(1, 7))
def test_each_key_lands_where_kafka_pythons_own_partitioner_puts_it(keys: list[bytes], partitions: int) -> None:
    producer, partition = Producer(partitions), DefaultPartitioner().partition
    for growth in (0, 3):  # a topic that grows while its keys are known
        producer._metadata.numbers = set(range(partitions + growth))
        expected = defaultdict(list)
        for key in keys:
            expected[partition(TOPIC, key, key, None, None, producer._metadata)].append(key)
        assert placed(producer, keyed(keys)) == expected


def test_messages_without_a_key_go_to_partitions_that_have_a_leader() -> None:
    producer = Producer(4)
    producer._metadata.available_partitions_for_topic = lambda _: {1, 3}
    assert placed(producer, keyed([None] * 100)).keys() == {1, 3}


def test_a_message_goes_to_the_partition_that_it_names_or_nowhere() -> None:
    named = [Message(TOPIC, b"k%d" % n, b"v", (), n % 2) for n in range(4)]
    assert placed(Producer(2), named) == {0: [b"k0", b"k2"], 1: [b"k1", b"k3"]}
    with pytest.raises(ValueError, match="forecasts has no partition 2"):
        send(Producer(2), [Message(TOPIC, b"k", b"v", (), 2)], {TOPIC: 2**20}, 10_000)


def test_batches_are_full_but_never_larger_than_they_may_be_and_keep_the_order() -> None:
    found = batches_of(keyed(map(b"%d".__mod__, range(1_000)), 50), most_bytes=1_000)
    sizes = [batch.records.size_in_bytes() for batch in found]
    assert max(sizes) <= 1_000
    assert min(sizes[:-1]) > 800
    assert [int(record.key) for batch in found for record in records_of(batch)] == list(range(1_000))


def test_the_limit_of_a_topic_bounds_its_batches_and_a_larger_message_is_alone() -> None:
    messages = keyed([b"a", b"b"], 20) + keyed([b"large"], 900) + keyed([b"c"], 20)
    found = send(Producer(1), messages, {TOPIC: 500}, 10_000)
    assert [[record.key for record in records_of(batch)] for batch in found] == [[b"a", b"b"], [b"large"], [b"c"]]


def test_a_message_larger_than_any_request_is_refused() -> None:
    with pytest.raises(MessageSizeTooLargeError):
        batches_of(keyed([b"k"], 10_000))


def test_topics_that_take_turns_keep_their_order() -> None:
    producer = Producer(1)
    messages = [Message(f"t{n % 2}", b"%d" % n, b"v") for n in range(10)]
    found = send(producer, messages, {"t0": 2**20, "t1": 2**20}, 10_000)
    assert [[record.key for record in records_of(batch)] for batch in found] == [
        [b"%d" % n for n in range(start, 10, 2)] for start in (0, 1)
    ]


def test_a_message_that_fails_is_the_failure_of_its_batch() -> None:
    _, failed = batches_of(keyed(map(b"%d".__mod__, range(20)), 50), most_bytes=1_000)
    failed.complete_exceptionally(InvalidRecordError("no"), lambda _: InvalidRecordError("no"))
    with pytest.raises(InvalidRecordError):
        failed.check(time.monotonic() + 10)


def test_an_answer_that_does_not_come_is_a_failure_at_the_deadline() -> None:
    (batch,) = batches_of(keyed([b"k"]))
    with pytest.raises(KafkaTimeoutError, match=f"1 messages to .*{TOPIC}"):
        batch.check(time.monotonic() + 0.02)


def test_an_answer_is_waited_for_until_the_deadline() -> None:
    (batch,) = batches_of(keyed([b"k"]))
    answer = threading.Timer(0.05, batch.complete, (0, -1))
    answer.start()
    batch.check(time.monotonic() + 10)
    answer.join()


def split(producer: Producer) -> list[Any]:
    """What is left of a batch that the broker finds too large, as kafka-python's sender does it."""
    part = TopicPartition(TOPIC, 0)
    whole = producer._accumulator._batches[part].popleft()
    whole.records.close()
    producer._accumulator.split_and_reenqueue(whole)
    return producer.waiting()[0]


def test_a_batch_that_is_split_is_delivered_when_both_halves_are() -> None:
    producer = Producer(1)
    (whole,) = send(producer, keyed([b"a", b"b", b"c"]), {TOPIC: 2**20}, 10_000)
    for half in split(producer):
        with pytest.raises(KafkaTimeoutError):
            whole.check(time.monotonic() + 0.02)
        half.complete(0, -1)
    whole.check(time.monotonic() + 10)


@pytest.mark.parametrize("bad", [0, 1])
def test_a_half_that_fails_is_the_failure_of_the_whole(bad: int) -> None:
    producer = Producer(1)
    (whole,) = send(producer, keyed([b"a", b"b", b"c"]), {TOPIC: 2**20}, 10_000)
    halves = split(producer)
    halves[1 - bad].complete(0, -1)
    halves[bad].complete_exceptionally(MessageSizeTooLargeError(), lambda _: MessageSizeTooLargeError())
    with pytest.raises(MessageSizeTooLargeError):
        whole.check(time.monotonic() + 10)
