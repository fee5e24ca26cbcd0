"""Where each assigned partition stands, and what the daemon has yet to hear of those that came or went."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from forecaster.checkpoint.reader import Found
from forecaster.kafka.client import Incident
from forecaster.kafka.python_restore import Start
from forecaster.kafka.python_rows import Row
from forecaster.records import RecordBatch

Polled = Sequence[tuple[int, list[Row]]]  # by partition


@dataclass(slots=True)
class Place:
    """Where a partition stands: below `resume`, its committed offset, records are silent; `next` is polled next."""

    resume: int
    next: int
    time_ms: int | None = None  # the timestamp of the record before


class Places:
    """Bookkeeping alone: asks nobody anything."""

    def __init__(self) -> None:
        self.of: dict[int, Place] = {}
        self.unplaced: set[int] = set()  # assigned, but where to read from is not known yet
        self._dropped: dict[int, None] = {}
        self._restored: dict[int, Found] = {}
        self.incidents: list[Incident] = []

    def release(self, numbers: Iterable[int]) -> None:
        """Forget where partitions stand: their state is dropped and they are placed anew."""
        for number in numbers:
            self.of.pop(number, None)
            self._restored.pop(number, None)
            self._dropped[number] = None
            self.unplaced.add(number)

    def begin(self, number: int, start: Start) -> None:
        """From now on a partition is read from where `start` says."""
        self.unplaced.discard(number)
        self.of[number] = Place(start.resume, start.restore)
        self.incidents += start.incidents
        if start.found is not None:
            self._restored[number] = start.found

    def positions(self) -> dict[int, int]:
        """The offset behind what was polled, of partitions that are no longer replayed."""
        return {number: place.next for number, place in self.of.items() if place.next >= place.resume}

    def to_commit(self, checkpointed: Collection[int]) -> dict[int, int]:
        """What to commit: never below the committed offset while a partition is replayed."""
        return {
            number: max(place.next, place.resume)
            for number, place in self.of.items()
            if place.next > place.resume or number in checkpointed
        }

    def committed(self, offsets: dict[int, int]) -> None:
        """These offsets were committed."""
        for number, offset in offsets.items():
            self.of[number].resume = offset

    def dropped(self) -> list[int]:
        """Partitions released since the last call."""
        dropped, self._dropped = sorted(self._dropped), {}
        return dropped

    def restored(self) -> dict[int, Found]:
        """What the state topic has of partitions begun since the last call."""
        restored, self._restored = self._restored, {}
        return restored

    def told(self) -> list[Incident]:
        """Incidents since the last call."""
        incidents, self.incidents = self.incidents, []
        return incidents

    def batch(self, topic: str, polled: Polled) -> RecordBatch:
        """Records of placed partitions as columns; they have been taken now."""
        sizes = [len(rows) for _, rows in polled]
        numbers = [number for number, _ in polled]
        columns = list(zip(*(row for _, rows in polled for row in rows), strict=True)) or [()] * 5
        offset = np.array(columns[0], np.int64)
        for number, rows in polled:
            self.of[number].next = rows[-1][0] + 1
            self.of[number].time_ms = rows[-1][1]
        resume = np.array([self.of[number].resume for number in numbers], np.int64)
        return RecordBatch(
            topic=topic,
            partition=np.repeat(np.array(numbers, np.int64), sizes),
            offset=offset,
            timestamp_ms=np.array(columns[1], np.int64),
            key=list(columns[2]),
            value=list(columns[3]),
            headers=list(columns[4]),
            silent=offset < np.repeat(resume, sizes),
        )
