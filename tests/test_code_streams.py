"""Streams of codes through the line: what is unknown, what is missing, and continuations that nothing else changes."""

import json
from collections import Counter

import numpy as np
import pytest
from builders import (
    CONTEXT,
    START_MS,
    Row,
    Tick,
    code_network,
    compiled,
    manifest,
    pipeline,
    published,
    records_of,
    run,
)
from checkpoints import checkpointed
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.bundle.store import load_bundle, load_configured, save_bundle
from forecaster.config import Settings
from forecaster.engines.from_state import StateEngine
from forecaster.errors import ConfigError
from forecaster.networks.kinds import make_engine

LABELS, THREE = ("calm", "near"), ("a", "b", "c")
NETWORKS = [code_network(), code_network(labels=LABELS), code_network(labels=THREE), code_network(cell="lstm")]
NAMES = ["symbols", "two labels", "three labels", "lstm"]
codes = st.sampled_from(["up", "flat", "down", "never seen", None])
streams = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([1, 1, 1, 2, 5]), codes), min_size=1, max_size=40)
cut_lists = st.lists(st.integers(1, 40), max_size=5)
made_networks = st.sampled_from(NETWORKS)
TRIED = {"max_examples": 25, "deadline": None}


def ticks_of(stream):
    clock = Counter()
    for name, ahead, code in stream:
        clock[name] += ahead
        yield Tick(name, clock[name], code, "abc".index(name) % 2)


def assert_same(left, right):
    """Equal, probabilities within 1e-5."""
    assert [{**one, "next": 0, "probabilities": 0} for one in left] == [
        {**one, "next": 0, "probabilities": 0} for one in right
    ]
    for one, other in zip(left, right, strict=True):
        for name in {"next", "probabilities"} & one.keys():
            assert one[name].keys() == other[name].keys()
            assert np.allclose(list(one[name].values()), [other[name][key] for key in one[name]], rtol=0, atol=1e-5)


def in_order(forecasts):
    return sorted(forecasts, key=lambda f: (f["source"]["partition"], f["source"]["offset"]))


@given(streams, cut_lists, made_networks, st.sampled_from(["1s", "tick"]))
@settings(**TRIED)
def test_poll_boundaries_change_neither_probabilities_nor_paths(stream, cuts, made, step):
    records, setup = records_of(ticks_of(stream)), Settings(stream={"step": step})
    whole, parts = run(pipeline(setup, made), records), run(pipeline(setup, made), records, cuts)
    assert_same(in_order(published(parts)), in_order(published(whole)))
    assert sum(output.unknown_codes for output in parts) == sum(code == "never seen" for _, _, code in stream)


@given(streams, st.lists(codes, min_size=1, max_size=15), cut_lists, made_networks)
@settings(**TRIED)
def test_batch_mates_change_neither_probabilities_nor_paths(mates, own, cuts, made):
    target = records_of([Tick("target", n, code) for n, code in enumerate(own)], first_offset=1_000)
    among = run(pipeline(made=made), [*records_of(ticks_of(mates)), *target], cuts)
    alone = published(run(pipeline(made=made), target))
    assert_same([f for f in published(among) if f["series"] == "target"], alone)


def test_a_missing_observation_leaves_the_state_alone_and_is_forecast_from():
    (one, other) = (
        published(run(pipeline(made=code_network()), records_of([Tick("a", *tick) for tick in ticks])))
        for ticks in ([(0, "up"), (1, None), (2, "down")], [(0, "up"), (2, "down")])
    )
    assert len(one) == 3
    assert one[0]["next"] == one[1]["next"]
    assert one[0]["paths"] != one[1]["paths"], "another origin draws anew"
    assert_same([{**one[2], "source": 0}], [{**other[1], "source": 0}])


def test_nothing_is_told_before_the_first_code():
    outputs = run(pipeline(made=code_network()), records_of([Tick("a", 0, None), Tick("a", 1, "up")]))
    assert outputs[0].outcomes["rejected"] == 1
    assert len(published(outputs)) == 1


def test_an_unknown_code_is_the_unknown_one_and_counted_once():
    line = pipeline(made=code_network())
    records = records_of([Tick("a", 0, "up"), Tick("a", 1, "sideways"), Tick("a", 2, 7), Tick("a", 3, "flat")])
    outputs = run(line, [row._replace(silent=row.offset == 2) for row in records])
    assert [output.unknown_codes for output in outputs] == [1]
    assert line.windows.rings.window(0).tolist()[-4:] == [1, 0, 0, 2]
    texts = {code for f in published(outputs) for path in f["paths"] for code in path}
    assert texts <= {"up", "flat", "down"}, "what is unknown is never drawn"


