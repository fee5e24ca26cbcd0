"""How large a message may be, and what is done about one that is larger."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from itertools import pairwise
from typing import Any

import numpy as np
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from kafka.errors import KafkaError
from kafka.record.default_records import DefaultRecordBatchBuilder

from forecaster.errors import ForecasterError, RetryableError
from forecaster.records import Message

CHUNK_BYTES = 16 * 2**20  # in flight at once
RECORD_OVERHEAD = 64
ANSWER_MS = 1_000  # for what can be done without
DEFAULT_LIMIT = 1_048_588  # bytes of a record batch: Kafka's own default
SMALLEST_LIMIT = 1_024
OWN_HEADERS = frozenset(("forecaster-reason", "forecaster-error", "forecaster-source", "forecaster-truncated"))


class Limits(dict[str, int]):
    """The largest record batch by topic, in bytes, as far as it is known."""

    def __init__(self, dead_letter: str, options: Mapping[str, Any]) -> None:
        super().__init__()
        self._dead_letter = dead_letter
        self._asking = {**options, "bootstrap_timeout_ms": ANSWER_MS, "request_timeout_ms": ANSWER_MS}

    def learn(self, topics: Collection[str]) -> None:
        """Ask for `max.message.bytes` of `topics`; Kafka's default is taken where the broker does not tell."""
        if not topics:
            return
        self.update(dict.fromkeys(topics, DEFAULT_LIMIT))
        with suppress(KafkaError, OSError, KeyError), closing(KafkaAdminClient(**self._asking)) as admin:
            resources = [ConfigResource("TOPIC", topic) for topic in topics]
            found = admin.describe_configs(resources, config_filter="all")["topic"]
            self.update({topic: int(found[topic]["max.message.bytes"]["value"]) for topic in topics})

    def fitting(self, messages: Sequence[Message]) -> list[Message]:
        """`messages`, with dead letters that are too large cut to what fits."""
        return [self._cut(message) if message[0] == self._dead_letter else message for message in messages]

    def _cut(self, message: Message) -> Message:
        limit = self[message.topic]
        return cut(message, limit) if batch_bytes(message) > limit else message

    def refused(self, messages: Sequence[Message], reason: str) -> Exception:
        """A topic's limit was lowered meanwhile: dead letters fit once it is known, a forecast never will.

        The libraries fail all that they hold with the same error: only sizes tell whose fault it is.
        """
        before = dict(self)
        self.learn({message.topic for message in messages})
        for message in messages:
            size = batch_bytes(message)
            if message.topic != self._dead_letter and size > self[message.topic]:
                return ForecasterError(f"{message.topic}: its max.message.bytes refuses a message of {size} bytes")
        if self == before:  # asking did not help
            self.update({topic: limit // 2 for topic, limit in self.items()})
            if min(self.values()) < SMALLEST_LIMIT:
                name = self._dead_letter
                return ForecasterError(f"{name}: its max.message.bytes refuses even an empty dead letter")
        return RetryableError(f"could not publish: {reason}")


def batch_bytes(message: Message) -> int:
    """Bytes of a record batch that holds `message` alone, at most."""
    size: int = DefaultRecordBatchBuilder.estimate_size_in_bytes(message.key, message.value, list(message.headers))
    return size


def cut(message: Message, limit: int) -> Message:
    """A dead letter that fits `limit`: with less of its value, or with our own headers alone."""
    note = ("forecaster-truncated", str(len(message.value or b"")).encode())
    noted = message._replace(headers=[*message.headers, note])
    room = len(message.value or b"") - (batch_bytes(noted) - limit)
    if room >= 0:
        return noted._replace(value=(message.value or b"")[:room])
    own = {name: value for name, value in noted.headers if name in OWN_HEADERS}  # the last of each is ours
    return Message(message.topic, None, b"", list(own.items()))


def chunks(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    """`messages` in order, in pieces that bound what is in flight."""
    sizes = (len(key or b"") + len(value or b"") + RECORD_OVERHEAD for _, key, value, *_ in messages)
    piece = np.cumsum(np.fromiter(sizes, np.int64, len(messages))) // CHUNK_BYTES
    ends = [*(np.flatnonzero(np.diff(piece)) + 1).tolist(), len(messages)] if len(messages) else []
    for begin, end in pairwise([0, *ends]):
        yield messages[begin:end]
