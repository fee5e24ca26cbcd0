"""Sampled paths of values: as one path at a time draws them, and changed by nothing but seed, series and origin."""

import numpy as np
import pytest
import tensorflow as tf
from builders import START_MS, Tick, assert_equal, compiled, path_network, pipeline, published, records_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cells import REFERENCES

from forecaster.config import Settings
from forecaster.networks.cells import CELLS
from forecaster.recording import Recording
from training.fit import train
from training.gru import gru
from training.lstm import lstm
from training.path_examples import places_of
from training.prepare import Source

values = st.one_of(st.none(), st.floats(-5, 5, width=32))
streams = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 1, 1, 2, 5]), values), min_size=1, max_size=40)
cut_lists = st.lists(st.integers(1, 40), max_size=5)
CELL_KINDS = st.sampled_from(["gru", "lstm"])
TRIED = {"max_examples": 15, "deadline": None}


def ticks_of(stream):
    clock = dict.fromkeys("abc", 0)
    for name, ahead, value in stream:
        clock[name] += ahead
        yield Tick(name, clock[name], value, "abc".index(name) % 2)


def assert_same(left, right):
    """Quantiles equal as forecasts are, and the paths themselves."""
    left, right = ([{**f, "paths": 0} for f in side] for side in (left, right))
    assert_equal(left, right)


def in_order(forecasts):
    return sorted(forecasts, key=lambda f: (f["source"]["partition"], f["source"]["offset"]))


@given(streams, cut_lists)
@settings(**TRIED)
def test_poll_boundaries_do_not_change_the_paths(stream, cuts):
    records = records_of(ticks_of(stream))
    whole, parts = (in_order(published(run(pipeline(made=path_network()), records, c))) for c in ((), cuts))
    assert_same(parts, whole)
    for one, other in zip(parts, whole, strict=True):
        np.testing.assert_allclose(one["paths"], other["paths"], rtol=1e-4, atol=1e-4 * max(1.0, one["scale"]))


@given(streams, st.lists(values, min_size=1, max_size=15), cut_lists)
@settings(**TRIED)
def test_batch_mates_do_not_change_the_paths(mates, own, cuts):
    target = records_of([Tick("target", n, value) for n, value in enumerate(own)], first_offset=1_000)
    among = published(run(pipeline(made=path_network()), [*records_of(ticks_of(mates)), *target], cuts))
    alone = published(run(pipeline(made=path_network()), target))
    assert_same([f for f in among if f["series"] == "target"], alone)


def test_a_message_has_paths_of_the_horizon_and_their_quantiles():
    setup = Settings(model={"sampling": {"paths": 5}})
    (*_, forecast) = published(
        run(pipeline(setup, path_network()), records_of([Tick("a", n, n % 3) for n in range(9)]))
    )
    paths = np.array(forecast["paths"])
    assert (forecast["kind"], forecast["horizon"], paths.shape) == ("paths", 5, (5, 5))
    for level, numbers in forecast["quantiles"].items():
        np.testing.assert_allclose(numbers, np.quantile(paths, float(level), axis=0), atol=1e-5)
    assert forecast["point"] == forecast["quantiles"]["0.5"]


def weights_of(made):
    return {f"{part.name}/{w.name}": w.numpy().astype(np.float64) for part in made.parts for w in part.weights}


def moved(made, weights, state, below):
    """One round of stacked cells in NumPy, each with a state of one array or two."""
    after = []
    for layer, before in enumerate(state):
        names = ("kernel", "recurrent_kernel", "bias")
        of_layer = [weights[f"{made.settings.cell}_{layer}/{name}"] for name in names]
        after.append(REFERENCES[made.settings.cell](of_layer, below, before))
        below = after[-1][0]
    return after


def slow_path(made, state, origin, recent, uniform):
    """Scaled values of one path, step by step, and how near a draw came to the edge of two bins."""
    weights, edges, season = weights_of(made), np.array(made.settings.bins), made.settings.seasons[0]
    terms, path, nearest = origin[-4:], [], 1.0
    for step, number in enumerate(uniform, 1):
        logits = (
            state[-1][0] @ weights["output/kernel"]
            + weights["output/bias"]
            + recent[step - 1] @ weights["recent/kernel"]
        )
        shares = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        below = np.concatenate([[0.0], np.cumsum(shares)])
        place = int(np.searchsorted(below[1:], number, "right"))
        nearest = min(nearest, np.abs(below[1:-1] - number).min())
        path.append(np.interp(number, below[place : place + 2], edges[place : place + 2]))
        turned = []
        for k in (1, 2):
            sine, cosine = terms[2 * k - 2 : 2 * k]
            angle = np.arctan2(sine, cosine) + 2 * np.pi * k * step / season
            turned += [np.hypot(sine, cosine) * np.sin(angle), np.hypot(sine, cosine) * np.cos(angle)]
        state = moved(made, weights, state, np.concatenate([weights["embedding/embeddings"][place], turned]))
    return path, nearest