def test_a_whole_number_is_the_code_that_its_digits_spell():
    made = code_network(codes=("3", "up"))
    line = pipeline(made=made)
    values = [b'{"series":"a","ts":%d,"value":%b}' % (START_MS + 1_000 * n, v) for n, v in enumerate([b"3", b'"3"'])]
    run(line, [Row(value, 0, n) for n, value in enumerate(values)])
    assert line.windows.rings.window(0).tolist()[-2:] == [1, 1]


@pytest.mark.parametrize(("value", "reason"), [(b"1.5", "wrong_type"), (b"true", "wrong_type"), (b'""', "bad_code")])
def test_what_is_no_code_is_a_dead_letter(value, reason):
    record = Row(b'{"series":"a","ts":%d,"value":%b}' % (START_MS, value))
    (output,) = run(pipeline(made=code_network()), [record])
    assert output.dead_letters == {reason: 1}


def test_a_message_has_the_likeliest_codes_first_and_paths_of_the_horizon():
    setup = Settings(model={"sampling": {"paths": 5}})
    (forecast,) = published(run(pipeline(setup, code_network()), records_of([Tick("a", 0, "up")])))
    chances = list(forecast["next"].values())
    assert (forecast["kind"], forecast["horizon"], set(forecast["next"])) == ("symbols", 4, {"up", "flat", "down"})
    assert chances == sorted(chances, reverse=True)
    assert abs(sum(chances) - 1) < 1e-5
    assert [len(path) for path in forecast["paths"]] == [4] * 5


def test_of_many_codes_the_ten_likeliest_are_published():
    many = code_network(codes=tuple(f"event {n}" for n in range(40)))
    (forecast,) = published(run(pipeline(made=many), records_of([Tick("a", 0, "event 3")])))
    assert len(forecast["next"]) == 10


@pytest.mark.parametrize("labels", [LABELS, THREE])
def test_a_class_message_has_every_label_and_the_likeliest_of_them(labels):
    (forecast,) = published(run(pipeline(made=code_network(labels=labels)), records_of([Tick("a", 0, "up")])))
    chances = forecast["probabilities"]
    assert (forecast["kind"], tuple(chances)) == ("class", labels)
    assert forecast["class"] == max(chances, key=chances.get)
    assert abs(sum(chances.values()) - 1) < 1e-5


def test_the_seed_alone_decides_between_two_runs():
    records = records_of([Tick("a", n, "up") for n in range(4)])

    def paths(seed):
        setup = Settings(model={"sampling": {"paths": 4, "seed": seed}})
        return [f["paths"] for f in published(run(pipeline(setup, code_network()), records))]

    assert paths(1) == paths(1)
    assert paths(1) != paths(2)


@pytest.mark.parametrize("made", NETWORKS, ids=NAMES)
def test_a_bundle_reads_back_and_refuses_another_task(made, tmp_path):
    sealed = save_bundle(tmp_path / "bundle", manifest(made), made)
    loaded, network = load_bundle(tmp_path / "bundle")
    assert loaded == sealed
    assert network.settings == made.settings
    for task in ("forecast", "classify" if made.settings.task == "symbols" else "symbols"):
        model = {"bundle": tmp_path / "bundle", "task": task}
        with pytest.raises(ConfigError, match=rf"^model\.task: the configuration says '{task}'"):
            load_configured(Settings(model=model))


@pytest.mark.parametrize(
    ("setup", "named"),
    [
        ({"state": {"window_type": "float16"}}, "state.window_type"),
        ({"model": {"precision": "bfloat16"}}, "model.precision"),
    ],
)
def test_codes_are_kept_and_served_exactly(setup, named):
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        make_engine(code_network(), Settings(**setup))


@pytest.mark.parametrize("made", NETWORKS, ids=NAMES)
def test_state_made_anew_from_the_windows_goes_on_as_if_nothing_had_been(made):
    line = pipeline(made=made)
    records = records_of([Tick("a", n, ("up", "down", None)[n % 3]) for n in range(CONTEXT)])
    run(line, records)
    slot = np.array([0])
    before = line.inference.engine.rows(slot)
    line.inference.engine.forget(slot)
    line.inference.complete(slot, {"values"})
    for name, rows in line.inference.engine.rows(slot).items():
        np.testing.assert_allclose(rows, before[name], rtol=0, atol=1e-6)


