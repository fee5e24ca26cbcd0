"""What only librdkafka does, on a real Apache Kafka, and what happens without it."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import closing

import confluent_kafka
import pytest
from integration.helpers import configure_topic, create_topics, read_topic, wait_until
from integration.kafka_broker import free_port
from integration.rigs import KafkaRig, Reader, group_of, make_settings

import forecaster.kafka
from forecaster.errors import ConfigError, RetryableError
from forecaster.kafka.clients import make_client
from forecaster.kafka.python_connect import connection_options
from forecaster.kafka.python_group import group_options
from forecaster.kafka.python_publisher import Publisher
from forecaster.kafka.rdkafka_connect import NAMES, by, library_log, library_options, made
from forecaster.records import Message


@pytest.fixture
def rig(kafka: str) -> Iterator[KafkaRig]:
    made = KafkaRig(kafka, "at_least_once", "librdkafka")
    yield made
    made.close()


def joined(rig: KafkaRig, **kafka: object) -> Reader:
    reader = Reader(rig.client(settings=group_of(rig.settings, **kafka)))
    reader.client.start()
    wait_until(lambda: reader.poll() is not None and reader.client.joined(), what="membership")
    return reader


def messages(topic: str, count: int, size: int = 10) -> list[Message]:
    return [Message(topic, b"%d" % number, b"x" * size) for number in range(count)]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("confluent_kafka", "forecaster.kafka.rdkafka"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "confluent_kafka", None)
    for name in ("rdkafka_group", "rdkafka_publisher"):
        monkeypatch.delattr(forecaster.kafka, name, raising=False)
    with pytest.raises(ConfigError, match=r'^kafka\.client: .*"forecaster\[librdkafka\]"') as caught:
        make_client(make_settings(client="librdkafka"), None, "test")
    assert caught.value.exit_code == 2


def test_every_option_is_translated_or_has_no_counterpart() -> None:
    settings = make_settings(security_protocol="SASL_SSL", sasl_mechanism="PLAIN", sasl_username="u", sasl_password="p")
    options = connection_options(settings.kafka, "test")
    reading, writing = group_options(settings.kafka), Publisher(settings, options, "name").options
    without = {"bootstrap_servers", "bootstrap_timeout_ms", "max_block_ms", "metrics_enabled", "value_serializer"}
    without |= {"ssl_context"}  # which stands for files that librdkafka reads itself
    without |= {"auto_offset_reset", "max_poll_records", "partition_assignment_strategy"}
    assert (options | reading | writing).keys() - NAMES.keys() <= without


def test_a_value_that_only_librdkafka_does_not_take_is_named_in_one_line() -> None:
    with pytest.raises(ConfigError, match=r"^kafka\.client: .*transaction\.timeout\.ms.* 500 is outside"):
        made(confluent_kafka.Producer, {"transaction.timeout.ms": 500})


def test_a_wait_of_the_library_that_does_not_end_is_given_up() -> None:
    begun = time.monotonic()
    with pytest.raises(Exception, match="no answer to a step in time"):
        by(begun + 0.05, "a step", lambda: time.sleep(1))
    assert time.monotonic() - begun < 0.9


@pytest.mark.kafka
def test_a_message_among_thousands_that_fails_is_noticed(rig: KafkaRig) -> None:
    """The broker takes 4,999 of them and refuses one: a compacted topic takes none without a key."""
    output, dead = rig.settings.topics.output, rig.settings.topics.dead_letter
    create_topics(rig.bootstrap, {dead: 1}, **{"cleanup.policy": "compact"})
    reader = joined(rig)
    batch = messages(output, 4_999)
    batch.insert(2_500, Message(dead, None, b"refused"))
    with pytest.raises(RetryableError, match=r"could not publish: .*InvalidRecordError"):
        reader.client.publish(batch)
    configure_topic(rig.bootstrap, dead, **{"cleanup.policy": "delete"})
    reader.client.reset()
    reader.client.publish(batch)
    assert len(read_topic(rig.bootstrap, dead)) >= 1


@pytest.mark.kafka
def test_batches_fit_a_topic_that_takes_small_ones_only(rig: KafkaRig) -> None:
    output = rig.settings.topics.output
    create_topics(rig.bootstrap, {output: 1}, **{"max.message.bytes": "20000"})
    reader = joined(rig)
    reader.client.publish(messages(output, 3_000, 100))
    configure_topic(rig.bootstrap, output, **{"max.message.bytes": "5000"})
    with pytest.raises(RetryableError):
        reader.client.publish(messages(output, 3_000, 100))
    reader.client.reset()
    reader.client.publish(messages(output, 3_000, 100))
    assert len(read_topic(rig.bootstrap, output)) >= 6_000


@pytest.mark.kafka
def test_a_key_lands_where_kafka_python_puts_it(rig: KafkaRig) -> None:
    output, dead = rig.settings.topics.output, rig.settings.topics.dead_letter
    create_topics(rig.bootstrap, {output: 7, dead: 7})
    keys = [b"", b"a", *(b"pump-%d" % number for number in range(300))]
    joined(rig).client.publish([Message(output, key, b"1") for key in keys])
    other = make_client(group_of(rig.settings, client="kafka-python"), None, "other")
    with closing(other):
        other.start()
        other.publish([Message(dead, key, b"1") for key in keys])
    ours, theirs = ({row.key: row.partition for row in read_topic(rig.bootstrap, name)} for name in (output, dead))
    assert ours == theirs


@pytest.mark.kafka
def test_members_of_both_libraries_share_one_group(rig: KafkaRig) -> None:
    first = joined(rig)
    second = Reader(rig.client(settings=group_of(rig.settings, client="kafka-python")))
    second.client.start()
    rig.poll_until([first, second], lambda: second.client.joined() and len(second.drops) == 1)
    for partition in (0, 1):
        rig.send([b"tick"], partition)
    rig.poll_until([first, second], lambda: len(first.rows) == len(second.rows) == 1)
    assert {first.rows[0][0], second.rows[0][0]} == {0, 1}
    first.client.commit()
    second.client.commit()


def test_the_librarys_own_words_go_to_the_log(caplog: pytest.LogCaptureFixture) -> None:
    options = library_options({"bootstrap_servers": [f"127.0.0.1:{free_port()}"]})
    producer = confluent_kafka.Producer(options, logger=library_log)
    with caplog.at_level(logging.WARNING):
        wait_until(lambda: (producer.poll(0.1), caplog.records)[1], what="a line")
    assert all(record.name == "forecaster.kafka.librdkafka" for record in caplog.records)
