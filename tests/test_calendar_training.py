"""Training on a wall clock and in sessions: its arrays are those of serving, and what it leaves out is named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from slow_calendar import HOUR, MINUTE

from forecaster.config import Settings
from forecaster.engines.tile import Tile
from forecaster.errors import ConfigError
from forecaster.features.running import Features
from forecaster.grid import Grid
from forecaster.past import TilePast
from forecaster.recording import Recording
from forecaster.recording.known_ahead import KnownAhead
from forecaster.rings import Rings
from training.candidates import candidates
from training.data import Scratch, sequences
from training.left_out import LeftOut
from training.observed import observe
from training.prepare import Source, prepare
from training.seasons import features_of
from training.table import feature_table
from training.window_examples import TablePast

SPRING, AUTUMN = 1_742_000_000_000 // HOUR * HOUR, 1_760_600_000_000 // HOUR * HOUR  # 2025: days before clocks change
LONDON = {"step": "1h", "time_zone": "Europe/London"}
MARKET = LONDON | {
    "sessions": {"hours": ["08:00-16:30"], "holidays": ["2025-03-21"], "early_closes": ["2025-10-24 12:30"]}
}
STEPS = np.arange(-30, 40)


def configured(stream):
    return Settings(stream=stream, model={"horizon": 6, "context_length": 24, "seasons": ["1d", "1w"]})


def hourly(begin, hours, missing=()):
    """Two series of one value an hour, but for the `missing` hours of the second one."""
    values = np.random.default_rng(0).normal(20, 1, (2, hours))
    ticks = [
        (series, begin + HOUR * hour, values[series, hour])
        for hour in range(hours)
        for series in range(2)
        if series == 0 or hour not in missing
    ]
    series, time_ms, value = (np.array(column) for column in zip(*ticks, strict=True))
    return Recording(["a", "b"], series, time_ms, value)


@given(
    st.sampled_from([LONDON, MARKET, MARKET | {"bar": "mean"}]),
    st.sampled_from([SPRING, AUTUMN]),
    st.sets(st.integers(0, 599), max_size=300),
)
@hypothesis_settings(max_examples=12, deadline=None)
def test_the_table_of_training_has_what_a_tile_of_serving_has(stream, begin, missing):
    settings = configured(stream)
    features = features_of((24, 168), settings)
    data = sequences([hourly(begin, 600, missing)], settings)
    table = feature_table(data, features)
    for run in range(len(data.first)):
        row = np.arange(*data.rows(run).indices(len(data.value))[:2])
        trained, served = TablePast(table, row), served_past(features, data, run)
        for one, other in (
            (trained.expected(STEPS), served.expected(STEPS)),
            (trained.recent(6), served.recent(6)),
            (trained.calendar(STEPS), served.calendar(STEPS)),
            (trained.features(), served.features()),
        ):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=2e-5)


def served_past(features, data, run):
    state, nothing, slot = Features(features), Rings(1), np.zeros(1, np.int64)
    state.grow(1)
    nothing.grow(1)
    values = data.value[data.rows(run)][None]
    step = state.advance(slot, data.index[[run]], values)
    row, column = np.zeros(values.shape[1], np.int64), np.arange(values.shape[1])
    tile = Tile(slot, values, values == values, step, row, column, nothing, data.index[run] + column, [])  # noqa: PLR0124
    return TilePast(tile, row, column)


def test_a_season_is_as_long_as_what_of_it_is_open():
    for stream, seasons in ((LONDON, (24, 168)), (MARKET, (9, 45))):  # 08:00 to 16:30 are nine steps of an hour
        settings = configured(stream)
        prepared = prepare(Source([hourly(SPRING, 1_500)]), settings, Scratch(), lambda _: None)
        (candidate,) = candidates(prepared, settings, Scratch())
        assert candidate.features.seasons == seasons
        assert candidate.describe(HOUR) == "season 1d and 1w, hidden layers 64"


def test_closed_hours_are_no_gap_in_what_is_learnt_and_ticks_in_them_are_named():
    said = []
    ticks = hourly(SPRING, 600)
    prepared = prepare(Source([ticks]), configured(MARKET), Scratch(), said.append)
    opened = int(Grid.of(configured(MARKET).stream).is_open(ticks.time_ms).sum())
    assert len(prepared.data.value) == opened
    assert not np.isnan(prepared.data.value).any()
    assert len(prepared.data.first) == 2
    (line,) = said
    assert line.startswith(f"closed: {len(ticks) - opened} ticks left out (in closed hours of stream.sessions)")


def test_what_completes_no_observation_is_told_with_the_setting_that_kept_it_back():
    late = LONDON | {"allowed_lateness": "2d"}
    for stream, named in ((MARKET, "closed: 20 ticks left out .*stream.sessions"), (late, "stream.allowed_lateness")):
        with pytest.raises(ConfigError, match=f"the input completes no observation: .*{named}"):
            sequences([hourly(SPRING, 10)], configured(stream))
        with pytest.raises(ConfigError, match=f"the input completes no observation: .*{named}"):
            observe(hourly(SPRING, 10), configured(stream).stream, 24)


def test_a_backtest_leaves_closed_hours_out_too():
    ticks = hourly(SPRING, 100)
    observed = observe(ticks, configured(MARKET).stream, 24)
    assert Grid.of(configured(MARKET).stream).is_open(observed.origin_ms).all()
    assert len(observed.block) == int(Grid.of(configured(MARKET).stream).is_open(ticks.time_ms).sum())


def test_left_out_counts_nothing_where_a_stream_is_always_open():
    left_out, ticks = LeftOut(), hourly(SPRING, 5)
    assert left_out.open(ticks, Grid(HOUR)) is ticks
    assert left_out.lines() == []


@pytest.mark.parametrize("seasons", [["2d"], ["1d", "5h"]])
def test_a_season_that_a_week_of_sessions_has_no_whole_number_of_is_refused(seasons):
    with pytest.raises(ValueError, match=r"model\.seasons: with stream\.sessions each must divide a week"):
        Settings(stream=MARKET, model={"seasons": seasons})


def test_what_is_known_ahead_reaches_over_closed_hours_to_the_next_session():
    closing = int(Grid.of(configured(MARKET).stream).sessions.end_ms[14_400])
    times_ms = np.array([closing - 30 * MINUTE, closing + HOUR])  # the last step of a session, then a tick after it
    opening = int(Grid.of(configured(MARKET).stream).sessions.start_ms[14_401])
    times_ms = np.append(times_ms, [opening, opening + HOUR])
    given = np.array([[1.0], [99.0], [2.0], [3.0]])
    ticks = Recording(["a"], np.zeros(4, np.int64), times_ms, np.ones(4), covariates=given)
    settings = Settings(stream=MARKET, input={"known_covariates": ["open"]}, model={"horizon": 2})
    rows = KnownAhead(ticks, settings).rows(np.array([0, 2]))
    np.testing.assert_array_equal(rows, [[1, 2, 3], [2, 3, np.nan]])
