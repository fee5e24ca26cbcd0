"""One membership of librdkafka in the consumer group, from the subscription to the close.

A partition is handed to librdkafka once it is known where to read it from, and taken back before that changes:
until then nothing of it is fetched.
"""

import struct
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from forecaster.kafka.halves import Member, Progress
from forecaster.kafka.rdkafka_connect import made

MAGIC = b"CGMDv2:"  # of what confluent-kafka makes of a place in the group: this, the generation, and texts


class Membership:
    """Owns the consumer. Its callbacks run inside of `consume` and `close`."""

    def __init__(self, topic: str, options: Mapping[str, Any]) -> None:
        self._topic = topic
        self.owned: set[int] = set()  # as the group gave them
        self.positions: dict[int, int] = {}  # of those that librdkafka has been handed
        self.notes: deque[tuple[bool, list[int]]] = deque()  # assigned?, partitions
        self._settled = -1  # the generation of the last assignment
        self.consumer = made(Consumer, options)
        self.consumer.subscribe([topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _on_assign(self, consumer: Any, parts: Sequence[TopicPartition]) -> None:
        numbers = [part.partition for part in parts]
        self.owned.update(numbers)
        self.notes.append((True, numbers))
        consumer.incremental_assign([])
        self._settled, _, _ = self._place()

    def _on_revoke(self, consumer: Any, parts: Sequence[TopicPartition]) -> None:
        numbers = [part.partition for part in parts]
        self.owned.difference_update(numbers)
        self.notes.append((False, numbers))
        consumer.incremental_unassign(self._taken_back(numbers))

    def _taken_back(self, numbers: Collection[int]) -> list[TopicPartition]:
        """Those of partitions `numbers` that librdkafka has; from now on it has not."""
        held = [number for number in numbers if self.positions.pop(number, None) is not None]
        return [TopicPartition(self._topic, number) for number in held]

    def hold(self, numbers: Collection[int]) -> None:
        """Implement `Group.hold`."""
        if parts := self._taken_back(numbers):
            self.consumer.incremental_unassign(parts)

    def read_from(self, number: int, offset: int) -> bool:
        """Implement `Group.read_from`."""
        if number not in self.owned:
            return False
        self.hold([number])
        self.consumer.incremental_assign([TopicPartition(self._topic, number, offset)])
        self.positions[number] = offset
        return True

    def moved(self, number: int, position: int) -> None:
        """A partition was read up to `position`."""
        if number in self.positions:
            self.positions[number] = max(self.positions[number], position)

    def progress(self, number: int) -> Progress:
        """Implement `Group.progress`."""
        if number not in self.positions:
            return Progress(None, None)
        _, end = self.consumer.get_watermark_offsets(TopicPartition(self._topic, number), cached=True)
        return Progress(self.positions[number], None if end < 0 else end)

    def _place(self) -> tuple[int, str, bytes]:
        """The generation, the member's name, and the bytes that hold them."""
        metadata: bytes = self.consumer.consumer_group_metadata()
        (generation,) = struct.unpack_from("=i", metadata, len(MAGIC))
        _, name, *_ = metadata[len(MAGIC) + struct.calcsize("=i") :].split(b"\0")
        return generation, name.decode(), metadata

    def member(self) -> Member:
        """Implement `Group.member`.

        Of a newer generation librdkafka has not told yet which partitions it brings.
        """
        generation, name, metadata = self._place()
        return Member(name, bool(name) and 0 <= generation == self._settled, metadata)

    def place(self) -> tuple[int, str] | None:
        """The generation and the member's name; None while it has no place."""
        generation, name, _ = self._place()
        return (generation, name) if name and 0 <= generation == self._settled else None
