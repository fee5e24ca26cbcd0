"""Wall clocks and sessions one moment at a time, by zoneinfo and plain dates: what the arrays are held against."""

from bisect import bisect_right
from datetime import date, datetime, time, timedelta
from functools import cache
from itertools import accumulate
from zoneinfo import ZoneInfo

from forecaster.config.sessions import WEEK

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
UNTIL = date(2031, 1, 1)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001  # what a clock on a wall reads


def reading(time_ms, zone):
    """What the clock on the wall reads, in milliseconds."""
    seconds, rest = divmod(time_ms, SECOND)
    local = EPOCH + timedelta(seconds=seconds) + (datetime.fromtimestamp(seconds, ZoneInfo(zone)).utcoffset())
    return round((local - EPOCH) / timedelta(milliseconds=1)) + rest


def moment(wall, zone):
    """When the clock on the wall reads `wall` for the first time, or skips it."""
    local = wall.replace(tzinfo=ZoneInfo(zone))
    found = round(local.timestamp() * SECOND)
    if reading(found, zone) == round((wall - EPOCH) / timedelta(milliseconds=1)):
        return found
    skipped = found - 3 * HOUR
    while reading(skipped + MINUTE, zone) - reading(skipped, zone) == MINUTE:
        skipped += MINUTE
    return skipped + MINUTE


@cache
def opened(sessions, zone):
    """Every session's opening and closing in epoch milliseconds."""
    early, found, day = dict(sessions.early_closes), [], date(1970, 1, 1)
    hours = [[time(*divmod(minute, 60)) for minute in pair] for pair in sorted(sessions.hours)]
    while day < UNTIL:
        if WEEK[day.weekday()] in sessions.days and day not in sessions.holidays:
            for opens, closes in hours:
                end = after(day, opens, closes)
                if day in early:
                    end = min(end, after(day, hours[0][0], time(*divmod(early[day], 60))))
                start, end = moment(datetime.combine(day, opens), zone), moment(end, zone)
                found += [(start, end)] if end > start else []
        day += timedelta(days=1)
    return found


def after(day, opens, closes):
    return datetime.combine(day, closes) + timedelta(days=closes <= opens)


class SlowSessions:
    """Steps of sessions, counted one session after another."""

    def __init__(self, sessions, zone, step):
        self.zone, self.step, self.spans = zone, step, opened(sessions, zone)
        steps = [-(-(end - start) // step) for start, end in self.spans]
        self.first = [0, *accumulate(steps)]

    def place(self, time_ms):
        return bisect_right(self.spans, (time_ms, float("inf"))) - 1

    def is_open(self, time_ms):
        place = self.place(time_ms)
        return place >= 0 and time_ms < self.spans[place][1]

    def bar(self, time_ms):
        """The step that holds an open `time_ms`."""
        place = self.place(time_ms)
        return self.first[place] + (time_ms - self.spans[place][0]) // self.step

    def point(self, time_ms):
        """The step of the same session nearest to an open `time_ms`, the later one of two."""
        place = self.place(time_ms)
        points = range(self.first[place], self.first[place + 1])
        return min(points, key=lambda index: (abs(self.begin(index) - time_ms), -index))

    def begin(self, index):
        place = bisect_right(self.first, index) - 1
        return self.spans[place][0] + (index - self.first[place]) * self.step

    def end(self, index):
        place = bisect_right(self.first, index) - 1
        return min(self.begin(index) + self.step, self.spans[place][1])

    def phase(self, index, cycle):
        """Which of the phases that a regular week visits, in their order, the step has."""
        wall = reading(self.begin(index), self.zone) // self.step % cycle
        return max(0, bisect_right(regular(self, cycle), wall) - 1)


@cache
def regular(sessions, cycle):
    """The phases of two weeks in which no clock is changed and no day differs."""
    low, high = (sessions.place(moment(datetime(2025, 6, day), sessions.zone)) + 1 for day in (2, 16))  # noqa: DTZ001
    steps = range(sessions.first[low], sessions.first[high])
    return sorted({reading(sessions.begin(index), sessions.zone) // sessions.step % cycle for index in steps})
