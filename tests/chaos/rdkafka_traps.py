"""The traps of `traps` around librdkafka, which is no Python inside: its two classes are replaced by these."""

import time
from typing import Any

import confluent_kafka
from confluent_kafka import KafkaException

from chaos.traps import Trap
from forecaster.kafka import rdkafka_membership, rdkafka_publisher

MOMENT = 0.001  # seconds, in which a request leaves


def install_in_librdkafka(trap: Trap) -> None:
    """Put `trap` around what the daemon calls of it."""
    rdkafka_membership.Consumer = type("Consumer", (_Consumer,), {"trap": trap})
    rdkafka_publisher.Producer = type("Producer", (_Producer,), {"trap": trap})


class _Consumer(confluent_kafka.Consumer):
    trap: Trap

    def consume(self, *arguments: Any) -> list[Any]:
        messages = super().consume(*arguments)
        self.trap.polled({message.topic() for message in messages if message.error() is None})
        return messages


class _Producer(confluent_kafka.Producer):
    trap: Trap

    def begin_transaction(self) -> None:
        super().begin_transaction()
        self.trap.hit("begun")

    def produce(self, topic: str, value: bytes | None, key: bytes | None, *others: Any, **more: Any) -> None:
        super().produce(topic, value, key, *others, **more)
        self.trap.given(topic, key)

    def flush(self, timeout: float) -> int:
        self.trap.hit("flushing")
        deadline, before = time.monotonic() + timeout, len(self)
        while (left := super().flush(MOMENT)) == before and time.monotonic() < deadline:
            pass
        if left < before:
            self.trap.hit("acknowledged")
        left = super().flush(max(0.0, deadline - time.monotonic()))
        if not left:
            self.trap.hit("flushed")
        return left

    def send_offsets_to_transaction(self, *arguments: Any) -> None:
        self.trap.hit("offsets")
        super().send_offsets_to_transaction(*arguments)
        self.trap.hit("offsets-sent")

    def commit_transaction(self, timeout: float) -> None:
        self.trap.hit("committing")
        if self.trap.label == "unanswered":
            self._commit_a_little()
        super().commit_transaction(timeout)
        self.trap.ended()

    def _commit_a_little(self) -> None:
        """Begin a commit that the next call goes on with: without waiting at all its answer is never seen."""
        try:
            super().commit_transaction(0)
        except KafkaException:
            time.sleep(MOMENT)
            self.trap.hit("unanswered")
