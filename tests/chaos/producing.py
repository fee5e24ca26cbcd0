"""Produce many records fast: `python -m chaos.producing hostile|keys COUNT BOOTSTRAP TOPIC`.

Prints how many records there were, how many well-formed ticks in them, and how many dead letters they must give.
"""

import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

from confluent_kafka import Producer

from chaos.streams import BASE_MS

WAIT_S = 60.0


class Made(NamedTuple):
    key: bytes | None
    value: bytes | None
    ticks: int
    letters: int


def hostile(count: int) -> Iterator[Made]:
    from hostile import hostile_records

    for record in hostile_records(7, count):
        yield Made(record.key, record.value, record.ticks, int(record.dead_letter))


def keys(count: int) -> Iterator[Made]:
    for number in range(count):
        content = {"series": f"k{number}", "ts": BASE_MS + number // 1_000, "value": number % 977}
        yield Made(f"k{number}".encode(), json.dumps(content).encode(), 1, 0)


def main() -> None:
    kind, count, bootstrap, topic = sys.argv[1:]
    failed: list[object] = []
    producer = Producer({
        "bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "message.max.bytes": 2**26,
        "partitioner": "murmur2_random", "queue.buffering.max.kbytes": 2**17,
        "delivery.report.only.error": True, "on_delivery": lambda error, _: failed.append(error),
    })  # fmt: skip
    partitions = sorted(producer.list_topics(topic, WAIT_S).topics[topic].partitions)
    ticks = letters = 0
    for number, made in enumerate({"hostile": hostile, "keys": keys}[kind](int(count))):
        part = partitions[number % len(partitions)] if kind == "hostile" else -1
        while True:
            try:
                producer.produce(topic, made.value, made.key, part)
                break
            except BufferError:  # its queue is full
                producer.poll(0.1)
        ticks, letters = ticks + made.ticks, letters + made.letters
    if producer.flush(WAIT_S) or failed:
        raise RuntimeError(f"not everything was produced: {failed[:1]}")
    print(count, ticks, letters)


if __name__ == "__main__":
    main()
