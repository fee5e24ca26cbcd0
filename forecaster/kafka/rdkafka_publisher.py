"""A producer of librdkafka that returns once every message is acknowledged, or says that one was not."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError as LibraryError
from confluent_kafka import KafkaException, Producer, TopicPartition
from kafka.errors import KafkaError, KafkaTimeoutError

from forecaster.config import Settings
from forecaster.errors import FencedError
from forecaster.kafka.python_connect import one_line, routed
from forecaster.kafka.python_publisher import GRACE_SECONDS, TOO_LARGE
from forecaster.kafka.python_publisher import Publisher as PythonPublisher
from forecaster.kafka.python_transactions import FENCED, taken_over
from forecaster.kafka.rdkafka_connect import by, library_options, made, translated
from forecaster.kafka.sizes import Limits, chunks
from forecaster.records import Message

FLUSH_SECONDS = 0.2  # of waiting at a time: no signal reaches Python meanwhile
ANY_PARTITION = -1
PRODUCING = {
    "partitioner": "murmur2_random",  # a key's partition is the same with either library
    "queue.buffering.max.messages": 1_000_000,  # what is in flight is bounded by bytes
    "delivery.report.only.error": True,
}


class Publisher:
    """Implements `halves.Publisher`; with a `transactional_id` there are transactions."""

    def __init__(self, settings: Settings, options: Mapping[str, Any], transactional_id: str | None = None) -> None:
        self._checking = PythonPublisher(settings, options, transactional_id)  # the broker, whichever the library
        self._options = {**library_options(self._checking.options), **PRODUCING}
        self._input, self._id = settings.topics.input, transactional_id
        self._written = {settings.topics.output, settings.topics.dead_letter}
        if settings.state.checkpoint_interval:
            self._written.add(settings.topics.state)
        self._timeout: float = self._options["delivery.timeout.ms"] / 1_000
        self._transaction_seconds = settings.kafka.transaction_timeout / 1_000
        self._limits = Limits(settings.topics.dead_letter, options)
        self._producer: Any = None
        self._began: float | None = None  # the transaction under way, in seconds of `time.monotonic`
        self._failed: list[LibraryError] = []

    def check(self, deadline: float) -> None:
        """Implement `Publisher.check`."""
        self._checking.check(deadline)

    def open(self) -> None:
        """Implement `Publisher.open`."""
        if self._producer is not None:
            return
        self._limits.learn(self._written - self._limits.keys())
        smallest = min([self._options["batch.size"], *self._limits.values()])  # a batch too large is not split
        sizes = {"batch.size": smallest, "on_delivery": self._on_delivery}
        self._failed = []
        producer = made(Producer, {**self._options, **sizes})
        if self._id is not None:
            self._end_earlier(producer)
        self._producer = producer

    def _end_earlier(self, producer: Any) -> None:
        """Have the producer's identity, and what an earlier one of that name left open aborted."""
        deadline = time.monotonic() + self._timeout
        try:
            by(deadline, "init transactions", lambda: producer.init_transactions(self._timeout))
        except BaseException:
            _end(producer)
            raise

    def _on_delivery(self, error: LibraryError, _: Any) -> None:
        self._failed.append(error)

    def publish(self, messages: Sequence[Message]) -> None:
        """Implement `Publisher.publish`."""
        try:
            self.open()
            self._limits.learn({message.topic for message in messages} - self._limits.keys())
            self._begin()
            for chunk in chunks(messages):
                self._deliver(chunk)
        except KafkaError as error:
            raise self._failure(error, "publish") from None

    def commit(self, offsets: Mapping[int, int], source: str, member: Any) -> None:
        """Implement `Publisher.commit`."""
        parts = [TopicPartition(self._input, n, offset, source) for n, offset in offsets.items()]
        try:
            self.open()
            if self._id is not None:
                self._commit(parts, member)
        except KafkaError as error:
            raise self._failure(error, "commit") from None
        self._began = None

    def discard(self) -> None:
        """Implement `Publisher.discard`."""
        producer, self._producer, self._began = self._producer, None, None
        if producer is not None:
            _end(producer)

    def _begin(self) -> None:
        if self._id is not None and self._began is None:
            self._began = time.monotonic()
            try:
                self._producer.begin_transaction()
            except KafkaException as error:
                raise translated(error.args[0]) from None

    def _deadline(self) -> float:
        """By when the step under way must have ended."""
        if self._began is not None:
            return self._began + self._transaction_seconds
        return time.monotonic() + self._timeout + GRACE_SECONDS

    def _deliver(self, chunk: Sequence[Message]) -> None:
        deadline = self._deadline()
        try:
            self._send(chunk)
            self._flush(deadline)
        except TOO_LARGE as error:
            raise self._limits.refused(chunk, one_line(error)) from None

    def _send(self, chunk: Sequence[Message]) -> None:
        produce = self._producer.produce
        try:
            for topic, key, value, headers, partition in self._limits.fitting(chunk):
                if partition is None and not headers:
                    produce(topic, value, key)
                else:
                    at = ANY_PARTITION if partition is None else partition
                    produce(topic, value, key, at, headers=list(headers))
        except KafkaException as error:
            raise translated(error.args[0]) from None

    def _flush(self, deadline: float) -> None:
        """Wait until all is acknowledged; a message that failed is no longer outstanding, but noted."""
        while left := self._flush_some(deadline):
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"{left} messages were not acknowledged in time")

    def _flush_some(self, deadline: float) -> int:
        """How many messages are outstanding after a little waiting, if none has failed."""
        try:
            left: int = self._producer.flush(min(FLUSH_SECONDS, max(0.0, deadline - time.monotonic())))
        except KafkaException as error:
            raise translated(error.args[0]) from None
        if self._failed:
            raise translated(self._failed[0])
        return left

    def _commit(self, parts: Sequence[TopicPartition], member: Any) -> None:
        self._begin()
        deadline, producer = self._deadline(), self._producer
        left = max(0.0, deadline - time.monotonic())
        if parts:
            by(deadline, "offsets", lambda: producer.send_offsets_to_transaction(list(parts), member, left))
        by(deadline, "commit", lambda: producer.commit_transaction(left))

    def _failure(self, error: KafkaError, what: str) -> Exception:
        if isinstance(error, FENCED) and self._began is not None and time.monotonic() < self._deadline():
            return FencedError(taken_over(self._id))
        return routed(error, what)


def _end(producer: Any) -> None:
    """Drop what it holds; on a thread, since that waits for a call of it that was given up."""
    threading.Thread(target=producer.purge, name="discard", daemon=True).start()
