"""Ticks at an even rate, and when their forecasts arrive: each in a process of its own. An open loop: a tick that
is sent late keeps its place in time, so that its delay counts.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from integration.helpers import unique

from benchmarks.contender import Contender
from benchmarks.harness import Series

Arrival = tuple[float, bytes, bytes]  # epoch seconds, key, value
ORIGIN = re.compile(rb'"origin":(\d+)')
SENDING = {"partitioner": "murmur2_random", "queue.buffering.max.messages": 2_000_000}
AT_ONCE = 1_000  # ticks a second up to which each is sent by itself: more requests would be all that the broker does
LINGER_MS = 5  # above it, librdkafka's default; what a tick waits for it counts


def send_evenly(bootstrap: str, topic: str, series: Series, rate: float, count: int, began: float) -> None:
    """`count` ticks, the n-th due at epoch second `began` + n / `rate`, which is also its record's timestamp."""
    linger = 0 if rate <= AT_ONCE else LINGER_MS
    producer, sent = Producer({"bootstrap.servers": bootstrap, "linger.ms": linger, **SENDING}), 0
    while sent < count:
        due = min(count, int((time.time() - began) * rate) + 1)
        for n, (key, value) in enumerate(series.ticks(max(0, due - sent)), sent):
            producer.produce(topic, value, key, timestamp=int((began + n / rate) * 1_000))
        sent = max(sent, due)
        producer.poll(0)
        time.sleep(max(0.0, began + sent / rate - time.time()))
    if producer.flush(60):
        raise RuntimeError("ticks were not produced within a minute")


def receive(bootstrap: str, topic: str, count: int, quiet_s: float, answer: Connection) -> None:
    """Sends an empty list once it listens; then (seconds of arrival, key, value) of `count` committed records.

    Fewer where none has come for `quiet_s` seconds.
    """
    reader = Consumer({
        "bootstrap.servers": bootstrap, "group.id": unique("reader"), "isolation.level": "read_committed",
        "fetch.wait.max.ms": 100, "enable.auto.commit": False,
    })  # fmt: skip
    parts = [TopicPartition(topic, number) for number in reader.list_topics(topic).topics[topic].partitions]
    for part in parts:
        part.offset = reader.get_watermark_offsets(part, timeout=10)[1]
    reader.assign(parts)
    reader.poll(0.5)  # the first fetch is under way from here on
    answer.send([])
    found: list[Arrival] = []
    while len(found) < count and (record := reader.poll(quiet_s)) is not None:
        if not record.error():
            found.append((time.time(), record.key(), record.value()))
    reader.close()
    answer.send(found)


@contextmanager
def receiver(bootstrap: str, topic: str, count: int, quiet_s: float = 10.0) -> Iterator[Connection]:
    """A process that listens at the end of `topic`; `recv` gives what came, see `receive`."""
    with companion(receive, bootstrap, topic, count, quiet_s) as ours:
        yield ours


@contextmanager
def companion(target: Callable[..., None], *arguments: object) -> Iterator[Connection]:
    """A process that runs `target` for as long as the block, with a connection to us as its last argument.

    The block begins once it has sent something.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(*arguments, theirs), daemon=True)
    process.start()
    ours.recv()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()


def first_forecast(daemon: Contender) -> float:
    """Seconds from the start of the process to its first forecast, seen by another process; a tick is there."""
    with receiver(daemon.lab.bootstrap, daemon.output, 1, quiet_s=300) as answer:
        began = time.time()
        daemon.launch()
        while not answer.poll():
            daemon.still_runs()
        return answer.recv()[0][0] - began


@contextmanager
def sender(bootstrap: str, topic: str, series: Series, rate: float, count: int, began: float) -> Iterator[None]:
    """A process that sends evenly, see `send_evenly`; left once everything is sent."""
    process = get_context("spawn").Process(
        target=send_evenly, args=(bootstrap, topic, series, rate, count, began), daemon=True
    )
    process.start()
    try:
        yield
        process.join()
    finally:
        process.terminate()
        process.join()
    if process.exitcode:
        raise RuntimeError(f"the sender ended with {process.exitcode}")


def latencies(found: list[Arrival], series: Series, rate: float, began: float) -> np.ndarray:
    """Seconds from when each tick was due to when its forecast came; `series` is as it was before the ticks."""
    places = [series.place(key, int(ORIGIN.search(value)[1])) for _, key, value in found]  # type: ignore[index]
    due = began + (np.array(places) - series.sent) / rate
    return np.array([at for at, _, _ in found]) - due
