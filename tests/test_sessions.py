"""Open time against sessions counted one by one: weekends, holidays, early closes, nights, changed clocks."""

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError
from slow_calendar import DAY, HOUR, MINUTE, SlowSessions, moment

from forecaster.config import StreamSettings
from forecaster.grid import Grid

STOCKS = {
    "time_zone": "America/New_York",
    "sessions": {
        "hours": ["09:30-16:00"],
        "holidays": ["2025-07-04", "2025-11-27"],
        "early_closes": ["2025-07-03 13:00", "2025-11-28 13:00"],
    },
}
FOREX = {
    "time_zone": "America/New_York",
    "sessions": {"hours": ["17:00-17:00"], "days": ["sun", "mon", "tue", "wed", "thu"], "holidays": ["2025-12-25"]},
}
LUNCH = {"time_zone": "Asia/Tokyo", "sessions": {"hours": ["12:30-15:00", "09:00-11:30"]}}
NIGHTS = {
    "time_zone": "Europe/London",
    "sessions": {"hours": ["23:10-04:00"], "days": ["sat", "tue"], "early_closes": ["2025-03-29 01:30"]},
}
KINDS = {"stocks": STOCKS, "forex": FOREX, "lunch": LUNCH, "nights": NIGHTS}
STEPS = {"5min": 5 * MINUTE, "1h": HOUR, "7min": 7 * MINUTE}
FROM_MS, UNTIL_MS = 1_735_700_000_000, 1_767_200_000_000  # about 2025

cases = st.sampled_from([(kind, step) for kind in KINDS for step in STEPS])
moments = st.lists(st.integers(FROM_MS, UNTIL_MS), min_size=1, max_size=30)


def grid_of(kind, step, bar=None):
    return Grid.of(StreamSettings(step=step, bar=bar, **KINDS[kind]))


def slow_of(kind, step):
    stream = StreamSettings(**KINDS[kind])
    return SlowSessions(stream.sessions, stream.time_zone, STEPS[step])


@given(cases, moments, st.integers(-2, 2))
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_hours_are_open_and_the_steps_are_those_counted_one_by_one(case, times, apart):
    slow = slow_of(*case)
    near = [edge + apart for time_ms in times for edge in slow.spans[slow.place(time_ms)]]  # and at the very edges
    times = np.array(times + near)
    opened = np.array([slow.is_open(time_ms) for time_ms in times.tolist()])
    for bar, count, known in ((None, slow.point, slow.begin), ("last", slow.bar, slow.end)):
        grid = grid_of(*case, bar)
        assert grid.is_open(times).tolist() == opened.tolist()
        index = grid.index(grid.own_ms(times[opened]))
        assert index.tolist() == [count(time_ms) for time_ms in times[opened].tolist()]
        assert grid.origin_ms(index).tolist() == [known(one) for one in index.tolist()]


@given(cases, st.integers(0, 2_500), st.integers(1, 40), st.sampled_from([None, "last"]))
@hypothesis_settings(max_examples=60, deadline=None)
def test_the_times_ahead_are_the_origins_of_the_steps_that_follow(case, later, horizon, bar):
    slow, grid = slow_of(*case), grid_of(*case, bar)
    index = slow.first[slow.place(FROM_MS)] + later
    known = slow.end if bar else slow.begin
    ahead = grid.ahead_ms(np.array([known(index)]), horizon)
    assert ahead.tolist() == [[known(index + step) for step in range(1, horizon + 1)]]


@given(cases, st.integers(0, 2_500), st.sampled_from([None, "last"]))
@hypothesis_settings(max_examples=50, deadline=None)
def test_time_and_step_are_each_others_inverse_and_go_on_together(case, later, bar):
    grid = grid_of(*case, bar)
    index = int(grid.index(grid.own_ms(np.array([FROM_MS])))[0]) + later + np.arange(200)
    origin_ms = grid.origin_ms(index)
    assert (np.diff(origin_ms) > 0).all()
    held = origin_ms - 1 if bar else origin_ms  # the last moment of a bar lies in it
    assert grid.is_open(held).all()
    assert grid.index(grid.own_ms(held)).tolist() == index.tolist()


@given(cases, moments)
@hypothesis_settings(max_examples=50, deadline=None)
def test_open_time_never_runs_back(case, times):
    own_ms = grid_of(*case).own_ms(np.array(sorted(times)))
    assert (np.diff(own_ms) >= 0).all()


def test_the_last_step_before_a_weekend_and_the_first_after_it_are_neighbours():
    grid = grid_of("stocks", "5min", "last")
    friday, monday = (
        moment_of(2025, 6, day, *at) for day, at in ((6, (15, 59)), (9, (9, 30)))
    )  # fmt: skip
    before, after = grid.index(grid.own_ms(np.array([friday, monday]))).tolist()
    assert after == before + 1
    assert grid.origin_ms(np.array([before])).tolist() == [moment_of(2025, 6, 6, 16, 0)]


def test_events_that_are_steps_of_their_own_keep_their_times():
    grid = Grid.of(StreamSettings(step="tick", **STOCKS))
    times = np.array([moment_of(2025, 6, 6, 15, 59) + 59_999, moment_of(2025, 6, 9, 9, 30)])
    index = grid.index(grid.own_ms(times))
    assert grid.origin_ms(index).tolist() == times.tolist()
    assert np.diff(index).tolist() == [1]


@pytest.mark.parametrize(("kind", "open_ms", "longest"), [("stocks", HOUR, 4 * DAY), ("forex", 120 * HOUR, 10 * DAY)])
def test_the_longest_that_open_hours_take_has_holidays_and_weekends_in_it(kind, open_ms, longest):
    found = grid_of(kind, "5min").sessions.longest_ms(open_ms)
    assert longest - DAY < found < longest + DAY


@pytest.mark.parametrize(
    ("sessions", "message"),
    [
        ({"hours": ["09:30"]}, "write them as"),
        ({"hours": ["09:30-25:00"]}, "no time of day"),
        ({"hours": ["09:00-12:00", "11:00-13:00"]}, "two sessions overlap"),
        ({"hours": ["09:00-12:00", "09:00-11:00"]}, "two sessions overlap"),
        ({"hours": ["17:00-09:00", "08:00-10:00"]}, "two sessions overlap"),
        ({"hours": ["18:00-17:00", "16:00-16:30"], "days": ["sun", "sat"]}, "two sessions overlap"),
        ({"hours": ["09:30-16:00"], "early_closes": ["2025-07-03"]}, "write it as"),
        ({"hours": ["09:30-16:00"], "days": []}, "days"),
        ({"hours": ["09:30-16:00"], "days": ["monday"]}, "days"),
        ({"holidays": ["2025-12-25"]}, "hours: not set"),
    ],
)
def test_hours_that_cannot_be_are_refused(sessions, message):
    with pytest.raises(ValidationError, match=message):
        StreamSettings(sessions=sessions)


def moment_of(year, month, day, hour, minute):
    return moment(datetime(year, month, day, hour, minute), "America/New_York")  # noqa: DTZ001
