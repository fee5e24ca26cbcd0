"""The same few actions on a broker in memory and on a real one, for the contract suite."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, Protocol

from integration import helpers

from forecaster.config import KafkaSettings, Settings, TopicSettings
from forecaster.kafka.client import Client
from forecaster.kafka.clients import make_client
from forecaster.records import Headers, Message, RecordBatch
from forecaster.testing import MemoryBroker, MemoryClient

Delivery = Literal["exactly_once", "at_least_once"]
Library = Literal["kafka-python", "librdkafka"]
LIBRARIES: tuple[Library, ...] = ("kafka-python", "librdkafka")
Produced = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


class Rig(Protocol):
    settings: Settings

    def client(self, span_ms: int | None = None, settings: Settings | None = None) -> Client: ...

    def send(self, values: list[bytes], partition: int = 0, timestamp_ms: int | None = None, **record: Any) -> None: ...

    def output(self, topic: str | None = None) -> list[Produced]: ...

    def delete_before(self, partition: int, offset: int) -> None: ...

    def poll_until(self, readers: "list[Reader]", condition: Callable[[], bool]) -> None: ...

    def close(self) -> None: ...


def make_settings(bootstrap: str = "127.0.0.1:9", delivery: Delivery = "at_least_once", **kafka: Any) -> Settings:
    topics = TopicSettings(
        input=helpers.unique("ticks"),
        output=helpers.unique("forecasts"),
        dead_letter=helpers.unique("dlq"),
        state=helpers.unique("state"),
        partitions=2,
    )
    options = {"session_timeout": "6s", "transaction_timeout": "5s", "startup_timeout": "20s"}
    options |= {"delivery_timeout": "10s", **kafka}
    group = helpers.unique("group")
    kafka_settings = KafkaSettings(**{"bootstrap_servers": bootstrap, "group_id": group, **options})
    return Settings(delivery=delivery, kafka=kafka_settings, topics=topics)


class MemoryRig:
    def __init__(self, delivery: Delivery = "at_least_once") -> None:
        self.settings = make_settings(delivery=delivery)
        self.broker = MemoryBroker()
        self.broker.create_topic(self.settings.topics.input, 2)

    def client(self, span_ms: int | None = None, settings: Settings | None = None) -> Client:
        return MemoryClient(settings or self.settings, span_ms, "test", broker=self.broker)

    def send(self, values: list[bytes], partition: int = 0, timestamp_ms: int | None = None, **record: Any) -> None:
        for value in values:
            message = Message(self.settings.topics.input, record.get("key"), value, record.get("headers", ()))
            self.broker.append(message, partition, timestamp_ms)

    def output(self, topic: str | None = None) -> list[Produced]:
        records = self.broker.records(topic or self.settings.topics.output)
        return [(record.key, record.value, list(record.headers)) for record in records]

    def delete_before(self, partition: int, offset: int) -> None:
        self.broker.topics[self.settings.topics.input][partition].delete_before(offset)

    def poll_until(self, readers: "list[Reader]", condition: Callable[[], bool]) -> None:
        helpers.wait_until(lambda: ([reader.poll() for reader in readers], condition())[1])

    def close(self) -> None:
        pass


class KafkaRig:
    def __init__(
        self,
        bootstrap: str,
        delivery: Delivery = "at_least_once",
        library: Library = "kafka-python",
        security: Mapping[str, Any] | None = None,
    ) -> None:
        """Clients come in by `bootstrap`, or as `security` says; the rig itself always by `bootstrap`."""
        self.bootstrap = bootstrap
        self.settings = make_settings(bootstrap, delivery, client=library, **(security or {}))
        self._clients: list[Client] = []
        helpers.create_topics(bootstrap, {self.settings.topics.input: 2})

    def client(self, span_ms: int | None = None, settings: Settings | None = None) -> Client:
        settings = settings or self.settings
        if not settings.kafka.worker_index:  # every client is a worker of its own, unless a test says which
            settings = group_of(settings, worker_index=len(self._clients) + 100)
        client = make_client(settings, span_ms, f"test-{len(self._clients)}")
        self._clients.append(client)
        return client

    def send(self, values: list[bytes], partition: int = 0, timestamp_ms: int | None = None, **record: Any) -> None:
        common = {"partition": partition, "timestamp_ms": timestamp_ms, **record}
        helpers.produce(self.bootstrap, self.settings.topics.input, [{"value": value, **common} for value in values])

    def output(self, topic: str | None = None) -> list[Produced]:
        records = helpers.read_topic(self.bootstrap, topic or self.settings.topics.output)
        return [(record.key, record.value, list(record.headers)) for record in records]

    def delete_before(self, partition: int, offset: int) -> None:
        helpers.delete_records(self.bootstrap, self.settings.topics.input, {partition: offset})

    def poll_until(self, readers: "list[Reader]", condition: Callable[[], bool]) -> None:
        """Poll each member on a thread of its own, as in real life.

        kafka-python forgets a join that completes between two polls and joins again: members that
        take turns on one thread keep each other rebalancing forever.
        """
        done = threading.Event()
        with ThreadPoolExecutor(len(readers)) as pool:
            polls = [pool.submit(reader.poll_while, lambda: not done.is_set()) for reader in readers]
            try:
                helpers.wait_until(condition)
            finally:
                done.set()
            for poll in polls:
                poll.result(timeout=30)

    def close(self) -> None:
        for client in self._clients:
            client.close()


class Reader:
    """Polls a client and keeps what it returned: all rows, and for each partition how often it was dropped."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.rows: list[tuple[int, int, bytes | None, bool]] = []  # partition, offset, value, silent
        self.headers: list[Headers] = []
        self.drops: list[int] = []

    def poll(self) -> RecordBatch:
        batch = self.client.poll(100)
        self.drops += self.client.dropped()
        columns = batch.partition.tolist(), batch.offset.tolist(), batch.value, batch.silent.tolist()
        self.rows += zip(*columns, strict=True)
        self.headers += batch.headers
        return batch

    def poll_while(self, going: Callable[[], bool]) -> None:
        while going():
            self.poll()

    def until(self, count: int) -> "Reader":
        """Poll until `count` rows are there, and once more to see that no row follows."""
        helpers.wait_until(lambda: self.poll() is not None and len(self.rows) >= count, what=f"{count} records")
        self.poll()
        return self

    def values(self, partition: int = 0, *, silent: bool | None = None) -> list[bytes | None]:
        return [row[2] for row in self.rows if row[0] == partition and silent in (None, row[3])]


def group_of(settings: Settings, **changes: Any) -> Settings:
    """The same settings with some of `kafka` changed, a value each, still in the same group."""
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=changes)})


def topics_of(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    return settings.model_copy(update={"topics": settings.topics.model_copy(update=dict(changes))})
