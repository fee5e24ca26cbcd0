"""What exactly-once stands on: the libraries' transactions on a real Apache Kafka, with their defects shut out."""

import signal
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from builders import pipeline
from integration.helpers import create_topics, produce, read_topic, unique, wait_until
from integration.kafka_broker import KafkaBroker
from integration.rigs import LIBRARIES, KafkaRig, Reader, group_of
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Reader as CheckpointReader
from forecaster.errors import ConfigError, FencedError, RetryableError
from forecaster.kafka import state_topic
from forecaster.kafka.clients import make_client
from forecaster.kafka.state_topic import StateTopic
from forecaster.records import Message

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@pytest.fixture(params=LIBRARIES)
def rig(kafka: str, request: pytest.FixtureRequest) -> Iterator[KafkaRig]:
    made = KafkaRig(kafka, "exactly_once", request.param)
    create_topics(kafka, {made.settings.topics.output: 2})
    yield made
    made.close()


of_kafka_python = pytest.mark.parametrize("rig", ["kafka-python"], indirect=True)


def joined(rig: KafkaRig, **kafka: object) -> Reader:
    """A member of the group that holds its partitions."""
    reader = Reader(rig.client(settings=group_of(rig.settings, **kafka)))
    reader.client.start()
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    return reader


def forecast(rig: KafkaRig, text: bytes = b"forecast") -> Message:
    return Message(rig.settings.topics.output, b"k", text)


def values(rig: KafkaRig) -> list[bytes | None]:
    return [value for _, value, _ in rig.output()]


def committed(rig: KafkaRig, partition: int = 0) -> int:
    """The group's committed offset, 0 where there is none; what an open transaction holds is not in it."""
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        offsets = admin.list_group_offsets({rig.settings.kafka.group_id: None})
    found = offsets[rig.settings.kafka.group_id].get(TopicPartition(rig.settings.topics.input, partition))
    return 0 if found is None else found.offset


def delete_output(rig: KafkaRig) -> None:
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.delete_topics([rig.settings.topics.output])


def test_nothing_is_visible_before_the_commit_and_all_of_it_is_after(rig: KafkaRig) -> None:
    rig.send([b"tick"])
    reader = joined(rig).until(1)
    reader.client.publish([forecast(rig)])
    assert values(rig) == []
    assert committed(rig) == 0
    reader.client.commit()
    assert values(rig) == [b"forecast"]
    assert committed(rig) == 1


def test_what_a_killed_worker_left_open_is_aborted_and_its_records_come_again(rig: KafkaRig) -> None:
    rig.send([b"tick"])
    killed = joined(rig, worker_index=1).until(1)
    killed.client.publish([forecast(rig, b"never seen")])
    killed.client._publisher.discard()  # as a kill does: no abort is sent
    killed.client._group.leave(1_000)
    again = joined(rig, worker_index=1).until(1)
    assert again.values(silent=False) == [b"tick"]
    again.client.publish([forecast(rig)])
    again.client.commit()
    assert values(rig) == [b"forecast"]


def test_a_record_that_is_not_acknowledged_in_time_keeps_the_offsets_from_being_committed(rig: KafkaRig) -> None:
    rig.send([b"tick"])
    reader = joined(rig, transaction_timeout=2_000).until(1)
    reader.client.publish([])  # so that the producer is there and knows the topic
    delete_output(rig)
    begun = time.monotonic()
    with pytest.raises(RetryableError, match="could not publish"):
        reader.client.publish([forecast(rig, b"lost")])
    assert time.monotonic() - begun < 4
    create_topics(rig.bootstrap, {rig.settings.topics.output: 2})
    reader.client.reset()
    assert committed(rig) == 0
    again = Reader(reader.client).until(1)
    assert again.values(silent=False) == [b"tick"]
    again.client.publish([forecast(rig)])
    again.client.commit()
    assert values(rig) == [b"forecast"]


