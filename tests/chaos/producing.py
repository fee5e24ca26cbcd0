"""Produce many records fast: `python -m chaos.producing hostile|keys COUNT BOOTSTRAP TOPIC`.

Prints how many records there were, how many well-formed ticks in them, and how many dead letters they must give.
"""

import json
import sys
from collections.abc import Iterator
from typing import NamedTuple

from kafka import KafkaProducer, Serializer

from chaos.ticks import BASE_MS

FLUSH_EVERY = 20_000  # kafka-python 3 has no bound of its own on what is in flight


class Made(NamedTuple):
    key: bytes | None
    value: bytes | None
    ticks: int
    letters: int


NULL = object()  # kafka-python refuses a value of None beside a key of None, yet such records exist


class _Nulls(Serializer):
    def serialize(self, topic: str, headers: object, data: object) -> object:
        del topic, headers
        return None if data is NULL else data


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
    sizes = {"linger_ms": 20, "batch_size": 2**18, "max_request_size": 2**26}
    producer = KafkaProducer(bootstrap_servers=bootstrap, value_serializer=_Nulls(), **sizes)
    partitions = sorted(producer.partitions_for(topic))
    ticks = letters = 0
    futures = []
    for number, made in enumerate({"hostile": hostile, "keys": keys}[kind](int(count))):
        part = partitions[number % len(partitions)] if kind == "hostile" else None
        value = NULL if made.value is None else made.value
        futures.append(producer.send(topic, value, made.key, partition=part))
        ticks, letters = ticks + made.ticks, letters + made.letters
        if len(futures) >= FLUSH_EVERY:
            _check(producer, futures)
    _check(producer, futures)
    producer.close()
    print(count, ticks, letters)


def _check(producer: KafkaProducer, futures: list) -> None:
    producer.flush()
    for future in futures:
        future.get(timeout=30)
    futures.clear()


if __name__ == "__main__":
    main()
