"""Covariates in serving: what the network sees of them, and a state that is carried, kept and made anew alike."""

import json
import re
from itertools import pairwise

import builders
import numpy as np
import pytest
from builders import CONTEXT, START_MS, assert_equal, published, run
from checkpoints import checkpointed
from covaried import COVARIED, GIVEN, HORIZON, NETWORK, SECOND, SETTINGS, line, recording, replayed, rows_of
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecaster.config import Settings, StreamSettings, load_settings
from forecaster.errors import ConfigError
from forecaster.features.running import Features
from forecaster.recording import Recording, join
from forecaster.recording.known_ahead import KnownAhead
from forecaster.windows import Windows
from training.backtest import Part, backtest
from training.origins import Choice


@given(
    rows=st.lists(
        st.lists(st.one_of(st.just(np.nan), st.floats(-200, 200)), min_size=9, max_size=9), min_size=1, max_size=5
    )
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_what_is_seen_is_scaled_and_clipped_and_tells_what_is_missing(rows):
    def seen(number: float, n: int) -> tuple[float, float]:
        if np.isnan(number):
            return 0.0, 1.0
        return min(10.0, max(-10.0, (number - GIVEN.mean[n]) / GIVEN.deviation[n])), 0.0

    table = np.array(rows)
    inputs, ahead = GIVEN.inputs(table), GIVEN.seen_ahead(GIVEN.steps(table), None)
    for row, of_cell, of_steps in zip(rows, inputs, ahead, strict=True):
        values, flags = zip(*(seen(row[n], n) for n in range(3)), strict=True)
        np.testing.assert_allclose(of_cell, [*values, *flags], rtol=1e-6)
        for h in range(HORIZON):
            values, flags = zip(*(seen(row[3 + HORIZON * n + h], 1 + n) for n in (0, 1)), strict=True)
            np.testing.assert_allclose(of_steps[h], [*values, *flags], rtol=1e-6)
    np.testing.assert_allclose(GIVEN.seen_ahead(GIVEN.steps(table), "max")[:, 0], ahead.mean(axis=1), rtol=1e-5)


def test_the_network_moves_each_step_by_what_is_known_of_it():
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(2, 5, NETWORK.settings.inputs)).astype(np.float32)
    ahead = draw.normal(size=(2, 5, HORIZON, NETWORK.settings.ahead)).astype(np.float32)
    recents, known = COVARIED.recents, NETWORK.known
    hidden = NETWORK.hidden(inputs).numpy()
    weights = [known.from_state, known.from_covariates, known.bias, known.kernel]
    of_state, of_covariates, bias, kernel = (weight.numpy() for weight in weights)
    moved = np.einsum("brhk,hk->brh", ahead, NETWORK.recent.kernel.numpy())
    for b, r, h in np.ndindex(2, 5, HORIZON):
        mixed = np.tanh(hidden[b, r] @ of_state + bias + ahead[b, r, h, recents:] @ of_covariates)
        moved[b, r, h] += mixed @ kernel[:, 0]
    still = NETWORK(inputs, np.zeros_like(ahead)).numpy()[..., 1]
    nothing = np.tanh(hidden @ of_state + bias) @ kernel[:, 0]
    np.testing.assert_allclose(NETWORK(inputs, ahead).numpy()[..., 1], still - nothing[..., None] + moved, atol=1e-4)


