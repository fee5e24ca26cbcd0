"""From a block to quantiles: carried state is one pass, and the inverse of the features is exact."""

from itertools import pairwise

import numpy as np
import pytest
from builders import (
    CONTEXT,
    FLAT,
    Tick,
    features_of,
    network,
    pipeline,
    published,
    randomise,
    records_of,
    run,
    segment_network,
    share_compiled,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.config import StreamSettings
from forecaster.features.running import Features
from forecaster.inference import Inference
from forecaster.networks.kinds import make_engine
from forecaster.windows import Windows


def fresh(made, features=None):
    windows = Windows(StreamSettings(), CONTEXT)
    inference = Inference(features or features_of(made), make_engine(made), windows)
    share_compiled(inference.engine, made)
    return windows, inference


def forecast(windows, inference, names, steps, values):
    time_ms = np.array(steps, np.int64) * 1_000
    _, block = windows.admit(np.zeros(len(names), np.int64), names, time_ms, np.array(values, np.float64))
    return block, inference.run(block, block.trigger >= 0)


def one_pass(made, values, begin):
    """Quantiles `[rounds, outputs, levels]` of one series by the layers of Keras, without carrying anything."""
    state = Features(features_of(made))
    state.grow(1)
    step = state.advance(np.zeros(1, np.int64), np.array([begin]), np.array([values]))
    if made.settings.kind == "segment":
        return np.stack([one_window(made, values[: n + 1], float(step.safe_scale()[0, n])) for n in range(len(values))])
    rounds, ahead = np.arange(len(values)), (made.settings.horizon, made.settings.aggregate)
    row = np.zeros(len(values), np.int64)
    scaled = made(step.inputs(), step.recent(row, rounds, *ahead)[None]).numpy()[0].astype(np.float64)
    baseline = step.baseline(row, rounds, *ahead)
    return baseline[..., None] + step.safe_scale()[0][:, None, None] * scaled


def one_window(made, values, scale):
    """Quantiles `[horizon, levels]` of the segment network in plain NumPy, a value at a time, from all of `values`."""
    weights = {f"{layer.name}/{weight.name}": weight.numpy() for layer in made.parts for weight in layer.weights}
    known = [value for value in values if not np.isnan(value)]
    if not known:
        return np.full((made.settings.horizon, len(made.settings.quantiles)), np.nan)
    anchor, window, last = known[-1], [], None
    for value in ([np.nan] * CONTEXT + list(values))[-CONTEXT:]:
        last = last if np.isnan(value) else value
        window.append(0.0 if last is None else np.clip((last - anchor) / scale, -100, 100))

    def gru(hidden, inputs):
        units, (from_input, from_hidden) = len(hidden), weights["gru/bias"]
        x = inputs @ weights["gru/kernel"] + from_input
        h = hidden @ weights["gru/recurrent_kernel"] + from_hidden
        update, reset = (1 / (1 + np.exp(-(x + h)[part * units : (part + 1) * units])) for part in (0, 1))
        return update * hidden + (1 - update) * np.tanh(x[2 * units :] + reset * h[2 * units :])

    length, state = made.settings.segment_length, np.zeros(made.settings.units[0])
    for low in range(0, CONTEXT, length):
        projected = np.array(window[low : low + length]) @ weights["projection/kernel"] + weights["projection/bias"]
        state = gru(state, np.maximum(projected, 0))
    free = [gru(state, position) @ weights["output/kernel"] + weights["output/bias"]
            for position in weights["position/embeddings"]]  # fmt: skip
    below, middle, above = np.array(free).reshape(-1, 3).T
    scaled = np.stack([middle - np.log1p(np.exp(below)), middle, middle + np.log1p(np.exp(above))], axis=-1)
    return anchor + scale * scaled


NETWORKS = pytest.mark.parametrize(
    "made",
    [network(), segment_network(), network(cell="lstm"), network(aggregate="max")],
    ids=["carried", "segment", "lstm", "aggregate"],
)


@NETWORKS
@given(cuts=st.lists(st.integers(1, 23), max_size=6), missing=st.sets(st.integers(1, 23)), seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_polls_cut_anywhere_forecast_as_one_pass_over_the_sequence(made, cuts, missing, seed):
    values = np.random.default_rng(seed).normal(0, 1, 24)
    values[sorted(missing)] = np.nan
    expected = one_pass(made, values, 7)
    windows, inference = fresh(made)
    bounds, found = [0, *sorted(set(cuts)), 24], []
    for low, high in pairwise(bounds):
        _, emitted = forecast(windows, inference, ["a"] * (high - low), range(7 + low, 7 + high), values[low:high])
        found.append(emitted.quantiles[np.argsort(emitted.row)])
    tolerance = 1e-5 * np.maximum(1, np.abs(expected))
    assert (np.abs(np.concatenate(found) - expected) <= tolerance).all()


@NETWORKS
def test_filled_steps_are_seen_by_the_network_as_missing(made):
    windows, inference = fresh(made)
    block, emitted = forecast(windows, inference, ["a"] * 4, [3, 4, 8, 9], [1.0, 2.0, 3.0, 4.0])
    assert block.trigger.tolist() == [0, 1, -1, -1, -1, 2, 3]
    expected = one_pass(made, [1.0, 2.0, np.nan, np.nan, np.nan, 3.0, 4.0], 3)
    np.testing.assert_allclose(emitted.quantiles[np.argsort(emitted.row)], expected[[0, 1, 5, 6]], rtol=0, atol=1e-5)
    assert np.sort(emitted.seen).tolist() == [1, 2, 3, 4]


@NETWORKS
def test_a_series_that_starts_anew_twice_in_one_block_remembers_nothing(made):
    windows, inference = fresh(made)
    steps = [0, 1, 2, 50, 51, 90]
    _, emitted = forecast(windows, inference, ["a"] * 6, steps, [9.0, -9.0, 5.0, 1.0, 2.0, 3.0])
    found = emitted.quantiles[np.argsort(emitted.row)]
    np.testing.assert_allclose(found[3:5], one_pass(made, [1.0, 2.0], 50), rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[5:], one_pass(made, [3.0], 90), rtol=0, atol=1e-5)


@NETWORKS
def test_only_the_rows_asked_for_are_forecast_and_the_state_moves_all_the_same(made):
    windows, inference = fresh(made)
    _, block = windows.admit(np.zeros(4, np.int64), ["a"] * 4, np.arange(4) * 1_000, np.arange(4.0))
    emitted = inference.run(block, np.array([False, True, False, False]))
    assert emitted.row.tolist() == [1]
    _, last = forecast(windows, inference, ["a"], [4], [4.0])
    np.testing.assert_allclose(last.quantiles[0], one_pass(made, np.arange(5.0), 0)[4], rtol=0, atol=1e-5)


@NETWORKS
def test_an_empty_block_gives_no_forecast(made):
    windows, inference = fresh(made)
    _, emitted = forecast(windows, inference, [], [], [])
    assert emitted.quantiles.shape == (0, made.settings.outputs, 3)


@NETWORKS
def test_forecasts_of_the_logarithm_are_the_exponentials_of_those_of_what_was_its_logarithm(made):
    values = np.append(1.0, np.random.default_rng(5).normal(0, 0.2, 20))  # 1: both begin with the same scale
    values[[4, 9, 10]] = np.nan
    _, plain = forecast(*fresh(made), ["a"] * 21, range(21), values)
    logarithmic = fresh(made, features_of(made).model_copy(update={"transform": "log"}))
    _, found = forecast(*logarithmic, ["a"] * 21, range(21), np.exp(values))
    np.testing.assert_array_equal(found.row, plain.row)
    np.testing.assert_allclose(found.quantiles, np.exp(plain.quantiles), rtol=1e-5)


WILD = [(1e6, 0.01), (0.0, 1e-9), (1e-9, 1e-12), (1e30, 1e27), (-1e30, 1e30), (0.0, 3e37), (5.0, 0.0), (0.0, 0.0)]


@pytest.mark.parametrize("quantiles", [(0.5,), (0.1, 0.5, 0.9), (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)])
@pytest.mark.parametrize("windowed", [False, True])
def test_quantiles_never_cross_in_what_is_published_whatever_weights_and_scales(quantiles, windowed):
    if windowed:
        made = segment_network(units=3, quantiles=quantiles, seed=len(quantiles))
    else:
        made = network(units=(3,), quantiles=quantiles, features=FLAT, seed=len(quantiles), horizon=4)
    draw = np.random.default_rng(4)
    for seed, spread in enumerate((0.01, 0.5, 20.0)):
        randomise(made, seed, spread)
        ticks = [
            Tick(f"s{n}", step, float(np.float32(size + move * draw.normal())))
            for step in range(12)
            for n, (size, move) in enumerate(WILD)
        ]
        forecasts = published(run(pipeline(made=made, features=FLAT), records_of(ticks), [1, 20]))
        assert len(forecasts) == len(ticks)
        for found in forecasts:
            levels = np.array(list(found["quantiles"].values()))
            assert levels.shape == (len(quantiles), 4)
            assert np.isfinite(levels).all()
            assert (np.diff(levels, axis=0) >= 0).all()
            assert found["point"] == found["quantiles"]["0.5"]


def test_a_series_that_never_moves_is_forecast_where_it_is():
    ticks = [Tick("a", n, 1e6) for n in range(30)]
    last = published(run(pipeline(), records_of(ticks)))[-1]
    assert np.abs(np.array(last["point"]) - 1e6).max() < 1e6 * 0.01
