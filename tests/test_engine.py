"""Padding and batch-mates leave no trace; nothing compiles late; state in memory and on the device is the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import engine_on_backend
import numpy as np
import pytest
from builders import network, segment_network
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.config import Settings
from forecaster.engines.carried import SERIES_LADDER, Engine
from forecaster.errors import ConfigError
from forecaster.networks.kinds import make_engine

SLOTS = 3_000


def made_warm(resident):
    engine = Engine(network(units=(3,), horizon=2), resident)
    engine.warm_up()
    while engine.compile_next():
        pass
    engine.grow(SLOTS)
    return engine


@pytest.fixture(scope="module", params=[None, SLOTS], ids=["in memory", "on the device"])
def warm(request):
    return made_warm(request.param)


@pytest.fixture(params=[None, SLOTS], ids=["in memory", "on the device"])
def cold_lstm(request):
    engine = Engine(network(units=(3, 2), horizon=2, cell="lstm"), request.param)
    engine.grow(SLOTS)
    return engine


def inputs_of(warm, draw, *shape):
    return draw.normal(0, 1, (*shape, warm.network.settings.inputs)).astype(np.float32)


def recent_of(warm, draw, *shape):
    settings = warm.network.settings
    return draw.normal(0, 1, (*shape, settings.horizon, settings.recents)).astype(np.float32)


def stepped(warm, slot, inputs, recent):
    return np.asarray(warm.step(slot, inputs, recent))[: len(slot)]


def test_nothing_is_compiled_in_an_hour_of_batches_of_any_size(warm):
    before, draw = warm.compiled_shapes, np.random.default_rng(0)
    batches = 3_600 * 5  # of 200 ms each
    for _ in range(batches // 60):  # every sixtieth of them is computed, all shapes of tiles are looked up
        for _ in range(60):
            sizes = np.sort(draw.geometric(draw.uniform(0.001, 1), draw.integers(1, 500)))
            tiles = list(warm.shapes.tiles(np.minimum(sizes, 5_000)))
            assert all(warm.shapes.holding(len(runs), rounds) in warm.shapes.ready for runs, _, rounds in tiles)
        runs, _, rounds = tiles[draw.integers(len(tiles))]
        inputs = inputs_of(warm, draw, len(runs), rounds)
        if rounds == 1:
            stepped(warm, runs, inputs[:, 0], recent_of(warm, draw, len(runs)))
        else:
            hidden = warm.advance(runs, inputs, np.ones((len(runs), rounds), bool))
            cells = draw.integers(1, len(runs) * rounds + 1)
            flat = hidden.reshape(-1, 3)[:cells], inputs.reshape(-1, inputs.shape[-1])[:cells]
            assert len(warm.head(*flat, recent_of(warm, draw, cells)).fetch()) == cells
    assert warm.compiled_shapes == before


def test_the_warm_up_compiles_each_shape_and_each_head_once(warm):
    assert warm.compiled_shapes == len(warm.shapes.all()) + len(SERIES_LADDER)
    assert warm.shapes.ready == warm.shapes.all()


def test_what_is_compiled_at_first_serves_everything_and_the_rest_follows():
    engine = Engine(network(units=(3,), horizon=2))
    engine.warm_up()
    assert {shape.rounds for shape in engine.shapes.ready} == {1}
    at_first = engine.compiled_shapes
    list(engine.shapes.tiles(np.array([700, 3])))
    assert engine.compile_next()
    assert engine.compiled_shapes == at_first + 1


@given(st.integers(1, 30), st.integers(1, 12), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_padding_and_other_rows_leave_no_trace_in_a_row(warm, series, rounds, seed):
    draw = np.random.default_rng(seed)
    inputs = inputs_of(warm, draw, series, rounds)
    valid = np.arange(rounds) < draw.integers(1, rounds + 1, series)[:, None]
    slot, everyone = draw.permutation(SLOTS)[:series], np.arange(SLOTS)
    kept = [draw.normal(0, 1, (SLOTS, 3)).astype(np.float32)]
    warm.hidden.write(everyone, kept)
    together = warm.advance(slot, inputs, valid)
    (after,) = warm.hidden.read(everyone)

    one = int(draw.integers(series))
    warm.hidden.write(everyone, kept)
    length = int(valid[one].sum())
    alone = warm.advance(slot[one : one + 1], inputs[one : one + 1, :length], valid[one : one + 1, :length])
    np.testing.assert_allclose(alone[0], together[one, :length], rtol=0, atol=2e-6)
    others = np.setdiff1d(everyone, slot)
    (now,) = warm.hidden.read(slot[one : one + 1])
    np.testing.assert_allclose(now[0], after[slot[one]], rtol=0, atol=2e-6)
    assert (after[others] == kept[0][others]).all()


def test_carrying_by_steps_in_pieces_and_in_one_pass_of_the_network_is_the_same(warm):
    made, slot, draw = warm.network, np.array([1, 0]), np.random.default_rng(0)
    inputs, recent = inputs_of(warm, draw, 2, 20), recent_of(warm, draw, 2, 20)
    warm.forget(slot)
    pieces = [warm.advance(slot, inputs[:, n : n + 4], np.ones((2, 4), bool)) for n in range(0, 20, 4)]
    hidden = np.concatenate(pieces, axis=1).reshape(40, 3)
    out = warm.head(hidden, inputs.reshape(40, -1), recent.reshape(40, *recent.shape[2:])).fetch()
    expected = made(inputs, recent).numpy()
    np.testing.assert_allclose(out.reshape(2, 20, 2, 3), expected, rtol=0, atol=5e-6)

    warm.forget(slot)
    steps = [stepped(warm, slot, inputs[:, n], recent[:, n]) for n in range(20)]
    np.testing.assert_allclose(np.stack(steps, axis=1), expected, rtol=0, atol=5e-6)


def test_an_lstm_carries_both_of_its_states_by_steps_and_by_scans(cold_lstm):
    made, slot, draw = cold_lstm.network, np.array([5, 2]), np.random.default_rng(0)
    inputs, recent = inputs_of(cold_lstm, draw, 2, 12), recent_of(cold_lstm, draw, 2, 12)
    expected = made(inputs, recent).numpy()
    cold_lstm.advance(slot, inputs[:, :8], np.ones((2, 8), bool))
    kept = cold_lstm.rows(slot)
    assert list(kept) == ["hidden.0", "hidden.cell.0", "hidden.1", "hidden.cell.1"]
    cold_lstm.forget(slot)
    cold_lstm.put(slot[::-1], {name: rows[::-1] for name, rows in kept.items()})
    steps = [stepped(cold_lstm, slot, inputs[:, n], recent[:, n]) for n in range(8, 12)]
    np.testing.assert_allclose(np.stack(steps, axis=1), expected[:, 8:], rtol=0, atol=5e-6)


def test_forgetting_and_growing_keep_the_other_slots_and_what_is_read_can_be_put_elsewhere(warm):
    warm.put(np.arange(SLOTS), {"hidden.0": np.ones((SLOTS, 3), np.float32)})
    warm.forget(np.array([2, 5]))
    assert not warm.rows(np.array([2, 5]))["hidden.0"].any()
    assert (warm.rows(np.array([1, 3]))["hidden.0"] == 1).all()
    warm.grow(SLOTS)
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    warm.put(np.array([7, 4]), {"hidden.0": rows})
    assert (warm.rows(np.array([4, 7]))["hidden.0"] == rows[::-1]).all()
    assert (warm.rows(np.array([SLOTS - 1]))["hidden.0"] == 1).all()


def test_more_series_than_the_device_was_to_have_room_for_are_still_served():
    engine = Engine(network(units=(3,), horizon=2), 4)
    draw = np.random.default_rng(1)
    rows = draw.normal(0, 1, (4, 3)).astype(np.float32)
    engine.put(np.arange(4), {"hidden.0": rows})
    engine.grow(10)
    assert (engine.rows(np.arange(4))["hidden.0"] == rows).all()
    assert stepped(engine, np.arange(10), inputs_of(engine, draw, 10), recent_of(engine, draw, 10)).shape == (10, 2, 3)


def logged_error(caplog):
    return next(r.fields["largest_error_in_scales"] for r in caplog.records if r.getMessage() == "half_precision")


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_forecasts_nearly_the_same_and_shows_its_error(precision, cell, caplog):
    caplog.set_level("INFO")
    made, draw = network(units=(3,), horizon=2, seed=5, cell=cell), np.random.default_rng(2)
    engine = make_engine(made)
    inputs, recent, slot = inputs_of(engine, draw, 50), recent_of(engine, draw, 50), np.arange(50)
    engine.grow(50)
    exact = stepped(engine, slot, inputs, recent)
    try:
        half = make_engine(made, Settings(model={"precision": precision}))
        half.grow(50)
        half.warm_up()
        error = np.abs(stepped(half, slot, inputs, recent) - exact).max()
    finally:
        made.precision = "float32"
    assert 0 < error < 0.2
    assert 0 < logged_error(caplog) < 0.5


def test_a_precision_that_a_network_over_windows_has_not_is_refused():
    with pytest.raises(ConfigError, match=r"model\.precision"):
        make_engine(segment_network(), Settings(model={"precision": "float16"}))


def test_on_jax_the_same_engine_gives_the_same_forecasts(tmp_path):
    program, path = Path(engine_on_backend.__file__), tmp_path / "jax.json"
    with subprocess.Popen([sys.executable, program, path], env={**os.environ, "KERAS_BACKEND": "jax"}) as on_jax:
        one = engine_on_backend.answers()
        assert on_jax.wait(timeout=240) == 0
    other = json.loads(path.read_text())
    assert one.keys() == other.keys()
    for name, expected in one.items():
        atol = 1e-3 if name == "paths" else 1e-5  # a share of a bin is a share of its probability, however small
        np.testing.assert_allclose(other[name], expected, rtol=0, atol=atol, err_msg=name)
