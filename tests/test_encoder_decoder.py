"""The encoder–decoder and its attention, beside a plain loop that decodes one series at a time."""

import numpy as np
import pytest
from builders import (
    CONTEXT,
    FEATURES,
    FLAT,
    Tick,
    assert_equal,
    encoder_decoder,
    manifest,
    pipeline,
    published,
    records_of,
    run,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cells import REFERENCES
from test_segment_network import NAN, STEP_MS, recording
from test_window_networks import slow_quantiles

from forecaster.bundle.manifest import MANIFEST
from forecaster.bundle.store import load_bundle, named_weights, save_bundle
from forecaster.config import Settings, load_settings
from forecaster.engines.windowed import WindowEngine
from forecaster.errors import BundleError, ConfigError
from forecaster.networks.cells import CELLS
from forecaster.networks.encoder_decoder import EncoderDecoder
from training.attended import attended
from training.data import sequences
from training.examples import Examples
from training.fit import train
from training.observed import observe
from training.prepare import Source
from training.scored_decoder import ScoredDecoder, teacher_share, with_teacher
from training.table import feature_table
from training.window_examples import WindowExamples, cold_past

KINDS = ("none", "dot", "additive")


def slow_weights(kind, weights, state, outputs):
    """Attention of one `state` over the `outputs` of one series: the share of each."""
    if kind == "dot":
        scores = [state @ output / np.sqrt(len(state)) for output in outputs]
    else:
        hidden = [np.tanh(state @ weights["attention/query"] + output @ weights["attention/key"]) for output in outputs]
        scores = [float(one @ weights["attention/score"][:, 0]) for one in hidden]
    shares = np.exp(np.array(scores) - max(scores))
    return shares / shares.sum()


def slow_cell(made, layer, weights, row, state):
    """One step of an encoder or a decoder."""
    of_layer = [weights[f"{layer}/{name}"] for name in ("kernel", "recurrent_kernel", "bias")]
    return REFERENCES[made.settings.cell](of_layer, row, state)


def slow_forecast(made, steps, calendar, features, recent, taught=None):
    """Quantiles and attention of one series, from its unpadded `steps`, fed `taught` where that is known."""
    kind, levels = made.settings.attention, made.settings.quantiles
    weights = {name: weight.numpy().astype(np.float64) for name, weight in named_weights(made).items()}
    offset = (features @ weights["skip/kernel"] + weights["skip/bias"]).reshape(-1, len(levels))
    if made.settings.recents:
        offset[:, levels.index(0.5)] += (recent * weights["recent/kernel"]).sum(axis=1)
    outputs, state = [], [np.zeros(made.settings.units[0])] * len(CELLS[made.settings.cell].state)
    for row in steps:
        state = slow_cell(made, "encoder", weights, row, state)
        outputs.append(state[0])
    fed, shown, free, looks = steps[-1][0], np.zeros(len(state[0])), [], []
    for step, terms in enumerate(calendar):
        if taught is not None and not np.isnan(taught[step]):
            fed = taught[step]
        inputs = [[fed], terms] if kind == "none" else [[fed], terms, shown]
        state = slow_cell(made, "decoder", weights, np.concatenate(inputs), state)
        shown = state[0]
        if kind != "none":
            shares = slow_weights(kind, weights, state[0], outputs)
            looks.append(shares)
            shown = np.tanh(np.concatenate([shares @ np.array(outputs), state[0]]) @ weights["attention/joined"])
        free.append(shown @ weights["output/kernel"] + offset[step])
        fed = free[-1][levels.index(0.5)]
    return slow_quantiles(np.array(free), levels), np.array(looks)


def drawn(made, lengths, seed):
    """What the network is called with for windows of these lengths; their padding is numbers that must not matter."""
    random = np.random.default_rng(seed)
    arrays = [random.normal(0, 1, (len(lengths), *shape)).astype(kind) for shape, kind in made.shapes(CONTEXT)]
    arrays[1] = np.array(lengths, np.int32)
    return arrays


def alone(seen, row):
    """What `slow_forecast` takes of one row of `seen`, without its padding."""
    steps, length, *more = seen
    return steps[row, : length[row]], *(array[row] for array in more)


lengths = st.lists(st.integers(1, CONTEXT), min_size=1, max_size=5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("cell", "features"), [("gru", FEATURES), ("gru", FLAT), ("lstm", FEATURES)])
def test_all_series_in_one_loop_are_decoded_as_each_by_itself(kind, cell, features):
    made = encoder_decoder(attention=kind, cell=cell, features=features)

    @given(lengths, st.integers(0, 2**16))
    @settings(max_examples=8, deadline=None)
    def holds(lengths, seed):
        seen = drawn(made, lengths, seed)
        found = np.asarray(made.call(*seen))
        for row in range(len(lengths)):
            expected, _ = slow_forecast(made, *alone(seen, row))
            np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-5)

    holds()


