"""The segment network: what it sees of a window, bounded calls, its bundle, and arrays that training shares."""

import json
from itertools import pairwise

import numpy as np
import pytest
from builders import (
    CONTEXT,
    WINDOWED,
    Tick,
    assert_equal,
    manifest,
    network,
    pipeline,
    published,
    records_of,
    run,
    segment_network,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from forecaster.bundle.manifest import MANIFEST, content_digest
from forecaster.bundle.store import load_bundle, save_bundle
from forecaster.config import ModelSettings, Settings, StreamSettings, load_settings
from forecaster.engines import windowed as window_engine
from forecaster.engines.windowed import WindowEngine
from forecaster.errors import BundleError, ConfigError
from forecaster.networks.many_to_many import Network
from forecaster.networks.segments import SegmentNetwork
from forecaster.networks.spec import NetworkSettings
from forecaster.past import CLIP, scaled_windows
from forecaster.recording import Recording
from forecaster.windows import Windows
from training.data import sequences, split_by_time
from training.examples import Examples
from training.fit import train
from training.prepare import Source
from training.scored_segments import ScoredSegments
from training.start import start_from_residuals
from training.table import feature_table
from training.validation import Validation
from training.window_examples import TablePast, WindowExamples, WindowValidation, default_segment_length

NAN = np.nan


def see(window, anchor, scale=1.0):
    return scaled_windows(np.array([window]), np.array([anchor]), np.array([scale]))[0].tolist()


def test_a_missing_observation_is_the_last_known_one_and_what_lies_before_the_first_is_the_anchor():
    assert see([NAN, NAN, 1.0, NAN, 4.0, NAN], 4.0) == [0, 0, -3, -3, 0, 0]
    assert see([1.0, 3.0], 3.0, scale=4.0) == [-0.5, 0]
    assert see([NAN, NAN], 7.0) == [0, 0]


def test_a_hundredth_at_a_million_is_seen_in_full_and_the_wildest_value_is_finite():
    assert see([1e6, 1e6 + 0.01], 1e6 + 0.01, scale=0.01) == pytest.approx([-1, 0], abs=1e-6)
    assert see([1e308, -1e308], -1e308, scale=1e-300) == [CLIP, 0]


@given(st.lists(st.integers(0, 12), max_size=6), st.integers(0, 2**16))
@settings(max_examples=200, deadline=None)
def test_a_window_ends_at_its_cell_however_the_observations_came(lengths, seed):
    windows = Windows(StreamSettings(), CONTEXT)
    windows.admit(np.zeros(2, np.int64), ["a", "b"], np.zeros(2, np.int64), np.zeros(2))
    draw, slot, past = np.random.default_rng(seed), np.array([1, 0]), np.full((2, CONTEXT), NAN)
    for length in lengths:
        values = draw.normal(0, 1, (2, length))
        row, column = np.nonzero(np.ones((2, length), bool))
        found = windows.rings.ending_at(slot, values, row, column, CONTEXT)
        past = np.concatenate([past, values], axis=1)
        ends = past.shape[1] - length + column + 1
        expected = [past[r, end - CONTEXT : end] for r, end in zip(row, ends, strict=True)]
        np.testing.assert_allclose(found, np.reshape(expected, (-1, CONTEXT)), rtol=0, atol=1e-6)
        windows.rings.push(slot, values, np.array([length, length]))


def table_past(count):
    """The past of the newest `count` rows of a series."""
    data = sequences([recording(np.arange(200.0).reshape(1, 200) % 7)], configured())
    return TablePast(feature_table(data, WINDOWED), np.arange(200 - count, 200))


def test_no_call_holds_more_observations_than_allowed_and_none_is_compiled_late(monkeypatch):
    monkeypatch.setattr(window_engine, "MOST_NUMBERS", 20 * CONTEXT)
    engine = WindowEngine(segment_network())
    engine.warm_up()
    assert engine.ladder == (2, 16)
    assert engine.compiled_shapes == 2
    for rows in (1, 2, 3, 16, 50):
        assert engine.quantiles(table_past(rows), rows).shape == (rows, 4, 3)
    assert engine.compiled_shapes == 2


def test_more_forecasts_of_a_tile_than_one_call_takes_are_those_of_single_polls():
    ticks = [Tick(f"s{n % 3}", n // 3, float(n * n % 17)) for n in range(3_600)]
    once = published(run(pipeline(made=segment_network()), records_of(ticks)))
    assert len(once) == len(ticks)
    assert_equal(published(run(pipeline(made=segment_network()), records_of(ticks), range(0, 3_600, 200))), once)


def test_a_bundle_comes_back_as_a_segment_network_with_the_same_forecasts(tmp_path):
    made = segment_network()
    save_bundle(tmp_path / "m", manifest(made), made)
    read, loaded = load_bundle(tmp_path / "m")
    assert isinstance(loaded, SegmentNetwork)
    assert (read.network.kind, read.network.segment_length) == ("segment", 2)
    records = records_of([Tick("a", n, float(n * n % 7)) for n in range(20)])
    assert_equal(published(run(pipeline(made=loaded), records)), published(run(pipeline(made=made), records)))


def test_a_bundle_written_before_there_were_kinds_is_a_carried_network(tmp_path):
    save_bundle(tmp_path / "m", manifest(network()), network())
    path = tmp_path / "m" / MANIFEST
    tree = json.loads(path.read_text("utf-8"))
    del tree["network"]["kind"], tree["network"]["segment_length"]
    path.write_text(json.dumps(tree | {"manifest_sha256": content_digest(tree)}), "utf-8")
    assert load_bundle(tmp_path / "m")[0].network.kind == "carried"


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"context_length": 6}, "network.inputs"),
        ({"features": WINDOWED.model_copy(update={"level_spans": (6.0,)}).model_dump()}, "features.level_spans"),
        ({"network": {"segment_length": 3}}, "segment_length"),
        ({"network": {"segment_length": None}}, "segment_length"),
        ({"network": {"units": [4, 4]}}, "units"),
    ],
)
def test_a_manifest_that_does_not_fit_a_segment_network_is_refused_in_one_line(tmp_path, changes, named):
    made = segment_network()
    save_bundle(tmp_path / "m", manifest(made), made)
    path = tmp_path / "m" / MANIFEST
    tree = json.loads(path.read_text("utf-8"))
    tree |= changes | {"network": tree["network"] | changes.get("network", {})}
    path.write_text(json.dumps(tree | {"manifest_sha256": content_digest(tree)}), "utf-8")
    with pytest.raises(BundleError, match=named) as refused:
        load_bundle(tmp_path / "m")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('network = "segment"\nsegment_length = 7\ncontext_length = 48\nhorizon = 24', "segment_length: 7 must divide"),
        ('network = "segment"\nsegment_length = 16\ncontext_length = 48\nhorizon = 24', "the horizon, 24"),
        ('network = "segment"\nunits = [8, 8]', "units"),
        ("segment_length = 4", "segment_length"),
        ('network = "segment"\n[training]\nsizes = [[8], [8, 8]]', "training.sizes"),
        ('network = "segment"\nsegment_length = 0', "model.segment_length"),
    ],
)
def test_a_setting_that_makes_no_segments_is_one_readable_line(tmp_path, lines, named):
    path = tmp_path / "forecaster.toml"
    path.write_text(f"[model]\n{lines}\n")
    with pytest.raises(ConfigError, match=named) as refused:
        load_settings(path)
    assert str(refused.value).startswith((f"{path}: model", f"{path}: settings: training.sizes"))
    assert "\n" not in str(refused.value)


