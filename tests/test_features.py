"""The features against one tick at a time in plain Python."""

import math
from datetime import datetime
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_calendar import HOUR, SlowSessions, moment, reading

from forecaster.calendar.clock import Clock
from forecaster.config import SessionSettings
from forecaster.features.running import Features
from forecaster.features.settings import FeatureSettings

TWO_SEASONS = FeatureSettings(
    seasons=(3, 7), level_spans=(5.0, 40.0), residual_spans=(1.0, 4.0), scale_span=9.0, profile_rate=0.2,
    recent_rates=(0.5, 1.0),
)  # fmt: skip
ONE_SEASON = FeatureSettings(seasons=(4,), level_spans=(8.0,), scale_span=5.0, first_scale=0.5)
NO_SEASON = FeatureSettings(
    level_spans=(1.0, 3.0, 12.0), residual_spans=(2.0,), scale_span=6.0, volatility_spans=(1.5, 3.0)
)  # fmt: skip
KINDS = [TWO_SEASONS, ONE_SEASON, NO_SEASON]
CYCLES = (24, 168)  # hours
HALVES = SessionSettings(
    hours=("09:00-15:00", "16:00-23:00"), days=("mon", "tue", "thu"), holidays=("2025-10-28",),
    early_closes=("2025-10-21 13:30", "2025-10-23 18:00"),
)  # fmt: skip
CLOCKS = {
    "London in spring": (Clock(step_ms=HOUR, time_zone="Europe/London", cycles=CYCLES), (2025, 3, 29)),
    "London in autumn": (Clock(step_ms=HOUR, time_zone="Europe/London", cycles=CYCLES), (2025, 10, 25)),
    "Lord Howe": (Clock(step_ms=HOUR, time_zone="Australia/Lord_Howe", cycles=CYCLES), (2025, 4, 5)),
    "sessions": (Clock(step_ms=HOUR, time_zone="Europe/London", sessions=HALVES, cycles=CYCLES), (2025, 10, 20)),
}


class OneSeries:
    """What the module's text says, for one series and one value at a time."""

    def __init__(self, settings):
        self.settings = settings
        self.cycles = phases_one_by_one(settings.clock) if settings.clock else None
        self.seen = 0
        self.level = [0.0] * len(settings.level_spans)
        self.means = [0.0] * len(settings.residual_spans)
        self.scale = 0.0
        self.volatility = [0.0] * len(settings.volatility_spans)
        self.recent = [[[0.0] * season for _ in settings.recent_rates] for season in settings.seasons]
        self.profile = [[0.0] * season for season in settings.seasons]
        self.visits = [[0] * season for season in settings.seasons]
        self.residual = self.innovation = 0.0
        self.missing = False

    def phase(self, index, number):
        if self.cycles is None:
            return index % self.settings.seasons[number]
        return self.cycles(index, self.settings.clock.cycles[number])

    def step(self, index, value):
        self.index, self.missing = index, value is None
        self.residual = self.innovation = 0.0
        if value is None:
            return
        first = self.seen == 0
        self.seen += 1
        expected = self.level[0] + sum(p[self.phase(index, n)] for n, p in enumerate(self.profile))
        self.level = [
            self.toward(m, value, span) for m, span in zip(self.level, self.settings.level_spans, strict=True)
        ]
        left = value - self.level[0]
        for number, (profile, recent, visits) in enumerate(zip(self.profile, self.recent, self.visits, strict=True)):
            phase = self.phase(index, number)
            visits[phase] += 1
            for floor, fast in zip(self.settings.recent_rates, recent, strict=True):
                fast[phase] += max(floor, 1 / visits[phase]) * (left - fast[phase])
            rate = max(self.settings.profile_rate, 1 / visits[phase])
            profile[phase] += rate * (left - profile[phase])
            left -= profile[phase]
        self.residual = left
        self.innovation = 0.0 if first else value - expected
        error = self.settings.first_scale * abs(value) if first else abs(self.innovation)
        self.scale = self.toward(self.scale, error, self.settings.scale_span)
        self.volatility = [
            self.toward(m, error, span) for m, span in zip(self.volatility, self.settings.volatility_spans, strict=True)
        ]
        self.means = [
            self.toward(m, left, span) for m, span in zip(self.means, self.settings.residual_spans, strict=True)
        ]

    def toward(self, mean, value, span):
        return mean + max(1 / span, 1 / self.seen) * (value - mean)

    def safe_scale(self):
        return max(self.scale, 1e-10 * max(abs(self.level[0]), 1e-10))

    def inputs(self):
        scale = self.safe_scale()
        differences = [self.level[0] - other for other in self.level[1:]]
        scaled = [self.residual, *self.means, *differences, self.innovation]
        row = [min(10.0, max(-10.0, number / scale)) for number in scaled]
        row += [math.log(min(10.0, max(0.1, faster / scale))) for faster in self.volatility]
        row += [float(self.missing), 1 / math.sqrt(max(self.seen, 1))]
        for number, season in enumerate(self.settings.seasons):
            for harmonic in (1, 2):
                angle = 2 * math.pi * harmonic * self.phase(self.index, number) / season
                row += [math.sin(angle), math.cos(angle)]
        return row

    def recents(self, horizon):
        """Scaled `[horizon, seasons · rates]`: what the fast profiles differ by from the slow one."""
        rows = []
        for index in range(self.index + 1, self.index + 1 + horizon):
            phases = [self.phase(index, n) for n in range(len(self.profile))]
            pairs = [
                (fast[phase], p[phase])
                for p, many, phase in zip(self.profile, self.recent, phases, strict=True)
                for fast in many
            ]
            differences = [(fast - slow) / self.safe_scale() for fast, slow in pairs]
            rows.append([min(10.0, max(-10.0, difference)) for difference in differences])
        return rows

    def baseline(self, horizon):
        ahead = range(self.index + 1, self.index + 1 + horizon)
        return [self.level[0] + sum(p[self.phase(index, n)] for n, p in enumerate(self.profile)) for index in ahead]