@given(cuts=st.lists(st.integers(1, 23), max_size=6), seed=st.integers(0, 2**16))
@hypothesis_settings(max_examples=10, deadline=None)
def test_polls_cut_anywhere_forecast_as_one_pass_over_the_sequence(cuts, seed):
    ticks = recording(24, 1, seed)
    rows = KnownAhead(ticks, SETTINGS).rows(np.arange(24))
    state = Features(COVARIED)
    state.grow(1)
    step = state.advance(np.zeros(1, np.int64), np.array([START_MS // SECOND]), ticks.value[None], rows[None])
    row, rounds = np.zeros(24, np.int64), np.arange(24)
    scaled = NETWORK(step.inputs(), step.ahead(row, rounds, HORIZON)[None]).numpy()[0].astype(np.float64)
    expected = step.baseline(row, rounds, HORIZON)[..., None] + step.safe_scale()[0][:, None, None] * scaled

    served, found = line().inference, []
    windows = served.windows
    for low, high in pairwise([0, *sorted(set(cuts)), 24]):
        names = ["a"] * (high - low)
        where = np.zeros(high - low, np.int64)
        _, block = windows.admit(where, names, ticks.time_ms[low:high], ticks.value[low:high], rows[low:high])
        emitted = served.run(block, block.trigger >= 0)
        found.append(emitted.quantiles[np.argsort(emitted.row)])
    tolerance = 1e-5 * np.maximum(1, np.abs(expected))
    assert (np.abs(np.concatenate(found) - expected) <= tolerance).all()


def test_a_forecast_sees_of_the_future_the_known_covariates_alone(tmp_path):
    ticks, cut = recording(30, 1, missing=0.0), 20
    before = replayed(ticks, tmp_path)[:cut]

    def changed(**columns: np.ndarray) -> list[dict]:
        fields = {name: getattr(ticks, name) for name in ("names", "series", "time_ms", "value", "covariates")}
        return replayed(Recording(**(fields | columns)), tmp_path)[:cut]

    later = np.arange(30) >= cut
    assert_equal(before, changed(value=np.where(later, 99.0, ticks.value)))
    past = ticks.covariates.copy()
    past[later, 0] = 99.0
    assert_equal(before, changed(covariates=past))
    known = ticks.covariates.copy()
    known[cut, 1] += 3.0
    after = changed(covariates=known)
    assert_equal(before[: cut - HORIZON], after[: cut - HORIZON])
    for distance, one, other in zip((3, 2, 1), before[-3:], after[-3:], strict=True):
        differs = np.abs(np.array(one["point"]) - other["point"]) > 1e-4
        assert differs.tolist() == [step == distance for step in (1, 2, 3)]


def test_a_backtest_forecasts_what_serving_does_also_over_gaps_and_repeated_steps(tmp_path, monkeypatch):
    ticks = recording(90, 3)
    keep = np.ones(len(ticks), bool)
    keep[60:75] = keep[100:103] = keep[200::7] = False
    ticks = join([ticks.where(keep), ticks.part(240, 246)])
    served = sorted(replayed(ticks, tmp_path), key=lambda one: (one["series"], one["origin"]))
    found: list[tuple[str, int, np.ndarray]] = []

    def watch(part: Part) -> None:
        found.extend(zip([part.series] * len(part.quantiles), part.origin_ms.tolist(), part.quantiles, strict=True))

    monkeypatch.setattr("training.backtest.CHUNK_NUMBERS", 500)
    manifest = builders.manifest(NETWORK, features=COVARIED)
    backtest(ticks, SETTINGS, manifest, NETWORK, Choice(), watch)
    assert len(found) == len(served) > 200
    for one, (series, origin, quantiles) in zip(served, found, strict=True):
        assert (one["series"], one["origin"]) == (series, origin)
        expected = np.array(list(one["quantiles"].values())).T
        assert (np.abs(quantiles - expected) <= 1e-5 * np.maximum(max(1.0, one["scale"]), np.abs(expected))).all()


def test_a_checkpoint_and_the_rest_of_the_stream_give_the_same():
    ticks = recording(30)
    undisturbed = published(run(line(), rows_of(ticks, 0, 60)))
    before, after = line(), line()
    first = published(run(before, rows_of(ticks, 0, 31)))
    found = checkpointed(before, {0: 31}).find(after)
    assert found.problems == ()
    after.load(0, found.checkpoint)
    assert_equal(first + published(run(after, rows_of(ticks, 31, 60))), undisturbed)


def late_line():
    """The line that holds ticks back for five seconds."""
    stream = SETTINGS.stream.model_copy(update={"allowed_lateness": 5 * SECOND})
    return builders.pipeline(SETTINGS.model_copy(update={"stream": stream}), NETWORK, features=COVARIED)


@given(seed=st.integers(0, 2**16), cut=st.integers(1, 59))
@hypothesis_settings(max_examples=10, deadline=None)
def test_ticks_put_in_order_keep_their_covariates_also_over_a_checkpoint(seed, cut):
    ticks = recording(30)
    records = rows_of(ticks, 0, 60)
    in_order = {(one["series"], one["origin"]): one for one in published(run(line(), records))}
    delay = np.random.default_rng(seed).uniform(0, 4.9, 60)
    shuffled = [records[n] for n in np.argsort(np.arange(60) // 2 + delay, kind="stable")]
    shuffled = [row._replace(offset=n) for n, row in enumerate(shuffled)]
    before, after = late_line(), late_line()
    found = published(run(before, shuffled[:cut]))
    checkpoint = checkpointed(before, {0: cut}).find(after)
    assert checkpoint.problems == ()
    after.load(0, checkpoint.checkpoint)
    found += published(run(after, shuffled[cut:]))
    assert len(found) > 40
    for one in found:
        expected = in_order[one["series"], one["origin"]]
        assert_equal([one | {"source": 0}], [expected | {"source": 0}])


def test_a_bar_has_the_past_covariates_of_its_last_tick_with_a_value():
    windows = Windows(StreamSettings(step="1s", bar="mean"), CONTEXT, covariates=1, kept=1)
    time_ms, value = np.array([100, 900, 500, 950, 1_100, 2_100]), np.array([1.0, 2.0, 3.0, np.nan, 5.0, 6.0])
    load = np.array([[10.0], [20.0], [30.0], [40.0], [50.0], [60.0]])
    _, block = windows.admit(np.zeros(6, np.int64), ["a"] * 6, time_ms, value, load)
    assert block.value.tolist() == [2.0, 5.0]
    assert block.covariates.tolist() == [[20.0], [50.0]]


def test_hidden_state_is_made_anew_from_windows_of_values_and_covariates():
    ticks, steps = recording(CONTEXT - 1, 1), CONTEXT - 1
    before = line()
    run(before, rows_of(ticks, 0, steps))
    other = line(builders.network(features=COVARIED, seed=1), weights_sha256="another")
    found = checkpointed(before, {0: steps}).find(other)
    assert found.problems == ()
    other.load(0, found.checkpoint)
    inference = other.inference
    (slot,) = other.windows.slots.of(0).tolist()
    made = [rows.copy() for rows in inference.engine.hidden.read(np.array([slot]))]
    values, own = ticks.value[None], KnownAhead(ticks, SETTINGS).rows(np.arange(steps))[None]
    first = np.array([START_MS // SECOND])
    inputs = inference.features.advance(np.array([slot]), first, values, own).inputs()
    inference.engine.rebuild(np.array([slot]), inputs, np.array([steps]))
    for rows, expected in zip(made, inference.engine.hidden.read(np.array([slot])), strict=True):
        np.testing.assert_allclose(rows, expected, atol=1e-5)
        assert rows.any()


def test_a_checkpoint_made_with_other_covariates_is_refused():
    before = builders.pipeline(Settings(), builders.network())
    run(before, rows_of(recording(12), 0, 20))
    found = checkpointed(before, {0: 20}).find(line())
    assert found.checkpoint is None
    (problem,) = found.problems
    assert problem[0] == "other_settings"
    assert "features.covariates" in problem[1]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"model": {"network": "segment"}}, "input.past_covariates: only model.task"),
        ({"model": {"task": "paths"}}, "input.past_covariates: only model.task"),
        ({"stream": {"bar": "mean"}, "input": {"known_covariates": ["t"]}}, "input.known_covariates: goes without"),
        ({"input": {"known_covariates": ["load.x"]}}, "no two equal, none inside another"),
    ],
)
def test_what_does_not_go_with_covariates_is_refused_by_name(changes, text, tmp_path):
    config = tmp_path / "forecaster.toml"
    tree = {name: dict(section) for name, section in changes.items()}
    tree.setdefault("input", {})["past_covariates"] = ["load"]
    lines = [
        f"[{name}]\n" + "".join(f"{k} = {json.dumps(v)}\n" for k, v in part.items()) for name, part in tree.items()
    ]
    config.write_text("\n".join(lines))
    with pytest.raises(ConfigError, match=re.escape(text)):
        load_settings(config)


def test_a_bundle_that_wants_other_covariates_or_another_horizon_is_refused():
    manifest = builders.manifest(NETWORK, features=COVARIED)
    manifest.check_stream(SETTINGS)
    other = Settings(input={"past_covariates": ["speed"], "known_covariates": GIVEN.known})
    with pytest.raises(ConfigError, match=r"^input\.past_covariates: .* says \('speed',\).*\('load',\)$"):
        manifest.check_stream(other)
    with pytest.raises(ConfigError, match=r"^input\.known_covariates: the configuration says \(\)"):
        manifest.check_stream(Settings(input={"past_covariates": ["load"]}))
    with pytest.raises(ConfigError, match=r"^model\.horizon: the configuration says 24.*for 3$"):
        manifest.check_stream(Settings(input=SETTINGS.input))
    with pytest.raises(ConfigError, match=r"^input\.past_covariates: .*was trained for \(\)$"):
        builders.manifest(builders.network()).check_stream(SETTINGS)
