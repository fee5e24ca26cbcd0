"""Print what the daemon's Kafka client costs over raw kafka-python: records polled and messages published a second.

python benchmarks/kafka_client.py [bootstrap]     without an address it starts the tests' own Apache Kafka
"""

import logging
import sys
import time
import uuid
from contextlib import ExitStack, closing
from pathlib import Path

from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from forecaster.config import KafkaSettings, Settings, TopicSettings
from forecaster.kafka.client import Client
from forecaster.kafka.clients import make_client
from forecaster.records import Message

RECORDS = 200_000
TICK = b'{"series": "pump-7", "ts": 1714550400000, "value": 21.5}'
FORECAST = b"x" * 600


def consume_raw(bootstrap: str, topic: str) -> float:
    options = {"enable_auto_commit": False, "isolation_level": "read_committed", "max_poll_records": 5_000}
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, **options)) as consumer:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        consumer.seek_to_beginning(*parts)
        begun, count = time.perf_counter(), 0
        while count < RECORDS:
            count += sum(map(len, consumer.poll(timeout_ms=500).values()))
        return RECORDS / (time.perf_counter() - begun)


def produce_raw(bootstrap: str, topic: str) -> float:
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        begun = time.perf_counter()
        for at in range(0, RECORDS // 4, 5_000):
            futures = [producer.send(topic, FORECAST, b"%d" % (at + i)) for i in range(5_000)]
            producer.flush()
            assert all(future.succeeded() for future in futures)
        return RECORDS / 4 / (time.perf_counter() - begun)


def consume(client: Client) -> float:
    client.reset()  # back to the commit, which is the start
    while not (batch := client.poll(500)):
        pass
    begun, count = time.perf_counter(), len(batch)
    first = count
    while count < RECORDS:
        count += len(client.poll(500))
    return (RECORDS - first) / (time.perf_counter() - begun)


def publish(client: Client, topic: str) -> float:
    begun = time.perf_counter()
    for at in range(0, RECORDS // 4, 5_000):
        client.publish([Message(topic, b"%d" % (at + i), FORECAST) for i in range(5_000)])
    return RECORDS / 4 / (time.perf_counter() - begun)


def publish_one(client: Client, topic: str) -> float:
    begun = time.perf_counter()
    for _ in range(200):
        client.publish([Message(topic, b"k", FORECAST)])
    return (time.perf_counter() - begun) / 200 * 1_000


def main(stack: ExitStack) -> None:
    if len(sys.argv) > 1:
        bootstrap = sys.argv[1]
    else:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from integration.kafka_broker import KafkaBroker  # noqa: PLC0415

        broker = stack.enter_context(closing(KafkaBroker()))
        broker.start()
        bootstrap = broker.bootstrap
    name = uuid.uuid4().hex[:8]
    topics = TopicSettings(input=f"in-{name}", output=f"out-{name}", dead_letter=f"dlq-{name}")
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=bootstrap, group_id=name), topics=topics)
    client = stack.enter_context(closing(make_client(settings, None, "benchmark")))
    client.start()
    client.publish([Message(topics.input, b"%d" % (i % 997), TICK) for i in range(RECORDS)])
    for _ in range(2):
        print(f"poll     client {consume(client):10,.0f}/s   raw {consume_raw(bootstrap, topics.input):10,.0f}/s")
        rates = publish(client, topics.output), produce_raw(bootstrap, topics.output)
        print(f"publish  client {rates[0]:10,.0f}/s   raw {rates[1]:10,.0f}/s")
    print(f"publish  one message: {publish_one(client, topics.output):.2f} ms")


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with ExitStack() as everything:
        main(everything)
