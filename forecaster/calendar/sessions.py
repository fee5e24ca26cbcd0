"""Open time: event time without the hours in which a stream is closed.

Everything behind the grid counts in it: a session's last step and the next one's first are neighbours, and a gap, the
lateness and the horizon are as long as what of them is open. Every session begins on a step of its own: where its
length is no whole number of steps the last one is shorter, and counts whole.
"""

from dataclasses import dataclass
from datetime import date
from functools import cache

import numpy as np

from forecaster.calendar.time_zone import DAY_S, END_S, reached, zone
from forecaster.config import SessionSettings
from forecaster.config.sessions import WEEK
from forecaster.records import Bool, Int

MINUTE_MS, DAY_MS = 60_000, 1000 * DAY_S
EPOCH, EPOCH_DAY = date(1970, 1, 1), WEEK.index("thu")


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """`n` sessions by event time `[start_ms, end_ms)`, and the open time `[n + 1]` at which each begins.

    What lies less than `rounding` before the end of a session's last step still belongs to that step.
    """

    start_ms: Int
    end_ms: Int
    begin: Int
    rounding: int

    def is_open(self, time_ms: Int) -> Bool:
        """Which event times lie in a session."""
        place = reached(self.start_ms, time_ms) - 1
        is_open: Bool = (place >= 0) & (time_ms < self.end_ms[place])
        return is_open

    def open_ms(self, time_ms: Int) -> Int:
        """Open time at event times; one in closed hours has that of the next opening."""
        place = np.maximum(reached(self.start_ms, time_ms) - 1, 0)
        begin, end = self.begin[place], self.begin[place + 1]
        within = np.minimum(begin + np.maximum(time_ms - self.start_ms[place], 0), end - 1 - self.rounding)
        found: Int = np.where(time_ms < self.end_ms[place], within, end)
        return found

    def time_ms(self, open_ms: Int) -> Int:
        """Event time at which a step begins that does so at `open_ms`: an opening where a session has ended by then."""
        place = np.maximum(reached(self.begin[:-1], open_ms) - 1, 0)
        time: Int = self.start_ms[place] + open_ms - self.begin[place]
        return time

    def end_time_ms(self, open_ms: Int) -> Int:
        """Event time at which a step ends that does so at `open_ms`: a closing where a session has ended by then."""
        place = np.maximum(reached(self.begin[:-1], open_ms - 1) - 1, 0)
        time: Int = np.minimum(self.start_ms[place] + open_ms - self.begin[place], self.end_ms[place])
        return time

    def longest_ms(self, open_ms: int) -> int:
        """The most event time that it ever takes to be open for `open_ms`."""
        before = self.begin[:-1] - open_ms
        longest = self.start_ms - self.time_ms(np.maximum(before, 0))
        return int(longest.max())


@cache
def all_sessions(settings: SessionSettings, time_zone: str, step_ms: int, rounding: int) -> Sessions:
    """Every session from 1970 to 2100."""
    day = np.arange(END_S // DAY_S)
    weekdays, holidays = [WEEK.index(name) for name in settings.days], [_number(day) for day in settings.holidays]
    day = day[np.isin((day + EPOCH_DAY) % 7, weekdays) & ~np.isin(day, holidays)]
    hours = np.array(sorted(settings.hours), np.int64)
    length = (hours[:, 1] - hours[:, 0] - 1) % (DAY_MS // MINUTE_MS) + 1
    start = day[:, None] * DAY_MS + hours[:, 0] * MINUTE_MS
    end = np.minimum(start + length * MINUTE_MS, _limits(settings, day, int(hours[0, 0]))[:, None])
    clock = zone(time_zone)
    start_ms, end_ms = clock.time_ms(start.ravel()), clock.time_ms(end.ravel())
    start_ms, end_ms = start_ms[end_ms > start_ms], end_ms[end_ms > start_ms]
    begin = np.cumsum(np.append(0, -(-(end_ms - start_ms) // step_ms) * step_ms))
    return Sessions(start_ms, end_ms, begin, rounding)


def _limits(settings: SessionSettings, day: Int, opens: int) -> Int:
    """When the sessions of each local `day` are over at the latest; the first of a day `opens` at that minute."""
    limits = np.full(len(day), np.iinfo(np.int64).max)
    for closing, minute in settings.early_closes:
        after = (minute - opens - 1) % (DAY_MS // MINUTE_MS) + 1
        limits[day == _number(closing)] = _number(closing) * DAY_MS + (opens + after) * MINUTE_MS
    return limits


def _number(day: date) -> int:
    return (day - EPOCH).days
