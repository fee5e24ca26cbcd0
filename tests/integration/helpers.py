"""What tests do to a broker from outside: names, topics, raw records in, whole topics out."""

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, TypeVar

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import InvalidReplicationFactorError

T = TypeVar("T")
Raw = Mapping[str, Any]  # arguments of KafkaProducer.send: partition, key, value, headers, timestamp_ms


def unique(name: str) -> str:
    """A topic or group name that no other test uses."""
    return f"{name}-{uuid.uuid4().hex[:10]}"


def wait_until(condition: Callable[[], T], timeout: float = 30.0, *, what: str = "the condition") -> T:
    """What `condition` returns once it is true. Calls it in a loop: it should itself take a moment."""
    deadline = time.monotonic() + timeout
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true within {timeout:g} s")
        time.sleep(0.005)  # the step of the loop, not a wait for anything
    return result


def create_topics(
    bootstrap: str, partitions: Mapping[str, int], *, replicas: Sequence[int] | None = None, **configs: str
) -> None:
    """Create each topic with its number of partitions and wait until every partition has a leader.

    `replicas` are the brokers that keep copies of each partition; without them the broker's default decides.
    """
    wanted: dict[str, Any] = {name: {"num_partitions": n, "configs": configs} for name, n in partitions.items()}
    for name, count in partitions.items() if replicas else ():
        placed = {number: list(replicas) for number in range(count)}
        wanted[name] = {"num_partitions": -1, "assignments": placed, "configs": configs}
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        wait_until(lambda: _accepted(admin, wanted), what="a registered broker")
        admin.wait_for_topics(list(wanted), timeout_ms=60_000)


def _accepted(admin: KafkaAdminClient, wanted: Mapping[str, Any]) -> bool:
    try:
        admin.create_topics(wanted)
    except InvalidReplicationFactorError:  # a broker that was held up is registered anew a moment later
        return False
    return True


def produce(bootstrap: str, topic: str, records: Iterable[Raw]) -> None:
    """Produce `records` in order and look at every acknowledgement."""
    with closing(KafkaProducer(bootstrap_servers=bootstrap, linger_ms=5, max_request_size=2**26)) as producer:
        futures = [producer.send(topic, **record) for record in records]
        for future in futures:
            future.get(timeout=30)


def read_topic(bootstrap: str, topic: str, *, timeout: float = 30.0) -> list[Any]:
    """All committed records of `topic`, by partition: read up to the end offsets by position."""
    options = {"isolation_level": "read_committed", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, **options)) as consumer:
        parts = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic))]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        records: dict[TopicPartition, list[Any]] = {part: [] for part in parts}
        deadline = time.monotonic() + timeout
        while any(consumer.position(part) < end for part, end in ends.items()):
            if time.monotonic() > deadline:
                raise AssertionError(f"{topic} could not be read to its end within {timeout:g} s")
            for part, found in consumer.poll(timeout_ms=100).items():
                records[part].extend(found)
    return [record for part in parts for record in records[part]]


def delete_records(bootstrap: str, topic: str, before: Mapping[int, int]) -> None:
    """Move the log start of each partition up, as retention does."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.delete_records({TopicPartition(topic, number): offset for number, offset in before.items()})


def configure_topic(bootstrap: str, topic: str, **configs: str) -> None:
    """Set `configs` of a topic, as an operator does while it is in use."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        admin.alter_configs([ConfigResource("topic", topic, configs)], incremental=True)


def tool(name: str) -> str:
    """The program `name`; without it the test is skipped, under `CI=true` it fails."""
    if shutil.which(name) is None:
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse(f"NO {name.upper()}: install it to have this checked by a program that is not ours")
    return name


def kcat(bootstrap: str, *arguments: str, data: bytes = b"") -> bytes:
    """The output of kcat, an independent client."""
    command = [tool("kcat"), "-b", bootstrap, *arguments]
    return subprocess.run(command, input=data, capture_output=True, check=True, timeout=60).stdout
