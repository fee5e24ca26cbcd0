"""Print what the daemon's Kafka clients cost over the bare libraries: records polled and messages published a second.

python benchmarks/kafka_client.py [bootstrap]     without an address it starts the tests' own Apache Kafka

Each line alternates client and library five times and gives the medians and the ratio of the two.
"""

import logging
import sys
import time
import uuid
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from statistics import median

import confluent_kafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from forecaster.config import KafkaSettings, Settings, TopicSettings
from forecaster.kafka.client import Client
from forecaster.kafka.clients import make_client
from forecaster.records import Message

RECORDS, BATCH, ROUNDS, SINGLES = 200_000, 5_000, 5, 200
TICK = b'{"series": "pump-7", "ts": 1714550400000, "value": 21.5}'
FORECAST = b"x" * 600
KEYS = [b"%d" % number for number in range(BATCH)]


def rate(take: Callable[[], int], count: int) -> float:
    """Records a second; `take` returns how many it took, and the first call is not timed."""
    while not (first := take()):
        pass
    begun, taken = time.perf_counter(), 0
    while taken < count - first:
        taken += take()
    return taken / (time.perf_counter() - begun)


def consume(client: Client) -> float:
    client.reset()  # back to the commit, which is the start
    return rate(lambda: len(client.poll(500)), RECORDS)


def consume_kafka_python(bootstrap: str, topic: str) -> float:
    options = {"enable_auto_commit": False, "isolation_level": "read_committed", "max_poll_records": BATCH}
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, **options)) as consumer:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        return rate(lambda: sum(map(len, consumer.poll(timeout_ms=500).values())), RECORDS)


def consume_librdkafka(bootstrap: str, topic: str) -> float:
    options = {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "isolation.level": "read_committed"}
    options |= {"enable.auto.commit": False, "fetch.queue.backoff.ms": 10}  # else it idles for a second now and then
    with closing(confluent_kafka.Consumer(options)) as consumer:
        numbers = consumer.list_topics(topic).topics[topic].partitions
        consumer.assign([confluent_kafka.TopicPartition(topic, number, 0) for number in numbers])
        return rate(lambda: sum(message.value() is not None for message in consumer.consume(BATCH, 0.5)), RECORDS)


def publish(client: Client, topic: str) -> float:
    def take() -> int:
        client.publish([Message(topic, key, FORECAST) for key in KEYS])
        return BATCH

    return rate(take, RECORDS // 4)


def produce_kafka_python(bootstrap: str, topic: str) -> float:
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:

        def take() -> int:
            futures = [producer.send(topic, FORECAST, key) for key in KEYS]
            producer.flush()
            assert all(future.succeeded() for future in futures)
            return BATCH

        return rate(take, RECORDS // 4)


def produce_librdkafka(bootstrap: str, topic: str) -> float:
    failed: list[object] = []
    options = {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "batch.size": 2**20}
    reports = {"delivery.report.only.error": True, "on_delivery": lambda error, _: failed.append(error)}
    producer = confluent_kafka.Producer(options | reports)

    def take() -> int:
        for key in KEYS:
            producer.produce(topic, FORECAST, key)
        assert producer.flush(30) == 0
        assert not failed
        return BATCH

    return rate(take, RECORDS // 4)


def milliseconds_alone(client: Client, topic: str) -> float:
    begun = time.perf_counter()
    for _ in range(SINGLES):
        client.publish([Message(topic, b"k", FORECAST)])
    return (time.perf_counter() - begun) / SINGLES * 1_000


def show(what: str, ours: Callable[[], float], bare: Callable[[], float]) -> None:
    pairs = [(ours(), bare()) for _ in range(ROUNDS)]
    client, library = (median(column) for column in zip(*pairs, strict=True))
    print(f"{what:22} client {client:10,.0f}/s   library {library:10,.0f}/s   {client / library:.2f}", flush=True)


BARE = {
    "kafka-python": (consume_kafka_python, produce_kafka_python),
    "librdkafka": (consume_librdkafka, produce_librdkafka),
}


def measure(library: str, client: Client, bootstrap: str, topics: TopicSettings) -> None:
    consume_bare, produce_bare = BARE[library]
    show(f"{library} poll", lambda: consume(client), lambda: consume_bare(bootstrap, topics.input))
    show(f"{library} publish", lambda: publish(client, topics.output), lambda: produce_bare(bootstrap, topics.output))
    print(f"{library} publish one message: {milliseconds_alone(client, topics.output):.2f} ms", flush=True)


def own_broker(stack: ExitStack) -> str:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    from integration.kafka_broker import KafkaBroker  # noqa: PLC0415

    broker = stack.enter_context(closing(KafkaBroker()))
    broker.start()
    return broker.bootstrap


def main(stack: ExitStack) -> None:
    bootstrap = sys.argv[1] if len(sys.argv) > 1 else own_broker(stack)
    name = uuid.uuid4().hex[:8]
    topics = TopicSettings(input=f"in-{name}", output=f"out-{name}", dead_letter=f"dlq-{name}", state=f"state-{name}")
    ticks = [Message(topics.input, b"%d" % (i % 997), TICK) for i in range(RECORDS)]
    for library in BARE:
        kafka = KafkaSettings(bootstrap_servers=bootstrap, group_id=f"{name}-{library}", client=library)
        settings = Settings(kafka=kafka, topics=topics, delivery="at_least_once")
        with closing(make_client(settings, None, "benchmark")) as client:
            client.start()
            client.publish(ticks)
            ticks = []  # the next one reads the same
            measure(library, client, bootstrap, topics)


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with ExitStack() as everything:
        main(everything)
