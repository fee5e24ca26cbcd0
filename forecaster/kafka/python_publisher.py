"""A producer that returns once every message is acknowledged, or says that one was not; in a transaction or alone."""

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any

from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import ConfigResource
from kafka.errors import (
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnknownError,
)
from kafka.record.default_records import DefaultRecordBatchBuilder

from forecaster.config import Settings
from forecaster.errors import ConfigError, ForecasterError, RetryableError
from forecaster.kafka.python_batches import send
from forecaster.kafka.python_connect import REFUSALS, RETRY_SECONDS, one_line, routed, unavailable
from forecaster.kafka.python_transactions import FENCED, Transaction, guard, refuses_strangers
from forecaster.records import Message

CHUNK_BYTES = 16 * 2**20  # in flight at once: kafka-python 3 has no bound of its own
BATCH_BYTES = 2**20  # below the default limit of a topic: the larger, the fewer the round trips
LINGER_MS = 20  # costs no latency, since every chunk ends in a flush
MAX_REQUEST_BYTES = 64 * 2**20  # the broker's limit decides, not the client's
RECORD_OVERHEAD = 64
ANSWER_MS = 1_000  # for what can be done without
DEFAULT_LIMIT = 1_048_588  # bytes of a record batch: Kafka's own default
SMALLEST_LIMIT = 1_024
GRACE_SECONDS = 1.0  # a future expires by itself shortly after its delivery timeout
RETRY_BACKOFF_MS = 20  # also how long a transaction waits for the markers of the one before
WEAKER = 'delivery: the broker cannot do "exactly_once", at most "at_least_once"'
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