@of_kafka_python
def test_a_refused_sequence_number_is_a_failure_and_commits_nothing(rig: KafkaRig) -> None:
    rig.send([b"tick"])
    reader = joined(rig).until(1)
    reader.client.publish([forecast(rig, b"lost")])
    manager = reader.client._publisher._producer._transaction_manager
    for part in list(manager._sequence_numbers):
        manager._sequence_numbers[part] += 7
    with pytest.raises(RetryableError):
        reader.client.publish([forecast(rig, b"lost too")])
    with pytest.raises(RetryableError):
        reader.client.commit()
    assert committed(rig) == 0
    reader.client.reset()
    again = Reader(reader.client).until(1)
    again.client.publish([forecast(rig)])
    again.client.commit()
    assert values(rig) == [b"forecast"]


@pytest.mark.parametrize("step", ["publish", "commit"])
def test_a_broker_that_hangs_holds_no_step_up_beyond_the_transaction_timeout(
    kafka_broker: KafkaBroker | None, rig: KafkaRig, step: str
) -> None:
    if kafka_broker is None:
        pytest.skip("the broker of FORECASTER_TEST_BOOTSTRAP is not ours to stop")
    rig.send([b"tick"])
    reader = joined(rig, transaction_timeout=2_000).until(1)
    if step == "commit":
        reader.client.publish([forecast(rig, b"lost")])
    kafka_broker.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        with pytest.raises(RetryableError, match=f"could not {step}"):
            reader.client.publish([forecast(rig, b"lost")]) if step == "publish" else reader.client.commit()
        assert time.monotonic() - begun < 5
        reader.client.reset()
    finally:
        kafka_broker.signal(signal.SIGCONT)
    again = Reader(reader.client).until(1)
    again.client.publish([forecast(rig)])
    again.client.commit()
    assert values(rig) == [b"forecast"]


@of_kafka_python
def test_a_member_without_its_place_in_the_group_publishes_nothing(rig: KafkaRig) -> None:
    rig.send([b"tick"])
    reader = joined(rig).until(1)
    reader.client._group.consumer._coordinator.reset_generation()  # as a missed session does
    reader.client._member = reader.client._group.member()
    with pytest.raises(RetryableError, match="lost its place in the group"):
        reader.client.publish([forecast(rig)])
    assert values(rig) == []


def test_the_broker_refuses_offsets_of_an_older_generation(rig: KafkaRig) -> None:
    for partition in (0, 1):  # it keeps one of them
        rig.send([b"tick"], partition)
    zombie = joined(rig).until(2)
    before = zombie.client._member
    other = Reader(rig.client())
    other.client.start()
    rig.poll_until([zombie, other], lambda: other.client.joined() and len(other.drops) == 1)
    zombie.client._member = before  # a worker that slept through the rebalance
    zombie.client.publish([forecast(rig, b"a zombie's")])
    with pytest.raises(RetryableError, match="could not commit"):
        zombie.client.commit()
    assert values(rig) == []


def test_of_two_workers_with_one_identity_the_older_ends_and_the_newer_works_on(rig: KafkaRig) -> None:
    older = joined(rig, worker_index=1)
    newer = Reader(rig.client(settings=group_of(rig.settings, worker_index=1)))
    newer.client.start()
    with pytest.raises(FencedError, match=r"^kafka\.transactional_id: .*/1.*kafka\.worker_index") as caught:
        older.client.publish([forecast(rig, b"the older's")])
    assert caught.value.exit_code == 1
    older.client.close()
    wait_until(lambda: newer.poll() is not None and newer.client.joined(), what="membership")
    newer.client.publish([forecast(rig, b"the newer's")])
    newer.client.commit()
    assert values(rig) == [b"the newer's"]


def test_a_transaction_that_the_broker_ended_for_its_age_is_begun_again(rig: KafkaRig) -> None:
    rig.send([b"tick"])
    reader = joined(rig, transaction_timeout=1_000).until(1)
    reader.client.publish([forecast(rig, b"too late")])
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 3, what="the broker's patience to end")
    with pytest.raises(RetryableError):
        reader.client.commit()
    reader.client.reset()
    again = Reader(reader.client).until(1)
    again.client.publish([forecast(rig)])
    again.client.commit()
    assert values(rig) == [b"forecast"]