@pytest.mark.parametrize(("kind", "cell"), [("dot", "gru"), ("additive", "gru"), ("additive", "lstm")])
def test_padding_is_never_looked_at_and_the_shares_of_the_rest_sum_to_one(kind, cell):
    made = encoder_decoder(attention=kind, cell=cell)

    @given(lengths, st.integers(0, 2**16))
    @settings(max_examples=8, deadline=None)
    def holds(lengths, seed):
        seen = drawn(made, lengths, seed)
        looks = np.asarray(made.looks(*seen))
        for row, n in enumerate(lengths):
            assert (looks[row, :, n:] == 0).all()
            np.testing.assert_allclose(looks[row, :, :n], slow_forecast(made, *alone(seen, row))[1], atol=1e-5)
        np.testing.assert_allclose(looks.sum(axis=-1), 1, rtol=1e-5)

    holds()


@pytest.mark.parametrize(("kind", "cell"), [*((kind, "gru") for kind in KINDS), ("dot", "lstm")])
@pytest.mark.parametrize("on_gpu", [False, True])
def test_what_is_fitted_is_fed_what_the_teacher_gives_and_else_its_own_point(kind, cell, on_gpu):
    made, random = encoder_decoder(attention=kind, cell=cell), np.random.default_rng(0)
    seen = drawn(made, [3, CONTEXT, 1], 1)
    taught = random.normal(0, 1, (3, 4)).astype(np.float32)
    taught[random.random(taught.shape) < 0.5] = NAN
    scored = ScoredDecoder(made, on_gpu=on_gpu)
    ones = np.ones((3, 4, 5), np.float32)
    found = np.asarray(scored.forecasts(scored.weights(), ones, *seen, taught))
    for row in range(3):
        expected, _ = slow_forecast(made, *alone(seen, row), taught[row])
        np.testing.assert_allclose(found[row], expected, rtol=1e-5, atol=1e-5)


def test_the_share_of_teacher_forcing_falls_from_always_to_never():
    assert [teacher_share(done, 0.5) for done in (0, 0.25, 0.5, 0.9)] == [1, 0.5, 0, 0]
    assert teacher_share(0, 0) == 0
    assert teacher_share(0.25, 1) == 0.75


def test_the_teacher_gives_the_true_value_of_the_step_before_where_there_is_one():
    target = np.arange(1, 9, dtype=np.float32).reshape(2, 4)
    weight = np.array([[1, 1, 0, 1], [1, 1, 1, 1]], np.float32)
    *_, taught, _, _ = with_teacher((target, weight), 1.0, np.random.default_rng(0))
    np.testing.assert_array_equal(taught, [[NAN, 1, 2, NAN], [NAN, 5, 6, 7]])
    *_, taught, _, _ = with_teacher((target, weight), 0.0, np.random.default_rng(0))
    assert np.isnan(taught).all()
    many = np.ones((400, 50), np.float32)
    *_, taught, _, _ = with_teacher((many, many), 0.3, np.random.default_rng(0))
    assert np.mean(~np.isnan(taught[:, 1:])) == pytest.approx(0.3, abs=0.02)


def configured(**model):
    model = {
        "network": "encoder-decoder",
        "horizon": 4,
        "context_length": CONTEXT,
        "units": [8],
        "dropout": 0.0,
    } | model
    training = {"epochs": 4, "steps_per_epoch": 20, "batch_size": 8, "learning_rate": 0.01}
    return Settings(stream={"step": "1h"}, model=model | {"seasons": ["4h"]}, training=training)


