"""Where reading goes on when the log, the topic or the group's offsets are no longer what they were."""

from collections.abc import Iterator
from contextlib import closing
from types import ModuleType

import confluent_kafka
import pytest
from integration.helpers import create_topics, produce, wait_until
from integration.kafka_broker import KafkaBroker
from integration.rigs import LIBRARIES, KafkaRig, Reader, group_of
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition
from kafka.errors import NodeNotReadyError

from forecaster.errors import ForecasterError, RetryableError
from forecaster.kafka import python_group, rdkafka_group, watch
from forecaster.kafka.python_connect import READING

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(180)]


@pytest.fixture(params=LIBRARIES)
def rig(kafka: str, request: pytest.FixtureRequest) -> Iterator[KafkaRig]:
    made = KafkaRig(kafka, "exactly_once", request.param)
    yield made
    made.close()


of_kafka_python = pytest.mark.parametrize("rig", ["kafka-python"], indirect=True)


def halves_of(rig: KafkaRig) -> ModuleType:
    return {"kafka-python": python_group, "librdkafka": rdkafka_group}[rig.settings.kafka.client]


def numbered(first: int, last: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, last)]


def started(rig: KafkaRig, **kafka: object) -> Reader:
    reader = Reader(rig.client(settings=group_of(rig.settings, **kafka)))
    reader.client.start()
    return reader


def read_and_commit(rig: KafkaRig, count: int) -> None:
    reader = started(rig).until(count)
    reader.client.publish([])
    reader.client.commit()
    reader.client.close()


def recreate_input(rig: KafkaRig) -> None:
    topic = rig.settings.topics.input
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.delete_topics([topic])
        wait_until(lambda: admin.describe_topics([topic])[0]["error_code"] != 0, what="the deletion")
    create_topics(rig.bootstrap, {topic: 2})


def set_offset(rig: KafkaRig, offset: int) -> None:
    """What an operator does with the group's offsets while no member is there."""
    part = TopicPartition(rig.settings.topics.input, 0)
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.alter_group_offsets(rig.settings.kafka.group_id, {part: OffsetAndMetadata(offset, "", -1)})


def incidents(reader: Reader) -> list[tuple[str, int]]:
    return [(incident.kind, incident.number) for incident in reader.client.incidents()]


def test_records_that_were_deleted_unread_are_counted(rig: KafkaRig) -> None:
    rig.send(numbered(0, 10))
    read_and_commit(rig, 10)
    rig.send(numbered(10, 20))
    rig.delete_before(0, 14)
    reader = started(rig).until(6)
    assert reader.values(silent=False) == numbered(14, 20)
    assert incidents(reader) == [("lost_records", 4)]


def test_records_that_were_deleted_unread_stop_the_daemon_where_it_is_told_to(rig: KafkaRig) -> None:
    rig.send(numbered(0, 10))
    read_and_commit(rig, 10)
    rig.send(numbered(10, 20))
    rig.delete_before(0, 14)
    reader = started(rig, lost_offsets="stop")
    with pytest.raises(ForecasterError, match=r"offsets 10 to 13 were deleted before they were read: 4 lost"):
        reader.until(1)


def test_an_offset_beyond_the_end_of_the_log_goes_on_from_the_end_and_is_counted(rig: KafkaRig) -> None:
    rig.send(numbered(0, 10))
    read_and_commit(rig, 10)
    set_offset(rig, 15)
    reader = started(rig).until(10)
    assert reader.values(silent=True) == numbered(0, 10)
    assert incidents(reader) == [("lost_records", 5)]
    rig.send(numbered(10, 12))
    assert reader.until(12).values(silent=False) == numbered(10, 12)


def test_a_topic_made_anew_between_two_runs_is_read_from_its_beginning(rig: KafkaRig) -> None:
    rig.send(numbered(0, 10))
    read_and_commit(rig, 10)
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        part = TopicPartition(rig.settings.topics.input, 0)
        before = admin.list_group_offsets({rig.settings.kafka.group_id: None})[rig.settings.kafka.group_id][part]
        recreate_input(rig)
        admin.alter_group_offsets(rig.settings.kafka.group_id, {part: before})  # as a broker that keeps them would
    rig.send(numbered(100, 120))
    reader = started(rig).until(20)
    assert reader.values(silent=False) == numbered(100, 120)
    assert incidents(reader) == [("topic_recreated", 1)]


def test_a_topic_made_anew_under_a_running_worker_is_read_from_its_beginning(rig: KafkaRig) -> None:
    rig.send(numbered(0, 10))
    reader = started(rig).until(10)
    reader.client.publish([])
    reader.client.commit()
    recreate_input(rig)
    rig.send(numbered(100, 103))
    reader.rows.clear()
    reader.drops.clear()
    wait_until(lambda: reader.poll() is not None and len(reader.rows) >= 3, 90, what="the new topic's records")
    assert reader.values(silent=False) == numbered(100, 103)
    assert set(reader.drops) == {0, 1}


def pause(rig: KafkaRig, reader: Reader) -> None:
    topic, group = rig.settings.topics.input, reader.client._group
    if rig.settings.kafka.client == "librdkafka":
        group._joined.consumer.pause([confluent_kafka.TopicPartition(topic, 0)])
    else:
        group.consumer.pause(TopicPartition(topic, 0))


def behind(rig: KafkaRig, reader: Reader) -> None:
    """Let `reader`, which has committed 10 records, see nothing of the next ten while they come."""
    reader.client._group.hold([0])
    for _ in range(5):  # the fetch that is under way
        reader.poll()
    rig.send(numbered(10, 20))