def test_a_transaction_timeout_that_the_broker_does_not_allow_is_refused_at_once(rig: KafkaRig) -> None:
    long = {"session_timeout": 1_200_000, "transaction_timeout": 960_000}  # Kafka's own limit is 15 min
    client = rig.client(settings=group_of(rig.settings, **long))
    begun = time.monotonic()
    with pytest.raises(ConfigError, match=r"^delivery: .*InvalidTransactionTimeout"):
        client.start()
    assert time.monotonic() - begun < 10


def test_of_two_static_members_with_one_name_the_older_ends(rig: KafkaRig) -> None:
    options = {"group_instance_id": "pod-0", "worker_index": 1}
    older = joined(rig, **options)
    newer = Reader(rig.client(settings=group_of(rig.settings, **options, transactional_id="other")))
    newer.client.start()

    def fenced() -> bool:
        newer.poll()
        try:
            older.poll()
        except FencedError as error:
            return str(error).startswith("kafka.group_instance_id")
        return False

    wait_until(fenced, what="the end of the older member")


def test_a_state_topic_that_is_deleted_is_waited_for_and_no_record_is_lost(rig: KafkaRig) -> None:
    state, identity = rig.settings.topics.state, pipeline().identity
    client = make_client(rig.settings, None, "test", lambda number: CheckpointReader("group", number, identity))
    piece = StateRecord(0, b"key", b"value")
    client.start()
    reader = Reader(client)
    rig.send([b"tick"])
    reader.until(1)
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.delete_topics([state])
    cluster = client._placement._state._consumer._cluster
    wait_until(lambda: (cluster.request_update(), cluster.partitions_for_topic(state) is None)[1], what="the deletion")
    with pytest.raises(RetryableError, match="no topic"):
        client.publish([forecast(rig)], [piece])
    client.reset()
    assert len(reader.poll()) == 0
    create_topics(rig.bootstrap, {state: 1})
    reader.rows.clear()
    reader.until(1)
    client.publish([forecast(rig)], [piece])
    client.commit()
    client.close()
    assert [record.value for record in read_topic(rig.bootstrap, state)] == [b"value"]
    assert values(rig) == [b"forecast"]


@of_kafka_python
def test_a_state_topic_whose_end_is_lost_while_it_is_read_is_read_anew(
    rig: KafkaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = []

    class Cut(KafkaConsumer):
        def end_offsets(self, parts, timeout_ms):
            ends.append(super().end_offsets(parts, timeout_ms))
            return {part: end + 5 for part, end in ends[-1].items()} if len(ends) == 1 else ends[-1]

    monkeypatch.setattr(state_topic, "KafkaConsumer", Cut)
    monkeypatch.setattr(state_topic, "STALL_SECONDS", 0.5)
    topic, identity = unique("state"), pipeline().identity
    create_topics(rig.bootstrap, {topic: 1})
    state = StateTopic(
        topic, {"bootstrap_servers": rig.bootstrap}, lambda number: CheckpointReader("group", number, identity)
    )

    def whole() -> bool:
        try:
            return 0 in state.read([0], 100)
        except KafkaTimeoutError:
            return False

    wait_until(whole, what="the end of the state topic")
    state.close()
    assert len(ends) == 2


@of_kafka_python
def test_state_is_found_where_it_was_written_before_the_state_topic_grew(rig: KafkaRig) -> None:
    topic, identity = unique("state"), pipeline().identity
    create_topics(rig.bootstrap, {topic: 1})
    options = {"bootstrap_servers": rig.bootstrap, "auto_offset_reset": "earliest"}

    def reading() -> StateTopic:
        return StateTopic(topic, options, lambda number: CheckpointReader("group", number, identity))

    with closing(reading()) as before, closing(reading()) as after:
        assert before.partition_for(1) == 0
        produce(rig.bootstrap, topic, [{"key": b"group/1/m0", "value": b"state"}])
        with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
            admin.create_partitions({topic: 2})
            wait_until(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 2, what="the new partition")
        assert after.partition_for(1) == 1
        found = wait_until(lambda: (read := after.read([0, 1], 100)).keys() == {0, 1} and read, what="all state")
        assert (found[0].empty, found[1].empty) == (True, False)
        before.close()  # so that it asks anew
        assert before.partition_for(1) == 0, "what a delta lies over is there"
