"""All that the page knows: the names of series, what is drawn of some, and the fleet at a glance."""

import heapq
import threading
from collections import Counter
from typing import Any

import numpy as np

from forecaster.config import Settings
from forecaster.formats.json_ticks import MOST_SERIES_BYTES, JsonTickDecoder
from forecaster.records import RecordBatch
from forecaster.vocabulary import Vocabulary
from forecaster.web.answers import Answers
from forecaster.web.fans import UNREADABLE, FanReader, read_head
from forecaster.web.observed import Observed

MOST_NAMES = 100_000
MOST_BYTES = 2**20  # of an answer that is drawn
LISTED = 10  # series in each list
FOUND = 50  # names in the answer to a search
SHORTEST, LONGEST = 240, 2_000  # observations that are kept of a series


class Fleet:
    """Fed on threads of its readers, asked on that of the server; `horizon` is the model's."""

    def __init__(self, settings: Settings, horizon: int) -> None:
        coded = settings.model.coded
        self._settings, self._coded = settings, coded
        self._length = min(LONGEST, max(SHORTEST, 4 * horizon))
        self._decoder = JsonTickDecoder(settings.input, Vocabulary(()) if coded else None)
        self.channels = settings.input.channels
        self._room = max(1, settings.web.max_series // max(1, len(self.channels)))  # for series that are drawn
        self._fans = FanReader(self.channels)
        self._observed = Observed(settings, self._length)
        self._lock = threading.Lock()
        self._seen_ms: dict[str, int] = {}  # by name: when its newest record was written
        self._answers: dict[str, Answers] = {}  # of the series that are drawn
        self._watched: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()  # of what is not shown: "unreadable", "skipped", "unnamed"

    def take_ticks(self, records: RecordBatch, now_ms: int) -> None:
        """Take records of one partition of the input topic."""
        ticks = self._decoder.decode(records)
        ticks = ticks.take(~ticks.ahead(records, self._settings.stream.max_future))
        with self._lock:
            self.counts["unreadable"] += len(ticks.faults)
            for name, row in zip(ticks.series, ticks.record.tolist(), strict=True):
                self._see(name, int(records.timestamp_ms[row]), now_ms)
            if len(ticks) and not self._coded:  # codes are not drawn
                drawn = ticks.take(np.array([name in self._answers for name in ticks.series]))
                self._observed.add(int(records.partition[0]), drawn)

    def take_answers(self, records: RecordBatch, now_ms: int) -> None:
        """Take records of one partition of the output topic."""
        with self._lock:
            for value, timestamp_ms in zip(records.value, records.timestamp_ms.tolist(), strict=True):
                self._take_answer(value or b"", timestamp_ms, now_ms)

    def _take_answer(self, value: bytes, timestamp_ms: int, now_ms: int) -> None:
        try:
            head = read_head(value) if len(value) <= MOST_BYTES else None
        except UNREADABLE:
            head = None
        if head is None or not 0 < len(head.series.encode()) <= MOST_SERIES_BYTES:
            self.counts["unreadable"] += 1
            return
        self._see(head.series, timestamp_ms, now_ms)
        if (answers := self._answers.get(head.series)) is not None:
            answers.add(head, value, *self._observed.of(head.series))

    def _see(self, name: str, timestamp_ms: int, now_ms: int) -> None:
        """Note that a series has moved; the first ones are drawn, as many as there is room for."""
        if name not in self._seen_ms and len(self._seen_ms) >= MOST_NAMES:
            self.counts["unnamed"] += 1
            return
        seen_ms = timestamp_ms if 0 <= timestamp_ms < now_ms else now_ms
        self._seen_ms[name] = max(seen_ms, self._seen_ms.get(name, 0))
        if name not in self._answers and (len(self._answers) < self._room or name in self._watched):
            self._draw(name)
        if (answers := self._answers.get(name)) is not None:
            answers.version += 1

    def skip(self, records: int) -> None:
        """Records were not read, for lack of time."""
        with self._lock:
            self.counts["skipped"] += records

    def knows(self, name: str) -> bool:
        """Whether a series of that name has been seen."""
        with self._lock:
            return name in self._seen_ms

    def watch(self, name: str) -> None:
        """Somebody looks at a series: it is drawn from now on, in the place of one that nobody looks at."""
        with self._lock:
            self._watched[name] += 1
            if name not in self._answers and name in self._seen_ms:
                self._draw(name)

    def _draw(self, name: str) -> None:
        """Draw a series from now on, where all the room is taken in the place of one that nobody looks at."""
        if len(self._answers) >= self._room:
            idle = next((one for one in self._answers if one not in self._watched), None)
            if idle is None:
                return
            del self._answers[idle]
            self._observed.forget(idle)
        self._answers[name] = Answers(self._fans, self._length)

    def unwatch(self, name: str) -> None:
        """Somebody has stopped looking at a series."""
        with self._lock:
            self._watched[name] -= 1
            if self._watched[name] <= 0:
                del self._watched[name]

    def search(self, text: str) -> dict[str, Any]:
        """The first names that contain `text`, whatever the case, and how many do."""
        wanted = text.casefold()
        with self._lock:
            names = list(self._seen_ms)
        found = [name for name in names if wanted in name.casefold()]
        return {"total": len(found), "names": heapq.nsmallest(FOUND, found)}

    def glance(self, now_ms: int) -> dict[str, Any]:
        """The fleet as a whole: the worst and the stale series, the worst first, and what is not shown."""
        stale_ms = now_ms - self._settings.web.stale_after
        with self._lock:
            ratios = [(ratio, name, place) for name, one in self._answers.items() for ratio, place in one.worst()]
            silent = [(seen_ms, name) for name, seen_ms in self._seen_ms.items() if seen_ms < stale_ms]
            names, drawn, first = len(self._seen_ms), len(self._answers), next(iter(self._answers), None)
            counts = dict(self.counts)
        return {
            "names": names,
            "drawn": drawn,
            "first": first,
            "scored": len(ratios),
            "worst": [self._bad(*one) for one in heapq.nlargest(LISTED, ratios)],
            "stale": [{"name": name, "silent_ms": now_ms - ms} for ms, name in heapq.nsmallest(LISTED, silent)],
            "stale_count": len(silent),
            "counts": counts,
        }

    def _bad(self, ratio: float, name: str, place: int) -> dict[str, Any]:
        return {"name": name, "channel": self.channels[place] if self.channels else None, "ratio": ratio}

    def version(self, name: str) -> int:
        """Grows whenever there is something new to show of a series."""
        with self._lock:
            answers = self._answers.get(name)
            return 0 if answers is None else answers.version

    def series(self, name: str, channel: str | None = None) -> dict[str, Any]:
        """What is shown of one series, or of a channel of it, the first one where there is no such `channel`.

        `time_ms` and `value` are what was observed.
        """
        place = self.channels.index(channel) if channel in self.channels else 0
        with self._lock:
            answers = self._answers.get(name)
            times_ms, values = self._observed.of(name)
            shown = {} if answers is None else answers.shown(place)
            seen_ms = self._seen_ms.get(name)
        told = {"name": name, "channel": self.channels[place] if self.channels else None, "seen_ms": seen_ms}
        return told | {"time_ms": times_ms, "value": values[:, place].tolist(), **shown}