def phases_one_by_one(clock):
    """The phase of an index in a cycle, one moment at a time."""
    if clock.sessions.hours:
        return SlowSessions(clock.sessions, clock.time_zone, clock.step_ms).phase
    return lambda index, cycle: reading(index * clock.step_ms, clock.time_zone) // clock.step_ms % cycle


def on_clock(name):
    """Features of a day and a week on one of `CLOCKS`, and the grid index at which its days begin."""
    clock, day = CLOCKS[name]
    begin = moment(datetime(*day), clock.time_zone) // HOUR  # noqa: DTZ001
    if clock.sessions.hours:
        slow = SlowSessions(clock.sessions, clock.time_zone, clock.step_ms)
        begin = slow.first[slow.place(begin * HOUR) + 1]
    return TWO_SEASONS.model_copy(update={"seasons": clock.seasons, "clock": clock}), begin


def in_tiles(settings, series, begin, cuts, horizon=9):
    """Every round's inputs, baseline, scale and seen, `[series, rounds, …]`, in tiles that end at `cuts`."""
    features = Features(settings)
    features.grow(len(series) + 2)
    slot = np.arange(len(series))[::-1] + 1
    found = []
    rounds = max(map(len, series))
    table = np.full((len(series), rounds), np.nan)
    for n, values in enumerate(series):
        table[n, : len(values)] = [np.nan if value is None else value for value in values]
    for low, high in pairwise([0, *sorted({cut for cut in cuts if 0 < cut < rounds}), rounds]):
        step = features.advance(slot, np.array(begin) + low, table[:, low:high])
        row, column = (axis.ravel() for axis in np.indices((len(series), high - low)))
        shape = (len(series), high - low, horizon)
        recent = step.recent(row, column, horizon).reshape(*shape, -1)
        baseline = step.baseline(row, column, horizon).reshape(shape)
        parts = step.inputs(), baseline, step.safe_scale(), step.seen, recent
        step.commit()
        found.append(parts)
    return [np.concatenate(columns, axis=1) for columns in zip(*found, strict=True)], features, slot


