"""The network: carried steps against Keras' own layers, and quantiles that never cross."""

from itertools import pairwise

import keras
import numpy as np
import pytest
from builders import randomise
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from forecaster.networks.many_to_many import Network
from forecaster.networks.spec import NetworkSettings

INPUTS, RECENTS = 5, 2


def make(units=(6,), horizon=3, quantiles=(0.1, 0.5, 0.9), seed=0, spread=0.5, **more):
    shape = NetworkSettings(inputs=INPUTS, recents=RECENTS, units=units, horizon=horizon, quantiles=quantiles, **more)
    made = Network(shape, seed)
    randomise(made, seed, spread)
    return made


def draw_inputs(series, rounds, seed=0):
    return np.random.default_rng(seed).normal(0, 1, (series, rounds, INPUTS)).astype(np.float32)


def draw_recent(inputs, horizon=3):
    shape = *inputs.shape[:2], horizon, RECENTS
    return np.random.default_rng(1).normal(0, 1, shape).astype(np.float32)


def nothing_yet(made, series):
    return [np.zeros((series, width), np.float32) for width in made.state_widths.values()]


def as_array(tensor):
    return keras.ops.convert_to_numpy(tensor)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("units", [(6,), (6, 4), (3, 3, 3)])
def test_carried_steps_and_the_head_are_one_pass_of_keras_own_layers(units, cell):
    made, inputs = make(units, cell=cell), draw_inputs(4, 23)
    valid = np.ones((4, 23), bool)
    hidden, last = made.advance(nothing_yet(made, 4), inputs, valid)
    recent = draw_recent(inputs)
    found, expected = made.head(hidden, inputs, recent), made(inputs, recent)
    np.testing.assert_allclose(as_array(found), as_array(expected), rtol=0, atol=5e-6)
    newest = dict(zip(made.state_widths, last, strict=True))[f"hidden.{len(units) - 1}"]
    np.testing.assert_allclose(as_array(newest), as_array(hidden)[:, -1], rtol=0, atol=0)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@given(st.lists(st.integers(1, 22), max_size=4), st.integers(0, 2**16))
@settings(max_examples=5, deadline=None)
def test_a_sequence_cut_anywhere_carries_its_state_across_the_cuts(cell, cuts, seed):
    made, inputs = DEEP[cell], draw_inputs(3, 23, seed)
    recent = draw_recent(inputs)
    state, found, bounds = nothing_yet(made, 3), [], [0, *sorted(set(cuts)), 23]
    for low, high in pairwise(bounds):
        hidden, state = made.advance(state, inputs[:, low:high], np.ones((3, high - low), bool))
        found.append(as_array(made.head(hidden, inputs[:, low:high], recent[:, low:high])))
    np.testing.assert_allclose(np.concatenate(found, axis=1), as_array(made(inputs, recent)), rtol=0, atol=5e-6)


DEEP = {cell: make((6, 4), seed=1, cell=cell) for cell in ("gru", "lstm")}


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@given(st.integers(0, 2**16))
@settings(max_examples=5, deadline=None)
def test_rounds_that_are_masked_leave_every_layers_state_alone(cell, seed):
    made, draw = DEEP[cell], np.random.default_rng(seed)
    inputs, valid = draw_inputs(4, 12, seed), draw.random((4, 12)) < 0.6
    start = [draw.normal(0, 1, (4, width)).astype(np.float32) for width in made.state_widths.values()]
    hidden, last = made.advance(start, inputs, valid)
    for series in range(4):
        kept = np.flatnonzero(valid[series])
        own = [layer[series : series + 1] for layer in start]
        if not len(kept):
            assert all((as_array(a)[series] == b[0]).all() for a, b in zip(last, own, strict=True))
            continue
        packed, carried = made.advance(own, inputs[series : series + 1, kept], np.ones((1, len(kept)), bool))
        np.testing.assert_allclose(as_array(hidden)[series, kept], as_array(packed)[0], rtol=0, atol=2e-6)
        for one, other in zip(last, carried, strict=True):
            np.testing.assert_allclose(as_array(one)[series], as_array(other)[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize("quantiles", [(0.5,), (0.1, 0.5, 0.9), (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)])
@pytest.mark.parametrize("spread", [0.3, 30.0, 3e4])
def test_quantiles_never_cross_whatever_the_weights(quantiles, spread):
    made = make(quantiles=quantiles, seed=7, spread=spread)
    inputs = draw_inputs(8, 20) * np.float32(10)
    out = as_array(made(inputs, draw_recent(inputs)))
    assert out.shape == (8, 20, 3, len(quantiles))
    assert np.isfinite(out).all()
    assert (np.diff(out, axis=-1) >= 0).all()


def test_the_middle_output_is_the_half_quantile_wherever_it_stands():
    made = make(quantiles=(0.5, 0.6, 0.7), seed=3)
    made.output_layer.bias.assign(np.tile(np.float32([4.0, -100.0, -100.0]), 3))
    made.output_layer.kernel.assign(np.zeros((6, 9), np.float32))
    made.skip.kernel.assign(np.zeros((INPUTS, 9), np.float32))
    np.testing.assert_allclose(
        as_array(made(draw_inputs(1, 1), np.zeros((1, 1, 3, RECENTS), np.float32)))[0, 0, 0], [4, 4, 4], atol=1e-6
    )


def test_inputs_and_recent_profiles_reach_the_output_past_the_recurrent_layers():
    made, inputs = make(quantiles=(0.5,), seed=4), draw_inputs(2, 3)
    made.output_layer.kernel.assign(np.zeros((6, 3), np.float32))
    made.output_layer.bias.assign(np.ones(3, np.float32))
    recent = draw_recent(inputs)
    expected = 1 + inputs @ made.skip.kernel.numpy() + np.einsum("brhk,hk->brh", recent, made.recent.kernel.numpy())
    np.testing.assert_allclose(as_array(made(inputs, recent))[..., 0], expected, rtol=0, atol=2e-6)


def test_a_network_is_its_settings_and_its_seed():
    settings = NetworkSettings(inputs=INPUTS, recents=2, units=(4, 3), horizon=2, quantiles=(0.5,), dropout=0.5)
    one, same, other = Network(settings, 5), Network(settings, 5), Network(settings, 6)
    inputs = draw_inputs(2, 4)
    recent = draw_recent(inputs, 2)
    np.testing.assert_array_equal(as_array(one(inputs, recent)), as_array(same(inputs, recent)))
    assert not np.allclose(as_array(one(inputs, recent)), as_array(other(inputs, recent)))
    assert not np.allclose(as_array(one(inputs, recent, training=True)), as_array(one(inputs, recent)))


@pytest.mark.parametrize("wrong", [{"units": ()}, {"units": (0,)}, {"horizon": 0}, {"quantiles": ()}, {"dropout": 1.0}])
def test_a_network_without_a_part_is_refused(wrong):
    with pytest.raises(ValidationError):
        NetworkSettings(**{"inputs": 1, "units": (1,), "horizon": 1, "quantiles": (0.5,)} | wrong)