@given(st.integers(2, 2_000), st.integers(1, 800))
@settings(max_examples=300, deadline=None)
def test_the_default_segment_length_is_always_one_that_may_be_set(context_length, horizon):
    model = ModelSettings(network="segment", context_length=context_length, horizon=horizon)
    length = default_segment_length(model)
    ModelSettings(network="segment", context_length=context_length, horizon=horizon, segment_length=length)
    assert length == 1 or context_length // length >= 10


def test_the_default_segment_length_is_the_published_one_where_the_window_is():
    assert default_segment_length(ModelSettings(network="segment", context_length=720, horizon=96)) == 48


def test_a_segment_network_needs_its_segments():
    with pytest.raises(ValidationError, match="segment_length"):
        NetworkSettings(kind="segment", inputs=8, units=(3,), horizon=4, quantiles=(0.5,))
    with pytest.raises(ValidationError, match="segment_length"):
        NetworkSettings(kind="carried", segment_length=2, inputs=8, units=(3,), horizon=4, quantiles=(0.5,))


STEP_MS = 3_600_000
START = 1_700_000_000_000 // STEP_MS * STEP_MS


def recording(values):
    series, rounds = values.shape
    times = np.repeat(START + STEP_MS * np.arange(rounds), series)
    return Recording([f"s{n}" for n in range(series)], np.tile(np.arange(series), rounds), times, values.T.ravel())