@pytest.mark.parametrize("lost_offsets", ["continue", "stop"])
def test_records_that_are_deleted_under_a_running_worker_are_counted_too(rig: KafkaRig, lost_offsets: str) -> None:
    rig.send(numbered(0, 10))
    reader = started(rig, lost_offsets=lost_offsets).until(10)
    reader.client.publish([])
    reader.client.commit()
    behind(rig, reader)
    rig.delete_before(0, 14)
    reader.rows.clear()
    reader.drops.clear()
    reader.client._group.read_from(0, 10)
    if lost_offsets == "stop":
        with pytest.raises(ForecasterError, match="4 lost"):
            reader.until(1)
        return
    reader.until(6)
    assert reader.values(silent=False) == numbered(14, 20)
    assert incidents(reader) == [("lost_records", 4)]
    assert reader.drops == [0]


def test_a_partition_whose_reader_is_set_back_is_restored_and_gives_nothing_twice(rig: KafkaRig) -> None:
    rig.send(numbered(0, 10))
    reader = started(rig).until(10)
    reader.client.publish([])
    reader.client.commit()
    behind(rig, reader)
    reader.client._group.read_from(0, 3)  # as kafka-python does where an unclean election lost the end
    reader.drops.clear()
    reader.rows.clear()
    reader.until(20)
    assert reader.values(silent=True) == numbered(0, 10)
    assert reader.values(silent=False) == numbered(10, 20)
    assert reader.drops == [0]


def test_a_worker_that_cannot_connect_anew_tries_again(rig: KafkaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.send(numbered(0, 5))
    reader = started(rig).until(5)
    with monkeypatch.context() as away:
        away.setattr(halves_of(rig), "KafkaConsumer", lambda **_: (_ for _ in ()).throw(NodeNotReadyError()))
        with pytest.raises(RetryableError, match="connect anew"):
            reader.client._connect_anew()
        reader.client.reset()
        with pytest.raises(RetryableError, match="connect anew"):
            reader.poll()
    reader.rows.clear()
    assert reader.until(5).values(silent=False) == numbered(0, 5)


@of_kafka_python
def test_a_member_that_is_thrown_out_while_it_joins_drops_its_partitions(rig: KafkaRig) -> None:
    rig.send(numbered(0, 5))
    reader = started(rig).until(5)
    reader.drops.clear()
    coordinator = reader.client._group.consumer._coordinator
    coordinator.rejoining = coordinator.rejoin_needed = True  # it has sent its JoinGroup when the session runs out
    coordinator._generation.member_id = "nobody"
    reader.rows.clear()
    assert reader.until(5).values(silent=False) == numbered(0, 5)
    assert reader.drops == [0, 1]


def test_partitions_that_are_added_are_read_too(rig: KafkaRig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(READING, "metadata_max_age_ms", 1_000)
    reader = started(rig)
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    topic = rig.settings.topics.input
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.create_partitions({topic: 3})
    produce(rig.bootstrap, topic, [{"value": b"new", "partition": 2}])
    wait_until(lambda: reader.poll() is not None and reader.rows, 90, what="a record of the new partition")
    assert reader.values(2, silent=False) == [b"new"]
    assert 2 in reader.drops


def test_a_partition_that_is_silently_read_no_more_is_noticed_and_read_again(rig: KafkaRig) -> None:
    reader = started(rig, stuck_timeout=1_000)
    rig.send(numbered(0, 5))
    reader.until(5)
    reader.client.publish([])
    reader.client.commit()
    pause(rig, reader)  # as nobody knows why it stops
    rig.send(numbered(5, 8))
    reader.rows.clear()
    wait_until(lambda: reader.poll() is not None and len(reader.values(silent=False)) >= 3, what="the records behind")
    assert reader.values(silent=False) == numbered(5, 8)
    assert ("stuck_partition", 1) in incidents(reader)


def test_the_lag_counts_what_came_while_what_was_fetched_is_handed_out(
    rig: KafkaRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "ENDS_EVERY_S", 0.0)
    rig.send(numbered(0, 100))
    reader = started(rig, max_poll_records=10).until(10)
    rig.send(numbered(100, 300))
    rig.send(numbered(0, 7), partition=1)
    reader.poll()
    behind = [300 - len(reader.values(0)), 7 - len(reader.values(1))]
    assert [reader.client.lag()[number].records for number in (0, 1)] == behind


def move_to_second(rig: KafkaRig, partition: int) -> None:
    """Have the second broker alone keep a partition of the input topic."""
    part = TopicPartition(rig.settings.topics.input, partition)
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.alter_partition_reassignments({part: [2]})
        wait_until(lambda: not admin.list_partition_reassignments([part]), what="the move")


def leaders(rig: KafkaRig) -> list[int]:
    """The broker that leads each partition of the input topic, -1 for none."""
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        (found,) = admin.describe_topics([rig.settings.topics.input])
    return [part["leader_id"] for part in sorted(found["partitions"], key=lambda part: part["partition_index"])]


def test_a_partition_without_a_leader_keeps_no_other_from_being_read(
    rig: KafkaRig, kafka_broker: KafkaBroker | None
) -> None:
    if kafka_broker is None:
        pytest.skip("the broker is not ours to give a second one")
    rig.send(numbered(0, 5))
    rig.send(numbered(5, 8), partition=1)
    with kafka_broker.second():
        move_to_second(rig, 1)
    wait_until(lambda: leaders(rig) == [1, -1], what="the loss of the second partition's leader")
    reader = started(rig).until(5)
    assert reader.values(silent=False) == numbered(0, 5)
    assert not reader.client.joined()
    with kafka_broker.second():
        reader.until(8)
    assert reader.values(1, silent=False) == numbered(5, 8)
    assert reader.client.joined()
