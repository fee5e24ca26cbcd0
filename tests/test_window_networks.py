"""Networks over windows of unequal length: padding leaves no trace, and nothing is made up before the first value."""

from itertools import islice, pairwise

import numpy as np
import pytest
from builders import WINDOWED, Tick, assert_equal, pipeline, published, records_of, run, segment_network
from hypothesis import given, settings
from hypothesis import strategies as st
from test_segment_network import configured, recording

from forecaster.bundle.store import named_weights
from forecaster.engines.shapes import halvings, rung
from forecaster.engines.windowed import WindowEngine
from forecaster.past import right_padded
from training.data import sequences
from training.examples import Examples
from training.table import feature_table
from training.window_examples import POOL, WindowExamples, bucketed, cold_past

LONG = 64  # a window with several rungs below it


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def slow_gru(layer, weights, rows, state):
    """A GRU (Cho et al. 2014, `reset_after`) along `rows` of one window; its last state."""
    kernel, recurrent, (own, carried) = (weights[f"{layer}/{name}"] for name in ("kernel", "recurrent_kernel", "bias"))
    units = len(recurrent)
    for row in rows:
        x, h = row @ kernel + own, state @ recurrent + carried
        update, reset = (sigmoid((x + h)[n * units : (n + 1) * units]) for n in (0, 1))
        candidate = np.tanh(x[2 * units :] + reset * h[2 * units :])
        state = update * state + (1 - update) * candidate
    return state


def slow_quantiles(free, levels):
    """`free` `[horizon, levels]` in order: each next quantile a softplus away from its neighbour nearer the middle."""
    at, ordered = levels.index(0.5), np.array(free, np.float64)
    for level in range(at + 1, len(levels)):
        ordered[:, level] = ordered[:, level - 1] + np.logaddexp(0, free[:, level])
    for level in reversed(range(at)):
        ordered[:, level] = ordered[:, level + 1] - np.logaddexp(0, free[:, level])
    return ordered


def slow_segments(made, window):
    """Forecast of the masked network from one scaled `window` of any length, newest last, NaN where missing."""
    weights = {name: weight.numpy().astype(np.float64) for name, weight in named_weights(made).items()}
    length, known, seen = made.length, 0.0, []
    for value in window:
        known = known if np.isnan(value) else value
        seen.append([known, float(np.isnan(value))])
    seen = [[0.0, 1.0]] * (-len(seen) % length) + seen  # the oldest segment reaches back before the first value
    pieces = [np.ravel(seen[low : low + length]) for low in range(0, len(seen), length)]
    projected = [np.maximum(row @ weights["projection/kernel"] + weights["projection/bias"], 0) for row in pieces]
    last = slow_gru("gru", weights, projected, np.zeros(made.settings.units[0]))
    decoded = [slow_gru("gru", weights, [row], last) for row in weights["position/embeddings"]]
    free = np.array([row @ weights["output/kernel"] + weights["output/bias"] for row in decoded])
    return slow_quantiles(free.reshape(made.settings.horizon, -1), made.settings.quantiles)


class GivenPast:
    """Windows of one length each, already scaled, counted from 0."""

    def __init__(self, windows):
        self.windows = windows

    def take(self, at):
        return GivenPast([self.windows[n] for n in at])

    def length(self, most):
        return np.array([min(len(window), most) for window in self.windows])

    def values(self, rounds):
        return np.array([np.pad(one[-rounds:], (max(0, rounds - len(one)), 0), constant_values=np.nan)
                         for one in self.windows])  # fmt: skip

    def scale(self):
        return np.ones(len(self.windows))

    def last(self):
        return np.zeros(len(self.windows))


@pytest.fixture(scope="module")
def masked():
    """A masked segment network with its engine: all shapes compiled."""
    made = segment_network(short_windows="masked", context=LONG)
    engine = WindowEngine(made)
    engine.ladder = (2, 16)
    engine.warm_up()
    while engine.compile_next():
        pass
    return made, engine


window = st.lists(st.one_of(st.floats(-3, 3, width=32), st.just(np.nan)), min_size=1, max_size=LONG)


@given(st.lists(window, min_size=1, max_size=20))
@settings(max_examples=60, deadline=None)
def test_windows_of_any_length_in_one_call_forecast_as_each_alone_unpadded(masked, windows):
    made, engine = masked
    compiled = engine.compiled_shapes
    found = engine.quantiles(GivenPast(windows), len(windows))
    assert engine.compiled_shapes == compiled
    for one, quantiles in zip(windows, found, strict=True):
        np.testing.assert_allclose(quantiles, slow_segments(made, one), rtol=1e-5, atol=1e-5)


@given(st.lists(window, min_size=1, max_size=8), st.integers(0, 3))
@settings(max_examples=40, deadline=None)
def test_more_padding_changes_no_forecast(masked, windows, more):
    made, _ = masked
    past = GivenPast([one[-(made.lengths[0]) :] for one in windows])
    short = made.call(*made.seen(past, made.lengths[0]))
    longer = made.call(*made.seen(past, made.lengths[min(more, len(made.lengths) - 1)]))
    np.testing.assert_allclose(short, longer, rtol=1e-5, atol=1e-5)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(0, 2**16))
