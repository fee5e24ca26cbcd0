"""The arithmetic of the cells, against plain NumPy that goes round by round and series by series."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from forecaster.networks.cells import CELLS

PLAIN = ops.matmul


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def reference_gru(weights, x, state):
    (hidden,) = state
    kernel, recurrent, (bias, hidden_bias) = weights
    (z, r, c), (hz, hr, hc) = np.split(x @ kernel + bias, 3), np.split(hidden @ recurrent + hidden_bias, 3)
    update, reset = sigmoid(z + hz), sigmoid(r + hr)
    return (update * hidden + (1 - update) * np.tanh(c + reset * hc),)


def reference_lstm(weights, x, state):
    hidden, cell = state
    kernel, recurrent, bias = weights
    i, f, c, o = np.split(x @ kernel + hidden @ recurrent + bias, 4)
    cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(c)
    return sigmoid(o) * np.tanh(cell), cell


REFERENCES = {"gru": reference_gru, "lstm": reference_lstm}


def drawn(kind, units, inputs, draw):
    """Keras' cell with drawn weights, and these in float64."""
    layer = CELLS[kind].layer(units)
    layer.build((None, None, inputs))
    for weight in layer.trainable_variables:
        weight.assign(draw.normal(0, 0.7, tuple(weight.shape)))
    return layer.cell, [weight.numpy().astype(np.float64) for weight in layer.trainable_variables]


def walked(kind, weights, inputs, valid, start):
    """Outputs `[rounds, units]` and the last state of one series."""
    state, outputs = tuple(part.astype(np.float64) for part in start), []
    for x, is_valid in zip(inputs.astype(np.float64), valid, strict=True):
        state = REFERENCES[kind](weights, x, state) if is_valid else state
        outputs.append(state[0])
    return np.array(outputs), state


@pytest.mark.parametrize("kind", list(CELLS))
@given(
    series=st.integers(1, 4),
    rounds=st.integers(1, 9),
    units=st.integers(1, 5),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**16),
)
@settings(max_examples=12, deadline=None)
def test_a_scan_is_the_reference_walked_round_by_round(kind, series, rounds, units, share, seed):
    draw = np.random.default_rng(seed)
    cell, weights = drawn(kind, units, 3, draw)
    inputs, valid = draw.normal(size=(series, rounds, 3)).astype(np.float32), draw.random((series, rounds)) < share
    start = tuple(draw.normal(size=(series, units)).astype(np.float32) for _ in CELLS[kind].state)
    outputs, last = CELLS[kind].scan(cell, inputs, valid, start, PLAIN)
    for n in range(series):
        expected, state = walked(kind, weights, inputs[n], valid[n], [part[n] for part in start])
        np.testing.assert_allclose(ops.convert_to_numpy(outputs)[n], expected, rtol=0, atol=5e-6)
        for found, one in zip(last, state, strict=True):
            np.testing.assert_allclose(ops.convert_to_numpy(found)[n], one, rtol=0, atol=5e-6)


@pytest.mark.parametrize("kind", list(CELLS))
@given(units=st.integers(1, 6), seed=st.integers(0, 2**16))
@settings(max_examples=10, deadline=None)
def test_a_step_is_that_of_keras_own_cell(kind, units, seed):
    draw = np.random.default_rng(seed)
    cell, _ = drawn(kind, units, 3, draw)
    inputs = draw.normal(size=(4, 3)).astype(np.float32)
    start = tuple(draw.normal(size=(4, units)).astype(np.float32) for _ in CELLS[kind].state)
    after = CELLS[kind].step(cell, CELLS[kind].projected(cell, inputs, PLAIN), start, PLAIN)
    _, expected = cell(inputs, [ops.convert_to_tensor(part) for part in start])
    for found, one in zip(after, expected if isinstance(expected, list | tuple) else [expected], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(found), ops.convert_to_numpy(one), rtol=0, atol=2e-6)
