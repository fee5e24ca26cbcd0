"""Wall clocks: what the clock of a place reads at an event time, and when it reads what.

The rules are those of the machine's own tz database, or of the package `tzdata` where it has none.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np

from forecaster.records import Int

DAY_S = 86_400
END_S = int(datetime(2101, 1, 1, tzinfo=UTC).timestamp())  # rules beyond are nobody's; the last offset stays


@dataclass(frozen=True, slots=True, eq=False)
class Zone:
    """The wall clock of a time zone: its `offset_ms` `[k + 1]` to UTC before and behind each change `at_ms` `[k]`."""

    at_ms: Int
    offset_ms: Int

    def wall_ms(self, time_ms: Int) -> Int:
        """What the clock reads at event times, as if it read UTC."""
        wall: Int = time_ms + self.offset_ms[reached(self.at_ms, time_ms)]
        return wall

    def time_ms(self, wall_ms: Int) -> Int:
        """When the clock reads `wall_ms`: the first time where it does twice; the moment it skips them where never."""
        before, after = self.offset_ms[:-1], self.offset_ms[1:]
        stretch = reached(self.at_ms + np.maximum(before, after), wall_ms)
        skipped = np.append(self.at_ms, np.iinfo(np.int64).max)[stretch]
        time: Int = np.minimum(wall_ms - self.offset_ms[stretch], skipped)
        return time


def reached(edges: Int, place: Int) -> Int:
    """How many of `edges`, ascending, each `place` has reached.

    Only those between the lowest and the highest place are looked at: mostly none.
    """
    if not place.size:
        return np.zeros(place.shape, np.int64)
    low, high = np.searchsorted(edges, [place.min(), place.max()], "right").tolist()
    found: Int = low + np.searchsorted(edges[low:high], place, "right")
    return found


@cache
def zone(name: str) -> Zone:
    """The wall clock of the IANA time zone `name` from 1970 to 2100."""
    place = ZoneInfo(name)

    def offset_s(second: int) -> int:
        offset = datetime.fromtimestamp(second, place).utcoffset()
        return 0 if offset is None else int(offset.total_seconds())

    days = range(0, END_S, DAY_S)
    offsets = [offset_s(day) for day in days]
    found = [day for n, day in enumerate(days[1:]) if offsets[n + 1] != offsets[n]]
    at_s = [_change(offset_s, day - DAY_S, day) for day in found]
    kept = [offsets[0], *(offset_s(second) for second in at_s)]
    return Zone(1000 * np.array(at_s, np.int64), 1000 * np.array(kept, np.int64))


def _change(offset_s: Callable[[int], int], low: int, high: int) -> int:
    """The first second in (low, high] at which the offset is no longer that of `low`, by bisection."""
    before = offset_s(low)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if offset_s(middle) == before else (low, middle)
    return high
