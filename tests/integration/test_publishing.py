"""Thousands of messages at once on a real Apache Kafka: none may be lost, misplaced or fail unnoticed."""

from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing

import pytest
from integration.helpers import configure_topic, create_topics, produce, read_topic, wait_until
from integration.rigs import Delivery, KafkaRig, Reader
from kafka import KafkaAdminClient

from forecaster.errors import ForecasterError, RetryableError
from forecaster.kafka.sizes import DEFAULT_LIMIT
from forecaster.records import Message

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]
MANY = 5_000


@pytest.fixture(params=["at_least_once", "exactly_once"])
def rig(request: pytest.FixtureRequest, kafka: str) -> Iterator[KafkaRig]:
    delivery: Delivery = request.param
    made = KafkaRig(kafka, delivery)
    yield made
    made.close()


def member(rig: KafkaRig, **configs: str) -> Reader:
    """A member of the group, with an output topic of one partition."""
    create_topics(rig.bootstrap, {rig.settings.topics.output: 1}, **configs)
    reader = Reader(rig.client())
    reader.client.start()
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    return reader


def forecasts(rig: KafkaRig, size: int = 60) -> list[Message]:
    topic = rig.settings.topics.output
    return [Message(topic, b"sensor-%d" % (n % 700), b"%d" % n + b" " * size) for n in range(MANY)]


def numbers(rig: KafkaRig) -> list[int]:
    return [int(value) for _, value, _ in rig.output()]


def test_one_message_that_the_broker_refuses_among_thousands_fails_the_publish(rig: KafkaRig) -> None:
    reader = member(rig, **{"cleanup.policy": "compact"})
    messages = forecasts(rig)
    messages[MANY // 2] = messages[MANY // 2]._replace(key=None)  # which a compacted topic does not take
    with pytest.raises(RetryableError, match=r"could not publish: .*InvalidRecordError.*"):
        reader.client.publish(messages)
    reader.client.reset()
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    reader.client.publish(forecasts(rig))
    reader.client.commit()
    assert numbers(rig)[-MANY:] == list(range(MANY))


def test_batches_that_a_lower_limit_refuses_are_split_and_arrive_once_and_in_order(rig: KafkaRig) -> None:
    reader = member(rig)
    reader.client.publish(forecasts(rig)[:1])  # its limit is known from here on
    reader.client.commit()
    assert reader.client._publisher._limits[rig.settings.topics.output] == DEFAULT_LIMIT
    configure_topic(rig.bootstrap, rig.settings.topics.output, **{"max.message.bytes": "20000"})
    reader.client.publish(forecasts(rig))
    reader.client.commit()
    assert numbers(rig) == [0, *range(MANY)]


def test_one_message_that_is_too_large_among_thousands_stops_the_daemon(rig: KafkaRig) -> None:
    reader = member(rig, **{"max.message.bytes": "20000"})
    messages = forecasts(rig)
    messages[MANY // 2] = messages[MANY // 2]._replace(value=b"x" * 20_001)
    with pytest.raises(ForecasterError, match=r"max\.message\.bytes refuses a message of 20\d\d\d bytes"):
        reader.client.publish(messages)


def test_keys_of_a_topic_that_grows_go_where_kafka_python_puts_them(rig: KafkaRig) -> None:
    reader, topic = member(rig), rig.settings.topics.output
    reader.client.publish(forecasts(rig))
    reader.client.commit()
    with closing(KafkaAdminClient(bootstrap_servers=rig.bootstrap)) as admin:
        admin.create_partitions({topic: 5})
    ours = reader.client._publisher._producer
    ours._metadata.request_update()  # which a producer does by itself every five minutes
    wait_until(lambda: len(ours.partitions_for(topic)) == 5, what="the new partitions")
    reader.client.publish(forecasts(rig))
    reader.client.commit()
    produce(rig.bootstrap, topic, [{"key": message.key, "value": message.value} for message in forecasts(rig)])
    places = defaultdict(list)
    for record in read_topic(rig.bootstrap, topic):
        places[record.value].append(record.partition)
    assert len(places) == MANY
    assert {(first, second == third) for first, second, third in places.values()} == {(0, True)}
    assert {place for _, place, _ in places.values()} == set(range(5))