def reference_paths(made, history, uniform, sampling):
    """Paths of one series, one at a time and step by step in NumPy, from the codes it has had."""
    weights = {f"{part.name}/{w.name}": w.numpy().astype(np.float64) for part in made.parts for w in part.weights}

    def cell(layer, below, hidden):
        kernel, recurrent, (bias, again) = (weights[f"gru_{layer}/{n}"] for n in ("kernel", "recurrent_kernel", "bias"))
        units = len(recurrent)
        x, h = below @ kernel + bias, hidden @ recurrent + again
        update, reset = (1 / (1 + np.exp(-(x + h)[part * units : (part + 1) * units])) for part in (0, 1))
        candidate = np.tanh(x[2 * units :] + reset * h[2 * units :])
        return update * hidden + (1 - update) * candidate

    def seen(code, state):
        below, after = weights["embedding/embeddings"][code], []
        for layer, hidden in enumerate(state):
            below = cell(layer, below, hidden)
            after.append(below)
        return after

    def distribution(state):
        logits = (state[-1] @ weights["output/kernel"] + weights["output/bias"]) / sampling.temperature
        return np.exp(logits) / np.exp(logits).sum()

    start = [np.zeros(units) for units in made.settings.units]
    for code in history:
        start = seen(code, start)
    paths, nearest = [], 1.0
    for path in range(uniform.shape[1]):
        state, drawn = start, []
        for step in range(len(uniform)):
            edges = np.cumsum(distribution(state))
            nearest = min(nearest, np.abs(edges - uniform[step, path]).min())
            drawn.append(int(np.searchsorted(edges, uniform[step, path], "right")) + 1)
            state = seen(drawn[-1], state)
        paths.append(drawn)
    return distribution(start), np.array(paths).T, nearest


@pytest.mark.parametrize("codes", [("down", "up", "flat"), ("up", "flat", "down", "jump")])
def test_state_in_the_codes_of_another_vocabulary_is_not_used(codes):
    line = pipeline(made=NETWORKS[0])
    run(line, records_of([Tick("a", step, "up") for step in range(5)]))
    topic = checkpointed(line, {0: 5})
    (problem,) = topic.find(pipeline(made=code_network(codes=codes))).problems
    assert problem[0] == "other_settings"
    assert problem[1].endswith("network.vocabulary")
    assert topic.find(pipeline(made=code_network(seed=1))).checkpoint is not None


@given(st.integers(1, 9), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_the_batched_generator_goes_on_as_one_path_at_a_time_does(series, seed):
    made, draw, slot = code_network(), np.random.default_rng(seed), np.arange(series)
    engine = compiled(made)
    horizon, paths, sampling = made.settings.horizon, made.sampling.paths, made.sampling
    history = draw.integers(0, 4, (series, 6))
    engine.grow(9)
    engine.forget(slot)
    hidden = engine.advance(slot, history[..., None].astype(np.float32), np.ones((series, 6), bool))[:, -1]
    uniform = draw.random((series, horizon, paths), np.float32)
    probabilities, drawn = engine.answers(hidden, uniform).fetch()
    for n in range(series):
        expected, slow, nearest = reference_paths(made, history[n], uniform[n].astype(np.float64), sampling)
        np.testing.assert_allclose(probabilities[n], expected, rtol=0, atol=1e-5)
        if nearest > 1e-5:
            np.testing.assert_array_equal(drawn[n], slow)


def test_state_on_the_device_tells_what_state_in_memory_tells():
    made, draw, slot = code_network(cell="lstm"), np.random.default_rng(3), np.array([5, 2, 9])
    codes = draw.integers(-1, 4, (3, 7, 1)).astype(np.float32)
    uniform = draw.random((3, made.settings.horizon, 16), np.float32)
    found = []
    for engine in (StateEngine(made), StateEngine(made, 16)):
        engine.grow(16)
        engine.advance(slot, codes, np.ones((3, 7), bool))
        hidden = engine.advance(slot, codes[:, :1], np.ones((3, 1), bool))[:, 0]
        found.append(engine.answers(hidden, uniform).fetch())
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_what_json_says_of_a_code_with_quotes_reads_back():
    made = code_network(codes=('say "hi"', "50 %", "é"))
    (message,) = run(pipeline(made=made), records_of([Tick("a", 0, "50 %")]))[0].messages
    assert set(json.loads(message.value)["next"]) == {'say "hi"', "50 %", "é"}