def configured(**training):
    model = {"network": "segment", "horizon": 4, "context_length": CONTEXT, "units": [8], "dropout": 0.0}
    training = {"epochs": 6, "steps_per_epoch": 20, "batch_size": 8, "learning_rate": 0.01} | training
    return Settings(stream={"step": "1h"}, model=model | {"seasons": ["4h"]}, training=training)


@given(
    st.lists(st.integers(1, 79), max_size=4),
    st.sets(st.integers(1, 39)),
    st.sampled_from(["none", "log"]),
    st.sampled_from(["filled", "masked"]),
    st.integers(0, 2**16),
)
@settings(max_examples=20, deadline=None)
def test_windows_and_targets_of_training_are_those_of_serving(cuts, missing, transform, short_windows, seed):
    made, setup = segment_network(short_windows=short_windows), configured()
    features = WINDOWED.model_copy(update={"transform": transform})
    values = np.random.default_rng(seed).normal(50, 3, (2, 40))
    values[0, sorted(missing)] = NAN
    ticks = recording(values)
    data = sequences([ticks], setup)
    table = feature_table(data, features)
    examples = WindowExamples(Examples(table, 4, int(data.origin_ms.max()) + 1), made)
    row = np.arange(80)
    past = examples.past(row)
    last, scale = table.last[:, None], table.scale[:, None]
    scaled = np.asarray(made.call(*made.seen(past, CONTEXT)))
    trained = features.restored(last[..., None] + scale[..., None] * scaled).reshape(2, 40, 4, 3)

    line, served = pipeline(setup, made, features=features), np.full((2, 40, 4, 3), NAN)
    for low, high in pairwise([0, *sorted(set(cuts)), 80]):
        part = ticks.part(low, high)
        names = [name for name, _, _ in part.ticks()]
        _, block = line.windows.admit(np.zeros(len(part), np.int64), names, part.time_ms, part.value)
        emitted = line.inference.run(block, block.trigger >= 0)
        served[block.slot[emitted.row], block.index[emitted.row] - START // STEP_MS] = emitted.quantiles
    np.testing.assert_allclose(trained, served, rtol=1e-5)

    target, weight = examples.targets(past, row)
    ahead = np.pad(values, ((0, 0), (0, 4)), constant_values=NAN)[row[:, None] // 40, row[:, None] % 40 + range(1, 5)]
    np.testing.assert_array_equal(weight > 0, ~np.isnan(ahead))
    np.testing.assert_allclose(features.restored(last + scale * target)[weight > 0], ahead[weight > 0], rtol=1e-5)


def test_the_same_seed_trains_the_same_segment_network_and_it_beats_a_profile_of_half_the_season():
    hours = np.arange(600)
    values = np.stack([np.sin(hours * 2 * np.pi / 8 + n) for n in range(3)])
    values += np.random.default_rng(0).normal(0, 0.1, values.shape)
    one, first = train(Source([recording(values)]), configured())
    same, again = train(Source([recording(values)]), configured())
    for a, b in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert one.training["validation_loss"] == same.training["validation_loss"]
    assert one.training["validation_loss"] < 0.7 * one.training["baseline_validation_loss"]
    assert one.network.segment_length == 1


def some_windows(count):
    windows = np.random.default_rng(0).normal(0, 1, (count, CONTEXT, 1)).astype(np.float32)
    return windows, np.full(count, CONTEXT // 2, np.int32)


def test_what_is_fitted_forecasts_as_the_network_with_the_weights_it_is_given():
    made = segment_network()
    seen = some_windows(7)
    given = ScoredSegments(segment_network(seed=1), on_gpu=False)
    found = given.forecasts(ScoredSegments(made, on_gpu=False).weights(), np.ones((7, 2, 5), np.float32), *seen)
    np.testing.assert_allclose(found, made.call(*seen), rtol=1e-4, atol=1e-5)


def test_on_a_gpu_the_layers_of_keras_forecast_what_the_recurrence_of_training_does():
    seen = some_windows(7)
    one, other = (ScoredSegments(segment_network(), on_gpu=on_gpu) for on_gpu in (False, True))
    noise = one.noise(np.random.default_rng(1), 7)
    assert noise.shape == (7, 2, 5)
    np.testing.assert_allclose(*(one.forecasts(one.weights(), noise, *seen) for one in (one, other)), atol=1e-5)


def validations(features, seed):
    """Of a carried network that forecasts level and profile, and of a segment network, on the same rows."""
    random = np.random.default_rng(seed)
    values = np.cumsum(random.normal(0, 1, (2, 200)), axis=1) + 3 * np.sin(np.arange(200) * np.pi / 2)
    values[random.random(values.shape) < 0.1] = NAN
    data = sequences([recording(values)], configured())
    split, table = split_by_time(data, 0.6, 0.3), feature_table(data, features)
    fitted = Examples(table, 4, split.train_end_ms)
    shape = NetworkSettings(
        inputs=len(features.input_names), recents=features.recents, units=(3,), horizon=4, quantiles=(0.1, 0.5, 0.9)
    )
    carried = Network(shape)
    start_from_residuals(carried, fitted)
    return Validation(table, carried, split, CONTEXT), WindowValidation(fitted, segment_network(), split), table, split


def test_both_networks_are_validated_beside_the_same_level_and_profile():
    carried, segment, _, _ = validations(WINDOWED, 0)
    assert segment.baseline_loss == pytest.approx(carried.baseline_loss, rel=1e-5)


def test_the_validation_loss_is_the_mean_pinball_loss_of_what_would_be_published(monkeypatch):
    monkeypatch.setattr(window_engine, "MOST_NUMBERS", 20 * CONTEXT)  # several calls
    _, segment, table, split = validations(WINDOWED, 1)
    data, total, pairs = table.data, 0.0, 0
    for run_ in (0, 1):
        rows = data.rows(run_)
        values, end = data.value[rows], int((data.origin_ms[rows] < split.validation_end_ms).sum())
        begin = int((data.origin_ms[rows] < split.train_end_ms).sum())
        unit = np.nanmean(np.abs(np.diff(values[:begin])))
        for origin in range(begin, end):
            row = data.first[run_] + origin
            seen = segment_network().seen(TablePast(table, np.array([row])), CONTEXT)
            quantiles = table.last[row] + table.scale[row] * np.asarray(segment_network().call(*seen))[0]
            for step, value in enumerate(values[origin + 1 : min(origin + 5, end)]):
                error = value - quantiles[step]
                losses = np.maximum(np.array([0.1, 0.5, 0.9]) * error, np.array([-0.9, -0.5, -0.1]) * error)
                total += 0.0 if np.isnan(value) else losses.mean() / unit
                pairs += not np.isnan(value)
    assert segment.loss() == pytest.approx(total / pairs, rel=1e-4)


def test_no_target_of_a_batch_lies_behind_the_end_of_the_training_part():
    data = sequences([recording(np.arange(200.0).reshape(1, 200))], configured())
    split = split_by_time(data, 0.5, 0.2)
    examples = WindowExamples(Examples(feature_table(data, WINDOWED), 4, split.train_end_ms), segment_network())
    _, weight = examples.targets(examples.past(np.arange(200)), np.arange(200))
    target_ms = data.origin_ms[:, None] + STEP_MS * np.arange(1, 5)
    assert (weight[target_ms >= split.train_end_ms] == 0).all()
    windows, segments, target, weight = next(examples.batches(16, np.random.default_rng(0)))
    assert (windows.shape, target.shape, weight.shape) == ((16, CONTEXT, 1), (16, 4), (16, 4))
    assert (segments == CONTEXT // 2).all()
