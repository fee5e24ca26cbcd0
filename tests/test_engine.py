"""Tiles cover every round once and in order; padding and batch-mates leave no trace; nothing compiles late."""

import numpy as np
import pytest
from builders import network
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.engine import HEAD_LADDER, MOST_CELLS, ROUNDS_LADDER, SERIES_LADDER, Engine, tiles

lengths = st.one_of(
    st.lists(st.integers(1, 20), max_size=40),
    st.lists(st.integers(1, 3_000), max_size=6),
    st.tuples(st.integers(1, 2_600), st.sampled_from([1, 3, 64, 600])).map(lambda pair: [pair[1]] * pair[0]),
    st.tuples(st.integers(1, 1_100), st.integers(1, 1_500)).map(lambda pair: [1] * pair[0] + [pair[1]]),
)


@given(lengths)
@settings(max_examples=300, deadline=None)
def test_tiles_cover_every_round_of_every_run_once_and_in_order(length):
    length = np.array(length, np.int64)
    done = np.zeros(len(length), np.int64)
    for runs, first, rounds in tiles(length):
        assert len(set(runs.tolist())) == len(runs) <= SERIES_LADDER[-1]
        assert 1 <= rounds <= ROUNDS_LADDER[-1]
        assert (done[runs] == first).all()
        assert (length[runs] > first).all()
        done[runs] = np.minimum(first + rounds, length[runs])
    assert (done == length).all()


@given(lengths)
@settings(max_examples=100, deadline=None)
def test_tiles_stay_within_the_shapes_that_are_warmed_up(length):
    for runs, _, rounds in tiles(np.array(length, np.int64)):
        series = next(rung for rung in SERIES_LADDER if rung >= len(runs))
        columns = next(rung for rung in ROUNDS_LADDER if rung >= rounds)
        assert series * columns <= MOST_CELLS


@pytest.fixture(scope="module")
def warm():
    made = network(units=(3,), horizon=2)
    engine = Engine(made)
    engine.warm_up()
    engine.grow(3_000)
    return engine


@given(st.integers(1, 1_024), st.integers(1, 512), st.integers(0, 2**16))
@settings(max_examples=40, deadline=None)
def test_nothing_is_compiled_after_the_warm_up(warm, series, rounds, seed):
    before = warm.compiled_shapes
    series = min(series, max(1, MOST_CELLS // next(rung for rung in ROUNDS_LADDER if rung >= rounds)))
    series = next(rung for rung in reversed((1, *SERIES_LADDER)) if rung <= series) if series > 2 else series
    draw = np.random.default_rng(seed)
    slot = draw.permutation(3_000)[:series]
    inputs = draw.normal(0, 1, (series, rounds, warm.network.settings.inputs)).astype(np.float32)
    hidden = warm.advance(slot, inputs, np.ones((series, rounds), bool))
    rows = int(draw.integers(1, 2_500))
    recent = np.zeros((rows, 2, warm.network.settings.recents), np.float32)
    warm.head(np.resize(hidden[:, -1], (rows, 3)), np.resize(inputs[:, -1], (rows, inputs.shape[-1])), recent)
    assert warm.compiled_shapes == before


def test_the_warm_up_compiles_each_shape_once(warm):
    shapes = sum(series * rounds <= MOST_CELLS for series in SERIES_LADDER for rounds in ROUNDS_LADDER)
    assert warm.compiled_shapes == shapes + len(HEAD_LADDER)


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_padding_and_other_rows_leave_no_trace_in_a_row(warm, series, rounds, seed):
    draw = np.random.default_rng(seed)
    inputs = draw.normal(0, 1, (series, rounds, warm.network.settings.inputs)).astype(np.float32)
    valid = np.arange(rounds) < draw.integers(1, rounds + 1, series)[:, None]
    slot = draw.permutation(3_000)[:series]
    for hidden in warm.hidden:
        hidden[:] = draw.normal(0, 1, hidden.shape)
    kept = [hidden.copy() for hidden in warm.hidden]
    together = warm.advance(slot, inputs, valid)
    after = [hidden.copy() for hidden in warm.hidden]

    one = int(draw.integers(series))
    for hidden, former in zip(warm.hidden, kept, strict=True):
        hidden[:] = former
    length = int(valid[one].sum())
    alone = warm.advance(slot[one : one + 1], inputs[one : one + 1, :length], valid[one : one + 1, :length])
    np.testing.assert_allclose(alone[0], together[one, :length], rtol=0, atol=2e-6)
    others = np.setdiff1d(np.arange(3_000), slot)
    for now, then, former in zip(warm.hidden, after, kept, strict=True):
        np.testing.assert_allclose(now[slot[one]], then[slot[one]], rtol=0, atol=2e-6)
        assert (then[others] == former[others]).all()


def test_carrying_in_pieces_is_one_pass_of_the_network(warm):
    made, slot = warm.network, np.array([1, 0])
    warm.forget(slot)
    inputs = np.random.default_rng(0).normal(0, 1, (2, 20, made.settings.inputs)).astype(np.float32)
    pieces = [warm.advance(slot, inputs[:, n : n + 4], np.ones((2, 4), bool)) for n in range(0, 20, 4)]
    recent = np.random.default_rng(1).normal(0, 1, (2, 20, 2, made.settings.recents)).astype(np.float32)
    hidden = np.concatenate(pieces, axis=1).reshape(40, 3)
    out = warm.head(hidden, inputs.reshape(40, -1), recent.reshape(40, 2, -1))
    expected = made(inputs, recent).numpy()
    np.testing.assert_allclose(out.reshape(2, 20, 2, 3), expected, rtol=0, atol=5e-6)


def test_forgetting_a_slot_and_growing_keep_the_other_slots(warm):
    for hidden in warm.hidden:
        hidden[:] = 1
    warm.forget(np.array([2, 5]))
    assert all((h[[2, 5]] == 0).all() and (h[[1, 3]] == 1).all() for h in warm.hidden)
    warm.grow(3_001)
    assert all(len(h) == 3_001 and (h[3_000] == 0).all() and (h[1] == 1).all() for h in warm.hidden)