@settings(max_examples=100, deadline=None)
def test_padding_is_behind_the_newest_and_what_is_older_is_cut_off(counts, seed):
    steps = np.random.default_rng(seed).normal(0, 1, (len(counts), 9, 2))
    found = right_padded(steps, np.array(counts))
    for row, shifted, count in zip(steps, found, counts, strict=True):
        np.testing.assert_array_equal(shifted[:count], row[9 - count :])
        assert (shifted[count:] == 0).all()


@given(st.integers(1, 5_000), st.integers(1, 60))
def test_the_ladder_of_lengths_is_of_whole_units_and_no_window_is_padded_to_much_more_than_twice_its_length(n, unit):
    ladder = halvings(n * unit, unit)
    assert ladder[-1] == n * unit
    assert all(length % unit == 0 for length in ladder)
    assert all(low < high <= 2 * low for low, high in pairwise(ladder))
    assert ladder[0] <= max(unit, 16)


@given(st.lists(st.integers(1, 100), min_size=1, max_size=10), st.integers(1, 5), st.integers(0, 2**16))
def test_buckets_hold_every_window_once_and_no_two_overlap_in_length(some, size, seed):
    length = np.array(some * size)
    batches = bucketed(length, size, np.random.default_rng(seed))
    assert sorted(np.concatenate(batches).tolist()) == list(range(len(length)))
    spans = sorted((length[batch].min(), length[batch].max()) for batch in batches)
    assert all(one[1] <= other[0] for one, other in pairwise(spans))


def test_a_cold_series_forecasts_from_its_first_tick_on_and_poll_boundaries_leave_no_trace():
    made = segment_network(short_windows="masked")
    ticks = [Tick(f"s{n % 3}", n // 3, None if n % 5 == 4 else float(n * n % 17)) for n in range(60)]
    once = published(run(pipeline(made=made), records_of(ticks)))
    assert {forecast["series"] for forecast in once if forecast["source"]["offset"] < 3} == {"s0", "s1", "s2"}
    assert_equal(published(run(pipeline(made=made), records_of(ticks), range(0, 60, 7))), once)


def test_calls_count_what_is_seen_of_series_and_what_is_padding(masked):
    _, engine = masked
    engine.window_steps.clear()
    engine.quantiles(GivenPast([[0.0] * 3, [0.0] * 60, [0.0] * 64]), 3)
    assert engine.window_steps == {"seen": 127, "padding": 2 * 16 - 3 + 2 * 64 - 124}


def test_until_a_shorter_length_is_compiled_the_longest_serves(masked):
    made, warm = masked
    engine = WindowEngine(made)
    engine.ladder = (2,)
    engine.warm_up()
    assert engine.lengths == (LONG,)
    past = GivenPast([[1.0, 2.0, 0.0]])
    np.testing.assert_allclose(engine.quantiles(past, 1), warm.quantiles(past, 1), rtol=1e-5, atol=1e-6)
    assert engine.compile_next()
    assert engine.lengths == made.lengths[-2:]
    while engine.compile_next():
        pass
    assert engine.lengths == made.lengths


def test_batches_of_training_are_padded_to_the_rung_of_their_longest_window_and_some_series_have_just_begun():
    made = segment_network(short_windows="masked", context=LONG)
    values = np.random.default_rng(0).normal(50, 3, (1, 400))
    table = feature_table(sequences([recording(values)], configured()), WINDOWED)
    examples = WindowExamples(Examples(table, 4, 2**62), made)
    batches = list(islice(examples.batches(16, np.random.default_rng(1)), POOL))
    segments = np.concatenate([batch[1] for batch in batches])
    for windows, length, target, weight in batches:
        assert windows.shape == (16, rung(int(length.max()) * made.length, made.lengths), 2)
        assert (windows[np.arange(windows.shape[1] // made.length).repeat(made.length) >= length[:, None]] == 0).all()
        assert target.shape == weight.shape == (16, 4)
    assert {batch[0].shape[1] for batch in batches} > {LONG}
    assert 0.5 < np.mean(segments == LONG // made.length) < 0.9


def test_a_window_that_has_just_begun_weighs_what_its_scale_is_of_the_one_the_series_has_in_the_end():
    values = np.random.default_rng(0).normal(50, 3, (1, 200))
    table = feature_table(sequences([recording(values)], configured()), WINDOWED)
    row, made = np.arange(100, 110), segment_network(short_windows="masked", context=LONG)
    examples = WindowExamples(Examples(table, 4, 2**62), made)
    *_, weight = examples._batch(row, np.ones(10, np.int64), np.ones(10, bool))
    cold = cold_past(table, row, np.ones(10, np.int64))
    np.testing.assert_allclose(weight, np.tile(cold.scale() / table.scale[row], (4, 1)).T, rtol=1e-6)
    *_, weight = examples._batch(row, np.full(10, LONG), np.zeros(10, bool))
    np.testing.assert_array_equal(weight, 1)
