"""Reads the state topic for partitions that were just assigned, a fetch at a time, while the others go on."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from forecaster.checkpoint.reader import Reader
from forecaster.kafka.python_offsets import log_begins, log_ends

ANSWER_MS = 5_000
STALL_SECONDS = 30.0  # without a step forward: the log was cut or made anew, and its end is no longer where it was


class StateTopic:
    """Reads, for each wanted input partition, its partition of the state topic up to the end that it has by then.

    The end is a position: behind the last record there may be the markers of transactions. Any failure
    leaves things such that the next call goes on. Of an input partition that its part has nothing of all parts are
    read: the topic may have had fewer when its state was written.
    """

    def __init__(self, topic: str, options: Mapping[str, Any], make_reader: Callable[[int], Reader]) -> None:
        self._topic, self._options, self._make_reader = topic, options, make_reader
        self._consumer: Any = None
        self._readers: dict[int, Reader] = {}  # by input partition
        self._anywhere: set[int] = set()  # those of which all parts are read
        self._count = 0  # of parts, when it was looked at first
        self._ends: dict[TopicPartition, int] = {}  # of those that are read now
        self._at: dict[TopicPartition, int] = {}
        self._waited = 0.0  # seconds in which none of them went on

    def partition_for(self, number: int) -> int:
        """The partition of the state topic that holds the state of input partition `number`.

        The same one all the time, should the topic grow: what a delta lies over is there. Raises `KafkaError` while
        there is no such topic.
        """
        count = self._partitions()
        self._count = min(self._count or count, count)
        return number % self._count

    def _partitions(self) -> int:
        cluster = self._open()._cluster  # noqa: SLF001  # asked of the consumer it would wait without a limit
        known = cluster.partitions_for_topic(self._topic)
        if not known:
            cluster.request_update()
            raise KafkaTimeoutError(f"there is no topic {self._topic}")
        return len(known)

    def _parts(self, number: int) -> set[TopicPartition]:
        """Those that are read for input partition `number`."""
        parts = range(self._partitions()) if number in self._anywhere else [self.partition_for(number)]
        return {TopicPartition(self._topic, part) for part in parts}

    def forget(self, numbers: Iterable[int]) -> None:
        """Stop reading for these input partitions, which another worker has now or which are placed."""
        for number in numbers:
            self._readers.pop(number, None)
            self._anywhere.discard(number)

    def read(self, wanted: Iterable[int], timeout_ms: int) -> dict[int, Reader]:
        """Go on reading for input partitions `wanted`; the readers of those that have everything.

        Raises `KafkaError` where the broker does not answer.
        """
        consumer = self._open()
        self._want(sorted(set(wanted) - self._readers.keys()))
        if any(self._at[part] < end for part, end in self._ends.items()):
            self._go_on(consumer, timeout_ms)
        done = {number: reader for number, reader in self._readers.items() if self._complete(number)}
        if self._partitions() > 1:
            self._look_anywhere({number for number, reader in done.items() if reader.empty} - self._anywhere)
        return {number: reader for number, reader in done.items() if number in self._readers}

    def _look_anywhere(self, numbers: set[int]) -> None:
        """Begin anew with input partitions `numbers`, in all parts."""
        self._anywhere |= numbers
        for number in numbers:
            del self._readers[number]

    def close(self) -> None:
        """Close the connection and forget everything."""
        consumer, self._consumer = self._consumer, None
        self._readers, self._ends, self._at = {}, {}, {}
        self._anywhere.clear()
        if consumer is not None:
            consumer.close()

    def _open(self) -> Any:
        if self._consumer is None:
            self._consumer = KafkaConsumer(**{**self._options, "bootstrap_timeout_ms": ANSWER_MS})
            if not self._consumer.partitions_for_topic(self._topic):
                self.close()
                raise KafkaTimeoutError(f"no metadata of {self._topic}")
        return self._consumer

    def _want(self, numbers: list[int]) -> None:
        """Begin with input partitions `numbers`, at the beginning of their parts of the state topic."""
        if not numbers:
            return
        parts = set[TopicPartition]().union(*map(self._parts, numbers))
        begins = log_begins(self._consumer, parts, ANSWER_MS)
        ends = log_ends(self._consumer, parts, ANSWER_MS)
        self._readers |= {number: self._make_reader(number) for number in numbers}
        still = {part for part, end in self._ends.items() if self._at[part] < end}
        self._at = {part: self._at[part] for part in still} | begins
        self._ends = {part: self._ends[part] for part in still} | ends
        self._waited = 0.0
        self._consumer.assign(sorted(self._ends))
        for part, offset in self._at.items():
            self._consumer.seek(part, offset)

    def _go_on(self, consumer: Any, timeout_ms: int) -> None:
        before, begun = self._at, time.monotonic()
        for part, rows in consumer.poll(timeout_ms=timeout_ms).items():
            self._add(part, rows)
        self._at = {part: consumer.position(part, timeout_ms=ANSWER_MS) or 0 for part in self._ends}
        self._waited = 0.0 if self._at != before else self._waited + time.monotonic() - begun
        if self._waited > STALL_SECONDS:
            self.close()
            raise KafkaTimeoutError(f"{self._topic} gave nothing for {STALL_SECONDS:g} s; beginning anew")

    def _add(self, part: TopicPartition, rows: list[Any]) -> None:
        readers = [reader for number, reader in self._readers.items() if part in self._parts(number)]
        for row in rows:
            for reader in readers:
                reader.add(row.key, row.value)

    def _complete(self, number: int) -> bool:
        return all(self._at[part] >= self._ends[part] for part in self._parts(number) if part in self._ends)
