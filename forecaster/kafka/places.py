"""Where each assigned partition stands, and what the daemon has yet to hear of those that came or went."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np

from forecaster.checkpoint.reader import Found
from forecaster.kafka.client import Incident
from forecaster.kafka.halves import Rows
from forecaster.kafka.restore import Start
from forecaster.records import RecordBatch


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

    def batch(self, topic: str, polled: Mapping[int, Rows]) -> RecordBatch:
        """Records of placed partitions as columns; they have been taken now."""
        sizes = [len(rows.offset) for rows in polled.values()]
        offset = np.fromiter(chain.from_iterable(rows.offset for rows in polled.values()), np.int64, sum(sizes))
        times = chain.from_iterable(rows.timestamp_ms for rows in polled.values())
        for number, rows in polled.items():
            self.of[number].next = rows.offset[-1] + 1
            self.of[number].time_ms = rows.timestamp_ms[-1]
        resume = np.array([self.of[number].resume for number in polled], np.int64)
        return RecordBatch(
            topic=topic,
            partition=np.repeat(np.array(list(polled), np.int64), sizes),
            offset=offset,
            timestamp_ms=np.fromiter(times, np.int64, sum(sizes)),
            key=list(chain.from_iterable(rows.key for rows in polled.values())),
            value=list(chain.from_iterable(rows.value for rows in polled.values())),
            headers=list(chain.from_iterable(rows.headers for rows in polled.values())),
            silent=offset < np.repeat(resume, sizes),
        )