@given(CELL_KINDS, st.integers(1, 5), st.integers(0, 2**16))
@settings(max_examples=20, deadline=None)
def test_the_batched_generator_draws_as_one_path_at_a_time_does(cell, series, seed):
    made, draw = path_network(cell=cell), np.random.default_rng(seed)
    shape, engine, arrays = made.settings, compiled(made), len(CELLS[cell].state)
    widths = np.repeat(shape.units, arrays).tolist()
    states = [draw.normal(0, 0.5, (series, units)).astype(np.float32) for units in widths]
    origin = draw.normal(0, 1, (series, shape.inputs)).astype(np.float32)
    recent = draw.normal(0, 1, (series, shape.horizon, shape.recents)).astype(np.float32)
    uniform = draw.random((series, shape.horizon, made.sampling.paths), np.float32)
    drawn = engine.answers(np.concatenate(states, axis=1), origin, recent, uniform).fetch()
    for n in range(series):
        for path in range(0, made.sampling.paths, 5):
            parts = [rows[n].astype(np.float64) for rows in states]
            start = [tuple(parts[low : low + arrays]) for low in range(0, len(parts), arrays)]
            slow, nearest = slow_path(made, start, origin[n], recent[n], uniform[n, :, path])
            if nearest > 1e-4:
                np.testing.assert_allclose(drawn[n, :, path], slow, atol=2e-3)


@pytest.mark.parametrize(("kind", "by_hand"), [("gru", gru), ("lstm", lstm)])
@pytest.mark.parametrize("rounds", [1, 6])
def test_a_layer_that_goes_on_from_a_state_has_the_gradient_of_keras_by_all_of_its_states(kind, by_hand, rounds):
    draw = np.random.default_rng(0)
    cell = path_network(units=(4,), cell=kind).recurrent[0].cell
    inputs = tf.constant(draw.normal(0, 1, (rounds, 3, path_network().settings.inputs)).astype(np.float32))
    arrays = range(len(CELLS[kind].state))
    start = [tf.constant(draw.normal(0, 1, (3, 4)).astype(np.float32)) for _ in arrays]
    weight = [tf.constant(draw.normal(0, 1, (rounds, 3, 4)).astype(np.float32)) for _ in arrays]

    def by_keras(inputs, start):
        states, state = [], list(start)
        for row in tf.unstack(inputs):
            _, state = cell(row, state)
            states.append(state)
        return [tf.stack(every) for every in zip(*states, strict=True)]

    found = []
    for way in (by_keras, lambda inputs, start: by_hand(cell, inputs, tuple(start))):
        with tf.GradientTape() as tape:
            tape.watch([inputs, *start])
            states = way(inputs, start)
            loss = sum(tf.reduce_sum(every * by) for every, by in zip(states, weight, strict=True))
        weights = [variable.value for variable in cell.trainable_variables]
        found.append([*states, *tape.gradient(loss, [inputs, *start, *weights])])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=2e-5)


@given(st.lists(st.floats(-9, 9), min_size=1, max_size=30))
@settings(max_examples=100, deadline=None)
def test_every_value_is_in_the_bin_between_its_edges_or_in_the_last_one_on_its_side(targets):
    edges = np.array(path_network().settings.bins)
    for target, place in zip(targets, places_of(np.array(targets), edges), strict=True):
        assert place == 0 or edges[place] <= target
        assert place == len(edges) - 2 or target < edges[place + 1]


@pytest.mark.parametrize(("seasons", "cell"), [(["6s"], "gru"), ([], "gru"), ([], "lstm")])
def test_training_learns_that_what_lasts_goes_on_along_a_path(seasons, cell):
    """A walk of two values: a path that has gone up stays up, which no quantiles of single steps tell."""
    draw = np.random.default_rng(1)
    level = np.sign(np.cumsum(draw.normal(size=1_200)))
    level = np.where(level == 0, 1, level) * 5 + draw.normal(0, 0.1, 1_200)
    time_ms = START_MS // 6_000 * 6_000 + 1_000 * np.arange(1_200)
    model = {"task": "paths", "horizon": 3, "context_length": 24, "units": [8], "dropout": 0.0, "seasons": seasons}
    model |= {"cell": cell}
    training = {"epochs": 6, "steps_per_epoch": 20, "learning_rate": 0.02, "batch_size": 16}
    setup = Settings(model=model | {"quantiles": (0.1, 0.5, 0.9)}, training=training)
    manifest, network = train(Source([Recording(["a"], np.zeros(1_200, np.int64), time_ms, level)]), setup)
    told = manifest.training
    assert told["validation_loss"] < told["baseline_validation_loss"]
    assert network.settings.seasons == manifest.features.seasons
