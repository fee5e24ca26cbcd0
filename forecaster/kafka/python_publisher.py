"""A producer that returns once every message is acknowledged, or says that one was not; in a transaction or alone."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer
from kafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
)

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.kafka.python_batches import send
from forecaster.kafka.python_connect import REFUSALS, RETRY_SECONDS, one_line, routed, unavailable, wire
from forecaster.kafka.python_transactions import FENCED, Transaction, guard, refuses_strangers
from forecaster.kafka.sizes import Limits, chunks
from forecaster.records import Message

BATCH_BYTES = 2**20  # below the default limit of a topic: the larger, the fewer the round trips
LINGER_MS = 20  # costs no latency, since every chunk ends in a flush
MAX_REQUEST_BYTES = 64 * 2**20  # the broker's limit decides, not the client's
GRACE_SECONDS = 1.0  # a future expires by itself shortly after its delivery timeout
RETRY_BACKOFF_MS = 20  # also how long a transaction waits for the markers of the one before
WEAKER = 'delivery: the broker cannot do "exactly_once", at most "at_least_once"'
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class Publisher:
    """Implements `halves.Publisher`; with a `transactional_id` there are transactions."""

    def __init__(self, settings: Settings, options: Mapping[str, Any], transactional_id: str | None = None) -> None:
        self._input, self._kafka = settings.topics.input, settings.kafka
        self._probed = settings.topics.state if settings.state.checkpoint_interval else settings.topics.input
        self._id = transactional_id
        self._transaction_ms = settings.kafka.transaction_timeout
        delivery_ms = settings.kafka.delivery_timeout
        if transactional_id is not None:
            delivery_ms = min(delivery_ms, self._transaction_ms)
        self._timeout = delivery_ms / 1_000
        linger_ms = min(LINGER_MS, delivery_ms // 4)
        self.options = {
            **options,
            "acks": "all",
            "enable_idempotence": True,
            "allow_auto_create_topics": False,
            "batch_size": BATCH_BYTES,
            "linger_ms": linger_ms,
            "max_request_size": MAX_REQUEST_BYTES,
            "delivery_timeout_ms": delivery_ms,
            "request_timeout_ms": min(30_000, delivery_ms - linger_ms),
            "max_block_ms": delivery_ms,
            "retry_backoff_ms": RETRY_BACKOFF_MS,
            "bootstrap_timeout_ms": delivery_ms,
            "metrics_enabled": False,
        }
        if transactional_id is not None:
            self.options |= {"transactional_id": transactional_id, "transaction_timeout_ms": self._transaction_ms}
        self._producer: Any = None
        self._transaction: Transaction | None = None
        self._limits = Limits(settings.topics.dead_letter, options)

    def open(self) -> None:
        """Implement `Publisher.open`."""
        if self._producer is not None:
            return
        producer = KafkaProducer(**self.options)
        try:
            if self._id is not None:
                guard(producer)
                producer.init_transactions()
        except BaseException:
            _end(producer)
            raise
        self._producer = producer

    def check(self, deadline: float) -> None:
        """Implement `Publisher.check`; raises `BrokerUnavailableError` where the broker does not answer."""
        while self._id is not None:
            try:
                return self._check_transactions()
            except REFUSALS as error:
                raise routed(error, "use transactions") from None
            except (KafkaError, OSError) as error:
                passing = OSError, *FENCED  # fenced: by a daemon of the same name that starts beside this one
                if not isinstance(error, passing) and not error.retriable:
                    raise ConfigError(f"{WEAKER}: {one_line(error)}") from None
                if time.monotonic() + RETRY_SECONDS > deadline:
                    raise unavailable(self._kafka, error) from None
            finally:
                self.discard()
            time.sleep(RETRY_SECONDS)
        return None

    def _check_transactions(self) -> None:
        self.open()
        if not refuses_strangers(self._producer, self._kafka.group_id, self._probed, self._transaction_ms):
            raise ConfigError(f"{WEAKER}: it takes offsets from a worker that is not in the group")

    def publish(self, messages: Sequence[Message]) -> None:
        """Implement `Publisher.publish`."""
        try:
            self.open()
            self._limits.learn({message.topic for message in messages} - self._limits.keys())
            self._begin()
            for chunk in chunks(messages):
                self._deliver(chunk)
        except (KafkaError, ValueError) as error:  # ValueError: the topic went away under the partitioner
            raise self._failure(error, "publish") from None

    def commit(self, offsets: Mapping[int, int], source: str, member: Any) -> None:
        """Implement `Publisher.commit`."""
        try:
            self.open()
            if (transaction := self._begin()) is not None:
                transaction.commit(wire(self._input, offsets, source), member)
        except (KafkaError, ValueError) as error:
            raise self._failure(error, "commit") from None
        self._transaction = None

    def discard(self) -> None:
        """Implement `Publisher.discard`."""
        producer, self._producer, self._transaction = self._producer, None, None
        if producer is not None:
            _end(producer)

    def _begin(self) -> Transaction | None:
        """The transaction under way; None where there are none."""
        if self._transaction is None and self._id is not None:
            self._transaction = Transaction(self._producer, self._id, self._transaction_ms)
        return self._transaction

    def _failure(self, error: Exception, what: str) -> Exception:
        if self._transaction is not None:
            return self._transaction.failure(error, what)
        return routed(error, what)

    def _deliver(self, chunk: Sequence[Message]) -> None:
        deadline = time.monotonic() + self._timeout + GRACE_SECONDS
        if self._transaction is not None:
            deadline = min(deadline, self._transaction.deadline)
        try:
            batches = send(self._producer, self._limits.fitting(chunk), self._limits, BATCH_BYTES)
            with suppress(UnknownError):  # a batch was split, which flush does not understand; `check` does
                self._producer.flush(timeout=max(0.0, deadline - time.monotonic()))
            for batch in batches:
                batch.check(deadline)
        except TOO_LARGE as error:
            raise self._limits.refused(chunk, one_line(error)) from None


def _end(producer: Any) -> None:
    # close() alone first waits for the messages and, when they do not leave in time, closes nothing.
    producer._sender.force_close()  # noqa: SLF001
    producer._sender.join(GRACE_SECONDS)  # noqa: SLF001
    with suppress(KafkaError):
        producer.close(timeout=0)