class Publisher:
    """Owns the producer: made when first needed, thrown away after a failure.

    With a `transactional_id` everything from `publish` to `commit` is one transaction.
    """

    def __init__(self, settings: Settings, options: Mapping[str, Any], transactional_id: str | None = None) -> None:
        self._topics, self._kafka = settings.topics, settings.kafka
        self._probed = settings.topics.state if settings.state.checkpoint_interval else settings.topics.input
        self._id = transactional_id
        self._asking = {**options, "bootstrap_timeout_ms": ANSWER_MS, "request_timeout_ms": ANSWER_MS}
        self._transaction_ms = settings.kafka.transaction_timeout
        delivery_ms = settings.kafka.delivery_timeout
        if transactional_id is not None:
            delivery_ms = min(delivery_ms, self._transaction_ms)
        self._timeout = delivery_ms / 1_000
        linger_ms = min(LINGER_MS, delivery_ms // 4)
        self._options = {
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
            self._options |= {"transactional_id": transactional_id, "transaction_timeout_ms": self._transaction_ms}
        self._producer: Any = None
        self._transaction: Transaction | None = None
        self._limits: dict[str, int] = {}  # by topic: bytes of a record batch

    def open(self) -> None:
        """Have a producer; what an earlier one of this transactional id left open is aborted first.

        Raises `KafkaError` where the broker does not answer, or cannot do transactions.
        """
        if self._producer is not None:
            return
        producer = KafkaProducer(**self._options)
        try:
            if self._id is not None:
                guard(producer)
                producer.init_transactions()
        except BaseException:
            _end(producer)
            raise
        self._producer = producer

    def check(self, deadline: float) -> None:
        """Show by `deadline` (of `time.monotonic`) that the broker can do what is asked of it.

        Raises `ConfigError` where it cannot, `BrokerUnavailableError` where it does not answer.
        """
        while self._id is not None:
            try:
                return self._check_transactions()
            except REFUSALS as error:
                raise ConfigError(f"kafka: not allowed to use transactions: {one_line(error)}") from None
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
        """Send `messages` and wait for every acknowledgement; a dead letter that is too large is cut."""
        try:
            self.open()
            self._learn_limits({message.topic for message in messages} - self._limits.keys())
            self._begin()
            for chunk in _chunks(messages):
                self._deliver(chunk)
        except (KafkaError, ValueError) as error:  # ValueError: the topic went away under the partitioner
            raise self._failure(error, "publish") from None

    def commit(self, offsets: Mapping[Any, Any], member: Any) -> None:
        """Commit the transaction that `publish` began, with `offsets` in the name of group member `member`."""
        try:
            self.open()
            if (transaction := self._begin()) is not None:
                transaction.commit(offsets, member)
        except (KafkaError, ValueError) as error:
            raise self._failure(error, "commit") from None
        self._transaction = None

    def discard(self) -> None:
        """Throw the producer away with whatever it still holds, so that nothing is sent behind our back."""
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
            batches = send(self._producer, [*map(self._fitting, chunk)], self._limits, BATCH_BYTES)
            with suppress(UnknownError):  # a batch was split, which flush does not understand; `check` does
                self._producer.flush(timeout=max(0.0, deadline - time.monotonic()))
            for batch in batches:
                batch.check(deadline)
        except TOO_LARGE as error:
            raise self._too_large(chunk, error) from None

    def _fitting(self, message: Message) -> Message:
        topic = message.topic
        if topic == self._topics.dead_letter and batch_bytes(message) > self._limits[topic]:
            return cut(message, self._limits[topic])
        return message

    def _learn_limits(self, topics: Collection[str]) -> None:
        """Ask for `max.message.bytes` of `topics`; Kafka's default is taken where the broker does not tell."""
        if not topics:
            return
        self._limits |= dict.fromkeys(topics, DEFAULT_LIMIT)
        with suppress(KafkaError, OSError, KeyError), closing(KafkaAdminClient(**self._asking)) as admin:
            resources = [ConfigResource("TOPIC", topic) for topic in topics]
            found = admin.describe_configs(resources, config_filter="all")["topic"]
            self._limits |= {topic: int(found[topic]["max.message.bytes"]["value"]) for topic in topics}

    def _too_large(self, chunk: Sequence[Message], error: KafkaError) -> Exception:
        """A topic's limit was lowered meanwhile: dead letters fit once it is known, a forecast never will.

        kafka-python fails all that it holds with the same error: only sizes tell whose fault it is.
        """
        before = dict(self._limits)
        self._learn_limits({message.topic for message in chunk})
        for message in chunk:
            size = batch_bytes(message)
            if message.topic != self._topics.dead_letter and size > self._limits[message.topic]:
                return ForecasterError(f"{message.topic}: its max.message.bytes refuses a message of {size} bytes")
        if self._limits == before:  # asking did not help
            self._limits = {topic: limit // 2 for topic, limit in self._limits.items()}
            if min(self._limits.values()) < SMALLEST_LIMIT:
                name = self._topics.dead_letter
                return ForecasterError(f"{name}: its max.message.bytes refuses even an empty dead letter")
        return RetryableError(f"could not publish: {one_line(error)}")


def batch_bytes(message: Message) -> int:
    """Bytes of a record batch that holds `message` alone, at most."""
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(message.key, message.value, list(message.headers))
    return size


def cut(message: Message, limit: int) -> Message:
    """A dead letter that fits `limit`: with less of its value, or with our own headers alone."""
    note = ("forecaster-truncated", str(len(message.value or b"")).encode())
    noted = message._replace(headers=[*message.headers, note])
    room = limit - batch_bytes(noted._replace(value=b""))
    if room >= 0:
        return noted._replace(value=(message.value or b"")[:room])
    own = [header for header in noted.headers if header[0].startswith("forecaster-")]
    return Message(message.topic, None, b"", own)


def _end(producer: Any) -> None:
    # close() alone first waits for the messages and, when they do not leave in time, closes nothing.
    producer._sender.force_close()  # noqa: SLF001
    producer._sender.join(GRACE_SECONDS)  # noqa: SLF001
    with suppress(KafkaError):
        producer.close(timeout=0)


def _chunks(messages: Sequence[Message]) -> Iterator[list[Message]]:
    chunk: list[Message] = []
    size = 0
    for message in messages:
        chunk.append(message)
        size += len(message.value or b"") + len(message.key or b"") + RECORD_OVERHEAD
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