def assert_follows(settings, series, begin, cuts, tolerance=1e-9):
    (inputs, baseline, scale, seen, recent), features, slot = in_tiles(settings, series, begin, cuts)
    for n, values in enumerate(series):
        reference = OneSeries(settings)
        known = [value for value in values if value is not None]
        size = max([1e-30, *map(abs, known)])
        kept = 1e-6 * (max(known) - min(known)) if known and settings.seasons else 0.0  # profiles are float32
        allowed = tolerance * size + kept
        for r, value in enumerate(values):
            reference.step(begin[n] + r, value)
            assert seen[n, r] == reference.seen
            assert abs(scale[n, r] - reference.safe_scale()) <= allowed
            np.testing.assert_allclose(baseline[n, r], reference.baseline(9), rtol=0, atol=allowed)
            unsure = 1e-6 + (20 * 1e-15 * size + kept) / reference.safe_scale()  # rounding, in units of the scale
            np.testing.assert_allclose(inputs[n, r], reference.inputs(), rtol=2e-6, atol=unsure)
            if settings.recents:
                np.testing.assert_allclose(recent[n, r], reference.recents(9), rtol=2e-6, atol=unsure)
        if len(values) == max(map(len, series)):
            np.testing.assert_allclose(features.level[slot[n]], reference.level, rtol=0, atol=allowed)
            stored = np.concatenate([np.array(p) for p in reference.profile] or [np.zeros(0)])
            np.testing.assert_allclose(features.profile[slot[n]], stored, rtol=0, atol=allowed)


one_series = st.lists(st.one_of(st.none(), st.floats(-4, 4).map(lambda v: round(v, 3))), min_size=1, max_size=40)


@given(
    st.sampled_from(list(CLOCKS)),
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(-4, 4).map(lambda v: round(v, 3))), min_size=1, max_size=90),
        min_size=1,
        max_size=2,
    ),
    st.integers(0, 30),
    st.lists(st.integers(1, 90), max_size=4),
)
@settings(max_examples=25, deadline=None)
def test_they_do_so_where_clocks_are_changed_and_sessions_differ(name, series, later, cuts):
    kind, begin = on_clock(name)
    assert_follows(kind, series, [begin + later + 7 * n for n in range(len(series))], cuts)


