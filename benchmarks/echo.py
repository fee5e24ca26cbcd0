"""A plain echo of the daemon's work: for each tick, produce the bytes that its forecast had.

python -m benchmarks.echo CONFIG FORECASTS COUNT [--client kafka-python|librdkafka|adapter] [--own]

FORECASTS: one "key TAB value" a line, in any order; with `--own` each tick is answered by the first of them with the
tick's own key and time for origin. `kafka-python` and `librdkafka` are loops as a user of these
libraries writes them, with the daemon's batch settings: poll, send, flush, look at every result, commit the offsets.
`adapter` does the same through the daemon's own client.
"""

import argparse
import re
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import cycle
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer
from kafka import KafkaConsumer, KafkaProducer

from forecaster.config import Settings, load_settings
from forecaster.kafka.clients import make_client
from forecaster.kafka.python_connect import READING
from forecaster.kafka.python_publisher import BATCH_BYTES, LINGER_MS
from forecaster.records import Message

Answer = Callable[[Any, Any], tuple[bytes, bytes]]  # of a tick's key and value
WAIT_MS = 1_000  # a poll returns earlier with records; kafka-python forgets a join that takes longer than one


def echo_kafka_python(settings: Settings, answer: Answer, count: int) -> None:
    topic, servers = settings.topics.output, settings.kafka.bootstrap_servers
    producer = KafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, batch_size=BATCH_BYTES, linger_ms=LINGER_MS,
        metrics_enabled=False,
    )  # fmt: skip
    consumer = KafkaConsumer(
        settings.topics.input, bootstrap_servers=servers, group_id=settings.kafka.group_id,
        max_poll_records=settings.kafka.max_poll_records, **READING,
    )  # fmt: skip
    with closing(producer), closing(consumer):
        while count > 0:
            polled = [record for records in consumer.poll(timeout_ms=WAIT_MS).values() for record in records]
            if not polled:
                continue
            futures = []
            for record in polled:
                key, value = answer(record.key, record.value)
                futures.append(producer.send(topic, value, key))
            producer.flush()
            if not all(future.succeeded() for future in futures):
                raise RuntimeError("a message was not delivered")
            consumer.commit()
            count -= len(polled)


def echo_librdkafka(settings: Settings, answer: Answer, count: int) -> None:
    topic, servers = settings.topics.output, settings.kafka.bootstrap_servers
    failed: list[Any] = []
    producer = Producer(
        {
            "bootstrap.servers": servers, "acks": "all", "enable.idempotence": True, "batch.size": BATCH_BYTES,
            "linger.ms": LINGER_MS, "partitioner": "murmur2_random", "queue.buffering.max.messages": 1_000_000,
            "delivery.report.only.error": True, "on_delivery": lambda error, _: failed.append(error),
        }
    )  # fmt: skip
    consumer = Consumer(
        {
            "bootstrap.servers": servers, "group.id": settings.kafka.group_id, "enable.auto.commit": False,
            "auto.offset.reset": READING["auto_offset_reset"], "isolation.level": READING["isolation_level"],
            "max.partition.fetch.bytes": READING["max_partition_fetch_bytes"],
            "fetch.wait.max.ms": READING["fetch_max_wait_ms"],
        }
    )  # fmt: skip
    consumer.subscribe([settings.topics.input])
    with closing(consumer):
        while count > 0:
            polled = consumer.consume(1, WAIT_MS / 1_000) + consumer.consume(settings.kafka.max_poll_records - 1, 0)
            if not polled:
                continue
            for record in polled:
                key, value = answer(record.key(), record.value())
                producer.produce(topic, value, key)
            if producer.flush(30) or failed:
                raise RuntimeError(f"a message was not delivered: {failed}")
            consumer.commit(asynchronous=False)
            count -= len(polled)


def echo_adapter(settings: Settings, answer: Answer, count: int) -> None:
    topic = settings.topics.output
    with closing(make_client(settings, 0, "echo")) as client:
        client.start()
        while count > 0:
            if polled := client.poll(WAIT_MS):
                client.publish([Message(topic, *answer(*tick)) for tick in zip(polled.key, polled.value, strict=True)])
                client.commit()
                count -= len(polled)


ECHOES: dict[str, Callable[[Settings, Answer, int], None]] = {
    "kafka-python": echo_kafka_python,
    "librdkafka": echo_librdkafka,
    "adapter": echo_adapter,
}


def in_turn(forecasts: Sequence[bytes]) -> Answer:
    """Each of `forecasts`, over and over, whatever the tick is."""
    lines = cycle([line.split(b"\t", 1) for line in forecasts])
    return lambda *_: next(lines)  # type: ignore[return-value]  # each has two parts


def own(forecast: bytes) -> Answer:
    """`forecast` with the tick's key and time."""
    before, _, after = re.split(rb'("origin":\d+)', forecast.split(b"\t", 1)[1])

    def answer(key: Any, value: Any) -> tuple[bytes, bytes]:
        return key, b'%b"origin":%b%b' % (before, re.search(rb'"ts":(\d+)', value)[1], after)  # type: ignore[index]

    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("forecasts", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--client", choices=ECHOES, default="kafka-python")
    parser.add_argument("--own", action="store_true", help="answer with the tick's own key and time")
    options = parser.parse_args()
    forecasts = options.forecasts.read_bytes().splitlines()
    answer = own(forecasts[0]) if options.own else in_turn(forecasts)
    ECHOES[options.client](load_settings(options.config), answer, options.count)


if __name__ == "__main__":
    main()