@given(st.sets(st.integers(1, 39)), st.sampled_from(["none", "log"]), st.sampled_from(KINDS), st.integers(0, 2**16))
@settings(max_examples=8, deadline=None)
def test_windows_and_targets_of_training_are_those_of_serving(missing, transform, kind, seed):
    made, setup = encoder_decoder(attention=kind), configured()
    features = FEATURES.model_copy(update={"transform": transform})
    values = np.random.default_rng(seed).normal(50, 3, (2, 40))
    values[0, sorted(missing)] = NAN
    ticks = recording(values)
    data = sequences([ticks], setup)
    table, row = feature_table(data, features), np.arange(80)
    examples = WindowExamples(Examples(table, 4, int(data.origin_ms.max()) + 1), made)
    past = examples.past(row)
    from_, scale = made.counted_from(past)[..., None], past.scale()[:, None, None]
    trained = features.restored(from_ + scale * np.asarray(made.call(*made.seen(past, CONTEXT))))

    line, served = pipeline(setup, made, features=features), np.full((2, 40, 4, 3), NAN)
    for low, high in ((0, 3), (3, 30), (30, 80)):
        part = ticks.part(low, high)
        names = [name for name, _, _ in part.ticks()]
        _, block = line.windows.admit(np.zeros(len(part), np.int64), names, part.time_ms, part.value)
        emitted = line.inference.run(block, block.trigger >= 0)
        served[block.slot[emitted.row], block.index[emitted.row] - int(data.origin_ms[0]) // STEP_MS] = (
            emitted.quantiles
        )
    np.testing.assert_allclose(trained.reshape(2, 40, 4, 3), served, rtol=1e-5)

    target, weight = examples.targets(past, row)
    ahead = np.pad(values, ((0, 0), (0, 4)), constant_values=NAN)[row[:, None] // 40, row[:, None] % 40 + range(1, 5)]
    np.testing.assert_array_equal(weight > 0, ~np.isnan(ahead))
    found = features.restored(from_ + scale * target[..., None])[..., 0]
    np.testing.assert_allclose(found[weight > 0], ahead[weight > 0], rtol=1e-5)


@given(st.lists(st.integers(1, CONTEXT), min_size=1, max_size=5), st.integers(0, 2**16))
@settings(max_examples=8, deadline=None)
def test_a_cold_window_of_training_is_that_of_a_series_that_has_just_begun(lengths, seed):
    made, values = encoder_decoder(), np.random.default_rng(seed).normal(50, 3, (1, 60))
    row, length = 20 + 7 * np.arange(len(lengths)), np.array(lengths)
    cold = cold_past(feature_table(sequences([recording(values)], configured()), FEATURES), row, length)
    for n, (at, many) in enumerate(zip(row, lengths, strict=True)):
        from_there = recording(values).part(at - many + 1, at + 1)
        table = feature_table(sequences([from_there], configured()), FEATURES)
        young = WindowExamples(Examples(table, 4, 2**62), made).past(np.array([many - 1]))
        for one, other in zip(made.seen(cold.take(np.array([n])), CONTEXT), made.seen(young, CONTEXT), strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(cold.scale()[n], young.scale()[0])


def test_the_same_seed_trains_the_same_network_and_it_beats_a_profile_of_half_the_season():
    hours = np.arange(600)
    values = np.stack([np.sin(hours * 2 * np.pi / 8 + n) for n in range(3)])
    values += np.random.default_rng(0).normal(0, 0.1, values.shape)
    one, first = train(Source([recording(values)]), configured())
    _, again = train(Source([recording(values)]), configured())
    for a, b in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert one.training["validation_loss"] < 0.9 * one.training["baseline_validation_loss"]
    assert 0 < one.training["padding"] < 0.5


def test_a_bundle_comes_back_with_the_same_forecasts_and_poll_boundaries_leave_no_trace(tmp_path):
    made = encoder_decoder(attention="additive")
    save_bundle(tmp_path / "m", manifest(made), made)
    read, loaded = load_bundle(tmp_path / "m")
    assert isinstance(loaded, EncoderDecoder)
    assert read.network.attention == "additive"
    records = records_of([Tick(f"s{n % 3}", n // 3, None if n % 7 == 6 else float(n * n % 7)) for n in range(60)])
    expected = published(run(pipeline(made=made), records))
    assert_equal(published(run(pipeline(made=loaded), records, range(0, 60, 9))), expected)


def test_nothing_is_compiled_once_every_shape_has_been():
    made = encoder_decoder(context=40)
    engine = WindowEngine(made)
    engine.ladder = (2, 16)
    engine.warm_up()
    while engine.compile_next():
        pass
    assert engine.compiled_shapes == 2 * len(made.lengths)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"calendar": 0}, "network.calendar"),
        ({"short_windows": "filled"}, "short_windows"),
        ({"kind": "segment", "segment_length": 2, "calendar": 0, "attention": "dot"}, "attention"),
        ({"units": (4, 4)}, "units"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused_in_one_line(tmp_path, changes, named):
    made = encoder_decoder()
    made_up = manifest(made)
    network = made_up.network.model_copy(update=changes)
    save_bundle(tmp_path / "m", made_up.model_copy(update={"network": network}), made)
    with pytest.raises(BundleError, match=named) as refused:
        load_bundle(tmp_path / "m")
    assert str(tmp_path / "m" / MANIFEST) in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        ('network = "encoder-decoder"\nunits = [8, 8]', "units"),
        ('network = "encoder-decoder"\nsegment_length = 4', "segment_length"),
        ('network = "encoder-decoder"\nshort_windows = "filled"', "short_windows"),
        ('attention = "dot"', "attention"),
        ('network = "encoder-decoder"\nattention = "self"', "model.attention"),
        ('network = "encoder-decoder"\n[training]\nteacher_forcing = 1.5', "training.teacher_forcing"),
    ],
)
def test_a_setting_that_fits_no_encoder_decoder_is_one_readable_line(tmp_path, lines, named):
    path = tmp_path / "forecaster.toml"
    path.write_text(f"[model]\n{lines}\n")
    with pytest.raises(ConfigError, match=named) as refused:
        load_settings(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", KINDS[1:])
def test_what_the_report_shows_of_an_origin_is_what_its_forecast_looked_at(kind):
    made, random = encoder_decoder(attention=kind), np.random.default_rng(0)
    ticks = recording(random.normal(50, 3, (2, 40)))
    observed = observe(ticks, configured().stream, CONTEXT)
    table = feature_table(sequences([ticks], configured()), FEATURES)
    past = WindowExamples(Examples(table, 4, 2**62), made)
    for row in (42, 75):  # of the second series
        found = attended(made, FEATURES, observed, "s1", int(observed.origin_ms[row]))
        expected = np.asarray(made.looks(*made.seen(past.past(np.array([row])), CONTEXT)))[0]
        np.testing.assert_allclose(found, expected[:, : min(row - 39, CONTEXT)], atol=1e-6)