def test_a_peak_at_eight_stays_at_its_phase_when_the_clock_is_changed():
    clock = Clock(step_ms=HOUR, time_zone="Europe/London", cycles=(24,))
    kind = ONE_SEASON.model_copy(update={"seasons": (24,), "clock": clock})
    begin = moment(datetime(2025, 3, 25), clock.time_zone) // HOUR  # noqa: DTZ001  # the clocks change on the 30th
    eight = [float(reading((begin + n) * HOUR, clock.time_zone) // HOUR % 24 == 8) for n in range(10 * 24)]
    (_, baseline, *_), _, _ = in_tiles(kind, [eight], [begin], [], horizon=24)
    utc = ONE_SEASON.model_copy(update={"seasons": (24,)})
    (_, of_utc, *_), _, _ = in_tiles(utc, [eight], [begin], [], horizon=24)
    spring = 5 * 24  # rows before the first hour of the day of the change
    assert [int(one[0, spring - 1].argmax()) + 1 for one in (baseline, of_utc)] == [8, 9]
    assert eight[spring + 7] == 1.0  # seven hours after midnight the clock reads eight


def test_the_hour_that_is_skipped_is_no_visit_and_the_one_that_is_repeated_is_two():
    for day, visits in (((2025, 3, 30), 0), ((2025, 10, 26), 2)):
        clock = Clock(step_ms=HOUR, time_zone="Europe/London", cycles=(24,))
        kind = ONE_SEASON.model_copy(update={"seasons": (24,), "clock": clock})
        begin = moment(datetime(*day), clock.time_zone) // HOUR  # noqa: DTZ001
        _, features, slot = in_tiles(kind, [[1.0] * 20], [begin], [])
        assert features.visits[slot[0], 1] == visits
        assert features.visits[slot[0], 5] == 1


@given(
    st.sampled_from(KINDS),
    st.lists(one_series, min_size=1, max_size=3),
    st.integers(0, 50),
    st.lists(st.integers(1, 40), max_size=4),
)
@settings(max_examples=150, deadline=None)
def test_tiles_cut_anywhere_give_what_one_tick_at_a_time_gives(kind, series, begin, cuts):
    assert_follows(kind, series, [begin + 3 * n for n in range(len(series))], cuts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("size", "move"), [(1e6, 0.01), (1e-9, 1e-10), (1e30, 1e27), (-1e6, 0.01)])
def test_values_of_any_size_are_followed(kind, size, move):
    draw = np.random.default_rng(5)
    values = (size + move * np.cumsum(draw.normal(0, 1, 400))).tolist()
    assert_follows(kind, [values], [11], [1, 2, 50, 200], tolerance=1e-12)


def test_a_level_at_a_million_follows_a_move_of_a_hundredth():
    slow = FeatureSettings(seasons=(2_880,), level_spans=(7 * 2_880.0,), scale_span=10.0)
    features = Features(slow)
    features.grow(1)
    slot = np.zeros(1, np.int64)
    for n, value in enumerate([1e6] * 20 + [1e6 + 0.01] * 80):
        values = np.full((1, 2_000), value)
        features.advance(slot, np.array([n * 2_000]), values).commit()
    expected = 0.01 * (1 - (1 - 1 / 20_160) ** 160_000)
    assert abs(features.level[0, 0] - 1e6 - expected) < 1e-5


def test_rounds_past_the_end_of_a_series_leave_its_state_alone():
    _, alone, slot = in_tiles(TWO_SEASONS, [[1.0, 2.0, 3.0]], [0], [])
    _, padded, slots = in_tiles(TWO_SEASONS, [[1.0, 2.0, 3.0], [float(n) for n in range(30)]], [0, 0], [])
    for one, other in zip(alone.arrays().values(), padded.arrays().values(), strict=True):
        np.testing.assert_allclose(one[slot[0]], other[slots[0]], rtol=1e-15)


def test_nothing_changes_until_a_step_is_committed():
    features = Features(TWO_SEASONS)
    features.grow(3)
    before = [array.copy() for array in features.arrays().values()]
    step = features.advance(np.array([1]), np.array([0]), np.array([[1.0, 2.0, np.nan, 5.0]]))
    step.inputs()
    assert all((a == b).all() for a, b in zip(before, features.arrays().values(), strict=True))
    step.commit()
    assert features.seen.tolist() == [0, 3, 0]
    features.forget(np.array([1]))
    assert all((a == b).all() for a, b in zip(before, features.arrays().values(), strict=True))


@pytest.mark.parametrize("rate", [0.05, 0.001])
def test_a_profile_visited_many_hundred_times_keeps_its_rate(rate):
    kind = FeatureSettings(seasons=(1,), level_spans=(50.0,), scale_span=9.0, profile_rate=rate)
    assert_follows(kind, [[float(n % 5) for n in range(700)]], [0], [300, 500])


@pytest.mark.parametrize("kind", KINDS)
def test_every_input_has_a_name(kind):
    (inputs, *_), _, _ = in_tiles(kind, [[1.0, 2.0]], [0], [])
    assert inputs.dtype == np.float32
    assert inputs.shape[-1] == len(kind.input_names) == len(set(kind.input_names))


@pytest.mark.parametrize("seasons", [(), (24,), (96, 672)])
def test_derived_settings_span_seasons_or_the_context(seasons):
    derived = FeatureSettings.derive(seasons, 336)
    assert derived.seasons == seasons
    assert min(derived.level_spans) >= 1
    assert derived.longest_span == (30 * seasons[0] if seasons else 336)


def test_with_logarithms_the_features_are_those_of_the_logarithms_and_come_back_as_values():
    settings = TWO_SEASONS.model_copy(update={"transform": "log"})
    values = np.exp(np.random.default_rng(0).normal(2, 1, (1, 40)))
    values[0, 7] = np.nan
    steps = []
    for kind, shown in ((settings, values), (TWO_SEASONS, np.log(values))):
        state = Features(kind)
        state.grow(1)
        steps.append(state.advance(np.zeros(1, np.int64), np.zeros(1, np.int64), shown))
    logs, plain = steps
    np.testing.assert_allclose(logs.level, plain.level, rtol=1e-12)
    row, column = np.zeros(1, np.int64), np.array([39])
    found, scale = logs.forecast(row, column, np.zeros((1, 5, 1)), logs.baseline(row, column, 5))
    np.testing.assert_allclose(np.log(found[..., 0]), plain.baseline(row, column, 5), rtol=1e-9)
    assert scale[0] == pytest.approx(logs.safe_scale()[0, 39] * np.exp(plain.level[0, 0, 39]))
