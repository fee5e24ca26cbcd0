"""Wall clocks in arrays read what zoneinfo's read, when clocks are changed too."""

import os
import subprocess
import sys
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from slow_calendar import DAY, EPOCH, HOUR, MINUTE, moment, reading

from forecaster.calendar.time_zone import reached, zone

ZONES = [
    "UTC", "Europe/London", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "Africa/Casablanca",
    "Pacific/Apia", "America/St_Johns", "Asia/Kathmandu", "Europe/Dublin",
]  # fmt: skip
changes = st.tuples(st.sampled_from(ZONES), st.integers(0, 1_000), st.integers(-3 * HOUR, 3 * HOUR))


def near_a_change(name, number, apart):
    """A moment near one of the changes of a clock, or near the turn of 2000 where there is none."""
    at = zone(name).at_ms
    return int(at[number % len(at)] if len(at) else 946_684_800_000) + apart


@given(st.lists(changes, min_size=1, max_size=20))
@hypothesis_settings(max_examples=50, deadline=None)
def test_a_clock_reads_what_zoneinfo_says(moments):
    for name in {name for name, _, _ in moments}:
        times = [near_a_change(*one) for one in moments if one[0] == name]
        assert zone(name).wall_ms(np.array(times)).tolist() == [reading(time_ms, name) for time_ms in times]


@given(st.sampled_from(ZONES), st.integers(0, 131 * 365 * DAY))
@hypothesis_settings(max_examples=80, deadline=None)
def test_it_does_so_on_any_day(name, time_ms):
    time_ms = min(time_ms, 4_133_894_400_000 - 1)
    assert zone(name).wall_ms(np.array([time_ms])).tolist() == [reading(time_ms, name)]


@given(changes)
@hypothesis_settings(max_examples=80, deadline=None)
def test_a_reading_is_the_first_moment_that_has_it_or_the_one_that_skips_it(change):
    name = change[0]
    wall_ms = reading(near_a_change(*change), name) // MINUTE * MINUTE
    expected = moment(EPOCH + timedelta(milliseconds=wall_ms), name)
    assert zone(name).time_ms(np.array([wall_ms])).tolist() == [expected]


@pytest.mark.parametrize("name", ZONES)
def test_later_readings_are_no_earlier_moments(name):
    wall_ms = np.arange(1_600_000_000_000, 1_700_000_000_000, 10 * MINUTE)
    assert (np.diff(zone(name).time_ms(wall_ms)) >= 0).all()


@given(st.lists(st.integers(-20, 20)), st.lists(st.integers(-30, 30)))
def test_the_edges_reached_are_those_not_above(edges, places):
    edges = sorted(edges)
    assert reached(np.array(edges, np.int64), np.array(places, np.int64)).tolist() == [
        sum(edge <= place for edge in edges) for place in places
    ]


def test_a_system_without_a_database_of_time_zones_reads_the_package():
    code = "from forecaster.calendar.time_zone import zone; print(len(zone('Europe/London').at_ms))"
    without = os.environ | {"PYTHONTZPATH": ""}
    done = subprocess.run([sys.executable, "-c", code], env=without, capture_output=True, text=True, check=True)
    assert int(done.stdout) == len(zone("Europe/London").at_ms)
