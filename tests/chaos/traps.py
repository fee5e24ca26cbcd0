"""Points inside the client libraries at which a worker can be made to stop itself. The product knows nothing of them.

A worker has one trap: a label and how many times it is still passed. At the last one the process
stops itself (SIGSTOP), with all its threads; whoever watches it then kills it, breaks something
else and lets it go on, or lets time pass. SIGUSR1 makes the worker read its trap anew.
"""

import functools
import json
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, KafkaProducer
from kafka.producer.sender import Sender
from kafka.producer.transaction_manager import EndTxnHandler, TransactionManager, TxnOffsetCommitHandler

from forecaster.kafka import python_batches, python_publisher
from forecaster.records import Message

LABELS = {
    "polled": "poll has returned ticks",
    "restoring": "a record of the state topic has been read",
    "replaying": "poll has returned ticks, and no output was sent since the start",
    "begun": "a transaction has begun",
    "forecast-sent": "a forecast was given to the producer",
    "letter-sent": "a dead letter was given to the producer",
    "chunk-sent": "a piece of a checkpoint was given to the producer",
    "manifest-sent": "the manifest of a checkpoint was given to the producer",
    "acknowledged": "an answer to a produce request has come, others have not",
    "flushing": "about to flush",
    "flushed": "everything is acknowledged",
    "offsets": "about to send the offsets",
    "offsets-sent": "the offsets are in the transaction",
    "committing": "about to commit",
    "unanswered": "the commit was sent, its answer not seen",
    "committed": "the commit was answered",
    "checkpointed": "the commit that holds a manifest was answered",
}


class Trap:
    """The armed label, read from the file `path`: {"label": …, "passes": …}."""

    def __init__(self, path: Path, topics: dict[str, str]) -> None:
        self._path, self.topics = path, topics
        self.sent = self.manifest = False
        self.read()

    def read(self, *_: object) -> None:
        """Arm what the file says."""
        wanted = json.loads(self._path.read_text())
        self.label, self._left = wanted["label"], wanted["passes"]

    def hit(self, label: str) -> None:
        """Stop here if this is the point."""
        if label != self.label:
            return
        self._left -= 1
        if self._left <= 0:
            self.label = None
            os.kill(os.getpid(), signal.SIGSTOP)

    def polled(self, topics: set[str]) -> None:
        """After records of these topics have been read."""
        if self.topics["state"] in topics:
            self.hit("restoring")
        if self.topics["input"] in topics:
            self.hit("polled")
            if not self.sent:
                self.hit("replaying")

    def given(self, topic: str, key: bytes | None) -> None:
        """After a message of that topic and key was given to the producer."""
        self.sent = True
        if topic == self.topics["output"]:
            self.hit("forecast-sent")
        elif topic == self.topics["dead"]:
            self.hit("letter-sent")
        elif topic == self.topics["state"]:
            self.manifest = (key or b"").rsplit(b"/", 1)[-1].startswith(b"m")
            self.hit("manifest-sent" if self.manifest else "chunk-sent")

    def ended(self) -> None:
        self.hit("committed")
        if self.manifest:
            self.manifest = False
            self.hit("checkpointed")


def install(path: Path, topics: dict[str, str], client: str) -> None:
    """Put the trap of the file `path` into the library of `client`, and into what kafka-python does for both."""
    trap = Trap(path, topics)
    signal.signal(signal.SIGUSR1, trap.read)
    _after(KafkaConsumer, "poll", lambda result, *_, **__: trap.polled({part.topic for part in result}))
    _before(KafkaConsumer, "commit", lambda: trap.hit("offsets"))
    _after(KafkaConsumer, "commit", lambda *_, **__: trap.hit("committed"))
    if client == "librdkafka":
        from chaos.rdkafka_traps import install_in_librdkafka

        install_in_librdkafka(trap)
    else:
        _install_in_producer(trap)


def _install_in_producer(trap: Trap) -> None:
    _after(KafkaProducer, "begin_transaction", lambda *_: trap.hit("begun"))
    _install_in_batches(trap)
    _before(KafkaProducer, "flush", lambda: trap.hit("flushing"))
    _after(KafkaProducer, "flush", lambda *_, **__: trap.hit("flushed"))
    _after(Sender, "_handle_produce_response", lambda *_: trap.hit("acknowledged"))
    _before(EndTxnHandler, "handle_response", lambda: trap.hit("unanswered"))
    _after(EndTxnHandler, "handle_response", lambda *_: trap.ended())
    _before(TransactionManager, "send_offsets_to_transaction", lambda: trap.hit("offsets"))
    _before(TransactionManager, "begin_commit", lambda: trap.hit("committing"))
    _after(TxnOffsetCommitHandler, "handle_response", lambda *_: trap.hit("offsets-sent"))


def _install_in_batches(trap: Trap) -> None:
    """The messages of a topic have been given once the first of its batches has: others are still to come."""
    send, enqueue = python_batches.send, python_batches._enqueue
    waiting: list[Message] = []

    def sending(producer: Any, messages: Sequence[Message], *others: Any) -> Any:
        waiting[:] = messages
        return send(producer, messages, *others)

    def enqueued(producer: Any, batch: python_batches.Batch) -> None:
        enqueue(producer, batch)
        topic = batch.topic_partition.topic
        given = [message for message in waiting if message.topic == topic]
        waiting[:] = [message for message in waiting if message.topic != topic]
        for message in given:
            trap.given(topic, message.key)

    python_publisher.send, python_batches._enqueue = sending, enqueued


def _before(owner: type, name: str, action: Callable[[], None]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        action()
        return original(self, *arguments, **options)

    setattr(owner, name, wrapped)


def _after(owner: type, name: str, action: Callable[..., None]) -> None:
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(self: Any, *arguments: Any, **options: Any) -> Any:
        result = original(self, *arguments, **options)
        action(result, *arguments, **options)
        return result

    setattr(owner, name, wrapped)
