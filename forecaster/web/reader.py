"""Reads a topic for the page, in no group and never faster than it may: what it cannot keep up with it skips."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any, Self

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from forecaster.config import Settings
from forecaster.errors import ForecasterError
from forecaster.kafka.python_connect import READING, connection_options, one_line
from forecaster.kafka.python_history import record_batch
from forecaster.kafka.python_offsets import log_begins, log_ends
from forecaster.records import RecordBatch
from forecaster.telemetry.logs import RareWarning

BEAT_S = 0.25
BACKLOG_S = 5.0  # of reading that may wait, at the start too
KEPT_S = 1.0  # of it that is read after a skip: in one piece
RETRY_S = 2.0
ANSWER_MS = 10_000
# What was fetched and is skipped is work for nothing.
FRUGAL = {"max_partition_fetch_bytes": 2**16, "fetch_max_bytes": 2**20, "auto_offset_reset": "latest"}

Take = Callable[[RecordBatch, int], None]


class TopicReader:
    """One topic on a thread of its own, from a little before its end; `take` gets records and the time in ms."""

    def __init__(self, settings: Settings, topic: str, take: Take, skip: Callable[[int], None]) -> None:
        self._settings, self._topic, self._take, self._skip = settings, topic, take, skip
        self._rate = settings.web.records_per_second
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"read {topic}", daemon=True)
        self._away = RareWarning("page_without_broker", time.monotonic)
        self._next: dict[int, int] = {}  # offset by partition: a new connection goes on where the last one ended
        self.connected = self.caught_up = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(BEAT_S + RETRY_S)

    def _run(self) -> None:
        options = connection_options(self._settings.kafka, "forecaster-page") | READING | FRUGAL
        while not self._stopping.is_set():
            try:
                with closing(KafkaConsumer(**options)) as consumer:
                    self._follow(consumer)
            except (KafkaError, OSError, ForecasterError) as error:
                self._away.add(1, topic=self._topic, error=one_line(error))
            self.connected = False
            self._stopping.wait(RETRY_S)

    def _follow(self, consumer: Any) -> None:
        """Read on until told to stop, or for as long as the topic has the partitions that it has now."""
        numbers = consumer.partitions_for_topic(self._topic)
        if not numbers:  # not created yet
            return
        parts = [TopicPartition(self._topic, number) for number in sorted(numbers)]
        consumer.assign(parts)
        begin, end = log_begins(consumer, parts, ANSWER_MS), log_ends(consumer, parts, ANSWER_MS)
        for part in parts:
            start = end[part] - self._share(BACKLOG_S, parts)
            consumer.seek(part, max(begin[part], min(end[part], self._next.get(part.partition, start))))
        while not self._stopping.is_set() and consumer.partitions_for_topic(self._topic) == numbers:
            self._beat(consumer)
            self._keep_up(consumer, parts)

    def _beat(self, consumer: Any) -> None:
        """Take as many records as one beat allows, and the whole beat for it."""
        until, left = time.monotonic() + BEAT_S, int(self._rate * BEAT_S)
        while left > 0 and (wait_ms := int(1000 * (until - time.monotonic()))) > 0:
            for part, rows in consumer.poll(timeout_ms=wait_ms, max_records=left).items():
                left -= len(rows)
                self._take(record_batch(part, rows), int(time.time() * 1000))
        self._stopping.wait(max(0.0, until - time.monotonic()))

    def _keep_up(self, consumer: Any, parts: list[TopicPartition]) -> None:
        """Skip what waits in a partition where that is more than can be read soon."""
        behind = 0
        for part in parts:
            position, end = consumer.position(part), consumer.highwater(part)
            self._next[part.partition] = position
            if end is None:  # nothing has been heard of it yet
                return
            if end - position > self._share(BACKLOG_S, parts):
                consumer.seek(part, end - self._share(KEPT_S, parts))
                self._skip(end - self._share(KEPT_S, parts) - position)
            behind += end - position
        self.connected = True
        self.caught_up |= behind <= self._rate * KEPT_S

    def _share(self, seconds: float, parts: list[TopicPartition]) -> int:
        """Records of each partition that are read in so many seconds."""
        return max(1, int(self._rate * seconds / len(parts)))
