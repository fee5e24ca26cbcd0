"""An idempotent producer that returns once every message is acknowledged, or says that one was not."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import KafkaProducer, Serializer
from kafka.errors import KafkaError, MessageSizeTooLargeError, RecordListTooLargeError

from forecaster.config import Settings
from forecaster.errors import ForecasterError
from forecaster.kafka.python_connect import routed
from forecaster.records import Message

CHUNK_BYTES = 16 * 2**20  # in flight at once: kafka-python 3 has no bound of its own
BATCH_BYTES = 256 * 2**10
LINGER_MS = 20  # costs no latency, since every chunk ends in a flush
MAX_REQUEST_BYTES = 64 * 2**20  # the broker's limit decides, not the client's
RECORD_OVERHEAD = 64
KEPT_BYTES = (512 * 2**10, 16 * 2**10, 0)  # of a dead letter that is too large, tried in this order
GRACE_SECONDS = 1.0  # a future expires by itself shortly after its delivery timeout
TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)

NULL = object()  # a value of None: kafka-python refuses it beside a key of None, yet such records exist


class _NullSerializer(Serializer):  # type: ignore[misc]  # kafka-python ships no types
    def serialize(self, topic: str, headers: object, data: object) -> object:  # noqa: ARG002
        return None if data is NULL else data


class Publisher:
    """Owns the producer: made when first needed, thrown away after a failure."""

    def __init__(self, settings: Settings, options: Mapping[str, Any]) -> None:
        self._dead_letter = settings.topics.dead_letter
        self._timeout = settings.kafka.delivery_timeout / 1_000
        delivery_ms = settings.kafka.delivery_timeout
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
            "bootstrap_timeout_ms": delivery_ms,
            "metrics_enabled": False,
            "value_serializer": _NullSerializer(),
        }
        self._producer: Any = None

    def publish(self, messages: Sequence[Message]) -> None:
        """Send `messages` and wait for every acknowledgement; a dead letter that is too large is cut."""
        try:
            for chunk in _chunks(messages):
                for message in self._deliver(chunk):
                    self._deliver_alone(message)
        except (KafkaError, ValueError) as error:  # ValueError: the topic went away under the partitioner
            raise routed(error, "publish") from None

    def discard(self) -> None:
        """Throw the producer away with whatever it still holds, so that nothing is sent behind our back."""
        producer, self._producer = self._producer, None
        if producer is None:
            return
        # close() alone first waits for the messages and, when they do not leave in time, closes nothing.
        producer._sender.force_close()  # noqa: SLF001
        producer._sender.join(GRACE_SECONDS)  # noqa: SLF001
        with suppress(KafkaError):
            producer.close(timeout=0)

    def _deliver(self, chunk: Sequence[Message]) -> list[Message]:
        """Return the messages of `chunk` that were refused as too large; all others are acknowledged.

        kafka-python then fails every message it still holds with the same error and the producer
        is of no more use: only a message that was sent alone is known to be too large itself.
        """
        if self._producer is None:
            self._producer = KafkaProducer(**self._options)
        deadline = time.monotonic() + self._timeout + GRACE_SECONDS
        futures = [self._send(message) for message in chunk]
        self._producer.flush(timeout=max(0.0, deadline - time.monotonic()))
        refused = [message for message, future in zip(chunk, futures, strict=True) if not _delivered(future, deadline)]
        if refused:
            self.discard()
        return refused

    def _send(self, message: Message) -> Any:
        """Return the future of `message`, or None where kafka-python finds it too large itself."""
        topic, key, value, headers = message
        try:
            return self._producer.send(topic, NULL if value is None else value, key, list(headers))
        except TOO_LARGE:
            return None

    def _deliver_alone(self, message: Message) -> None:
        """Deliver one message by itself; of a dead letter that is too large, less and less."""
        if not self._deliver([message]):
            return
        if message.topic != self._dead_letter:
            size = len(message.value or b"")
            raise ForecasterError(f"{message.topic}: its max.message.bytes refuses a message of {size} bytes")
        for kept in KEPT_BYTES:
            if not self._deliver([cut(message, kept)]):
                return
        raise ForecasterError(f"{message.topic}: its max.message.bytes refuses even an empty dead letter")


def cut(message: Message, kept: int) -> Message:
    """Return a dead letter with at most `kept` bytes of its value; at 0 only our own headers are left."""
    note = ("forecaster-truncated", str(len(message.value or b"")).encode())
    if kept == 0:
        own = [header for header in message.headers if header[0].startswith("forecaster-")]
        return Message(message.topic, None, b"", [*own, note])
    value = message.value if message.value is None else message.value[:kept]
    return message._replace(value=value, headers=[*message.headers, note])


def _delivered(future: Any, deadline: float) -> bool:
    """Whether the broker took the message; False when it is too large, `KafkaError` for all else."""
    if future is None:
        return False
    if future.succeeded():
        return True
    try:
        future.get(timeout=max(0.0, deadline - time.monotonic()))
    except TOO_LARGE:
        return False
    return True


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
