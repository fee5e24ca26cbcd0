"""Training: the arrays are those of serving, a seed decides everything, and what is learnt is worth having."""

from itertools import pairwise

import numpy as np
import pytest
from builders import FEATURES, network
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecaster.bundle.store import named_weights
from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.features.running import Features
from forecaster.formats.forecast_json import Forecasts
from forecaster.networks.many_to_many import Network
from forecaster.recording import Recording
from forecaster.windows import Windows
from training.data import Scratch, sequences, split_by_time
from training.evaluate import Scorer
from training.examples import BatchShape, Examples
from training.fit import Watch, train
from training.prepare import Source
from training.start import start_from_residuals
from training.table import feature_table

HOUR = 3_600_000
START = 1_700_000_000_000 // HOUR * HOUR


def recording(values: np.ndarray, *, step_ms: int = HOUR) -> Recording:
    """`values` `[series, rounds]` as a wide file would give them."""
    series, rounds = values.shape
    return Recording(
        [f"s{n}" for n in range(series)],
        np.tile(np.arange(series), rounds),
        np.repeat(START + step_ms * np.arange(rounds), series),
        values.T.ravel(),
    )


def daily(series: int, days: int, noise: float = 0.3, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    hours = np.arange(24 * days)
    wave = np.sin(2 * np.pi * hours / 24) + 0.5 * np.cos(4 * np.pi * hours / 24)
    drift = np.cumsum(random.normal(0, 0.05, (series, len(hours))), axis=1)
    return 20 + 5 * wave + drift + random.normal(0, noise, (series, len(hours)))


def configured(**training) -> Settings:
    return Settings(
        stream={"step": "1h"},
        model={"horizon": 6, "context_length": 48, "seasons": ["1d"], "units": [8], "dropout": 0.1},
        training={"epochs": 4, "steps_per_epoch": 12, "batch_size": 16, "learning_rate": 0.01, **training},
    )


@given(
    cuts=st.lists(st.integers(1, 239), max_size=5),
    missing=st.sets(st.integers(0, 239), max_size=60),
    gap=st.sampled_from([0, 5, 100]),
    aggregate=st.sampled_from([None, "mean", "min", "max", "last"]),
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_training_arrays_equal_serving_arrays(cuts, missing, gap, aggregate) -> None:
    values = daily(3, 10)
    values[1, sorted(missing)] = np.nan
    ticks = recording(values)
    keep = ~((ticks.series == 2) & (ticks.time_ms >= START + 100 * HOUR) & (ticks.time_ms < START + (100 + gap) * HOUR))
    ticks = Recording(ticks.names, ticks.series[keep], ticks.time_ms[keep], ticks.value[keep])
    settings = configured()
    data = sequences([ticks.part(low, high) for low, high in pairwise([0, *sorted(cuts), len(ticks)])], settings)
    table = feature_table(data, FEATURES)
    every = np.arange(len(data.value))
    baseline, recents = table.baseline(every, 6, aggregate), table.recents(every, 6, aggregate)
    names = np.repeat(data.names, data.length)
    trained = {
        (names[row], int(data.origin_ms[row])): (table.inputs[row], table.scale[row], baseline[row], recents[row])
        for row in every.tolist()
    }

    served = {}
    windows = Windows(settings.stream, settings.model.context_length)
    features = Features(FEATURES)
    bounds = sorted({0, len(ticks), *(3 * cut for cut in cuts if 3 * cut < len(ticks))})
    for low, high in pairwise(bounds):
        part = ticks.part(low, high)
        names = [name for name, _, _ in part.ticks()]
        _, block = windows.admit(np.zeros(len(part), np.int64), names, part.time_ms, part.value)
        if windows.capacity > len(features.seen):
            features.grow(windows.capacity)
        for first, length in block.waves():
            features.forget(block.slot[first][block.fresh[first]])
            for row, rounds in zip(first, length, strict=True):
                one = features.advance(
                    block.slot[row : row + 1], block.index[row : row + 1], block.value[None, row : row + rounds]
                )
                inputs, scale = one.inputs()[0], one.safe_scale()[0]
                place = np.zeros(rounds, np.int64), np.arange(rounds)
                baseline, recents = one.baseline(*place, 6, aggregate), one.recent(*place, 6, aggregate)
                for n in range(rounds):
                    key = windows.slots.names[block.slot[row]], int(windows.grid.origin_ms(block.index[row + n]))
                    served[key] = inputs[n], scale[n], baseline[n], recents[n]
                one.commit()
    assert trained.keys() == served.keys()
    for key, (inputs, scale, baseline, recents) in trained.items():
        np.testing.assert_allclose(served[key][0], inputs, atol=1e-5)
        np.testing.assert_allclose(served[key][1], scale, rtol=1e-6)
        np.testing.assert_allclose(served[key][2], baseline, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(served[key][3], recents, atol=1e-5)


def examples(series: int = 2, days: int = 10, end: float = 0.5) -> tuple[Examples, int]:
    data = sequences([recording(daily(series, days))], configured())
    end_ms = split_by_time(data, end, 0.2).train_end_ms
    return Examples(feature_table(data, FEATURES), 6, end_ms), end_ms


def test_no_target_lies_behind_the_end_of_the_training_part() -> None:
    made, end_ms = examples()
    origin_ms = made.table.data.origin_ms
    _, weight = made.targets(np.arange(len(origin_ms)))
    target_ms = origin_ms[:, None] + HOUR * np.arange(1, 7)
    assert (weight[target_ms >= end_ms] == 0).all()
    assert (weight[target_ms < end_ms] == 1).all()


def test_training_starts_from_finite_weights_where_errors_are_a_thousand_scales_wide() -> None:
    values = np.zeros((1, 240))
    values[0, 100::7] = 3.0  # of a series that was 0 for long the scale is next to nothing
    settings = configured()
    data = sequences([recording(values)], settings)
    made = Examples(feature_table(data, FEATURES), 6, split_by_time(data, 0.9, 0.1).train_end_ms)
    untrained = Network(network(horizon=6, quantiles=(0.001, 0.5, 0.999)).settings)
    start_from_residuals(untrained, made)
    assert all(np.isfinite(weight).all() for weight in untrained.get_weights())


def test_what_a_batch_holds_is_what_each_origin_sees_and_what_came_after() -> None:
    made, end_ms = examples(days=20, end=0.7)
    data, table = made.table.data, made.table
    batch = next(made.batches(BatchShape(8, 48, 20, 5), np.random.default_rng(0)))
    assert batch.inputs.shape == (8, 48, len(FEATURES.input_names))
    assert (batch.scored >= 20).all()
    for window in range(8):
        begin = np.flatnonzero((table.inputs[:-1] == batch.inputs[window, 0]).all(axis=1))
        begin = begin[(table.inputs[begin + 1] == batch.inputs[window, 1]).all(axis=1)]  # all runs begin alike
        assert len(begin) == 1
        row = begin[0] + batch.scored[window]
        target, weight = made.targets(row)
        np.testing.assert_array_equal(batch.target[window], target)
        np.testing.assert_array_equal(batch.weight[window], weight)
        np.testing.assert_array_equal(batch.ahead[window], table.recents(row, 6))
        np.testing.assert_array_equal(batch.inputs[window], table.inputs[begin[0] + np.arange(48)])
        assert (data.origin_ms[row] < end_ms).all()


def test_a_cold_window_is_that_of_a_series_that_begins_there() -> None:
    made, _ = examples(series=1)
    batch = next(made.batches(BatchShape(6, 30, 12, 9, cold=6), np.random.default_rng(1)))
    values = made.table.data.value
    assert (batch.scored < 12).any()
    for window in range(6):
        found = 0
        for begin in range(int(made.rounds[0]) - 29):
            state = Features(FEATURES)
            state.grow(1)
            step = state.advance(
                np.zeros(1, np.int64), made.table.data.index[:1] + begin, values[None, begin : begin + 30]
            )
            found += bool(np.allclose(step.inputs()[0], batch.inputs[window], atol=1e-6))
        assert found >= 1


def test_runs_shorter_than_a_window_are_trained_on_too_and_their_padding_is_never_scored() -> None:
    ticks = recording(daily(2, 6))
    keep = (ticks.series == 0) | (ticks.time_ms < START + 20 * HOUR)
    ticks = Recording(ticks.names, ticks.series[keep], ticks.time_ms[keep], ticks.value[keep])
    data = sequences([ticks], configured())
    made = Examples(feature_table(data, FEATURES), 6, int(data.origin_ms.max()) + 1)
    batches = made.batches(BatchShape(64, 100, 40, 5), np.random.default_rng(0))
    short = next(data.first[n] for n, name in enumerate(data.names) if name == "s1")
    batch = next(batches)
    of_short = (batch.inputs[:, :20] == made.table.inputs[short : short + 20]).all(axis=(1, 2))
    assert 0 < of_short.sum() < 32
    assert (batch.scored[of_short] < 20).all()


def test_observations_in_scratch_files_are_those_in_memory() -> None:
    ticks, settings = recording(daily(3, 10)), configured()
    parts = [ticks.part(low, low + 100) for low in range(0, len(ticks), 100)]
    small, files = Scratch(in_memory=1 << 30), Scratch(in_memory=0)
    in_memory, in_files = sequences(parts, settings, small), sequences(parts, settings, files)
    assert isinstance(in_files.value, np.memmap)
    np.testing.assert_array_equal(in_memory.value, in_files.value)
    np.testing.assert_array_equal(in_memory.origin_ms, in_files.origin_ms)
    one, other = feature_table(in_memory, FEATURES, small), feature_table(in_files, FEATURES, files)
    np.testing.assert_array_equal(one.inputs, other.inputs)


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        _, network = train(Source([recording(daily(2, 20))]), configured(seed=seed, epochs=1))
        return [np.copy(weight.numpy()) for weight in named_weights(network).values()]

    first, again, other = weights(0), weights(0), weights(1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_training_beats_level_and_profile_alone_on_a_series_that_drifts() -> None:
    shown = []
    manifest, _ = train(Source([recording(daily(4, 60, noise=0.05))]), configured(), Watch(shown.append))
    assert manifest.training["validation_loss"] < 0.8 * manifest.training["baseline_validation_loss"]
    assert shown[0].best
    assert min(epoch.validation_loss for epoch in shown) == manifest.training["validation_loss"]


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_the_aggregate_of_a_horizon_is_learnt_with_either_cell(cell, aggregate) -> None:
    settings = configured()
    settings = settings.model_copy(
        update={"model": settings.model.model_copy(update={"cell": cell, "aggregate": aggregate})}
    )
    manifest, network = train(Source([recording(daily(4, 60, noise=0.05))]), settings)
    assert manifest.network.outputs == 1
    assert network.output_layer.bias.shape == (3,)
    assert manifest.training["validation_loss"] < 0.8 * manifest.training["baseline_validation_loss"]


def test_an_aggregate_counts_where_every_step_of_it_has_a_value() -> None:
    values = daily(1, 10)
    values[0, 60] = np.nan
    data = sequences([recording(values)], configured())
    table, end_ms = feature_table(data, FEATURES), int(data.origin_ms.max()) + 1
    row = np.arange(len(data.value))
    for aggregate, known_at_60 in (("mean", False), ("max", False), ("last", True)):
        target, weight = Examples(table, 6, end_ms, aggregate).targets(row)
        assert target.shape == weight.shape == (len(row), 1)
        assert bool(weight[57, 0]) == known_at_60
        assert weight[[53, 60], 0].tolist() == [1, 1]
        assert not weight[-6:].any()
        after = {"mean": np.mean, "max": np.max, "last": lambda x: x[-1]}[aggregate](values[0, 41:47])
        expected = (after - table.baseline(row[40:41], 6, aggregate)[0, 0]) / table.scale[40]
        assert target[40, 0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"model": {"seasons": ["90min"]}}, "model.seasons"),
        ({"model": {"horizon": 200}}, "horizon"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_named(change, named) -> None:
    settings = Settings(**{"stream": {"step": "1h"}, **change})
    with pytest.raises(ConfigError, match=named):
        train(Source([recording(daily(1, 10))]), settings)


def test_scores_are_the_ones_computed_by_hand() -> None:
    values = np.array([[1.0, 2.0, 4.0, 3.0, 5.0, 6.0]])
    data = sequences([recording(values)], Settings(stream={"step": "1h"}))
    scorer = Scorer(data, 2, (0.1, 0.5, 0.9), {"season": 2}, regular=True)
    origin = START + 2 * HOUR  # 4.0: actuals 3 and 5, last value 4 and 4, season of two steps 2 and 4
    quantiles = np.array([[[2.5, 3.5, 4.5], [2.0, 3.0, 4.0]]])
    none = np.zeros(1, np.int64)
    scorer.add(Forecasts(["s0"], np.array([origin]), quantiles, np.ones(1), np.ones(1, bool), none, none, none, none))
    model, last, season = scorer.scores()
    assert model.mean_absolute_error == pytest.approx((0.5 + 2.0) / 2)
    assert last.mean_absolute_error == pytest.approx((1.0 + 1.0) / 2)
    assert season.mean_absolute_error == pytest.approx((1.0 + 1.0) / 2)
    assert model.coverage == 0.5
    pinball = [0.1 * 0.5, 0.5 * 0.5, 0.1 * 1.5, 0.1 * 3.0, 0.5 * 2.0, 0.9 * 1.0]
    assert model.pinball == pytest.approx(np.mean(pinball))


def test_the_score_of_an_aggregate_is_that_of_the_rivals_aggregates() -> None:
    data = sequences([recording(np.array([[1.0, 2.0, 4.0, 3.0, 5.0, 6.0]]))], Settings(stream={"step": "1h"}))
    scorer = Scorer(data, 2, (0.1, 0.5, 0.9), {"season": 2}, regular=True, aggregate="max")
    none = np.zeros(1, np.int64)
    one = np.array([START + 2 * HOUR]), np.array([[[3.5, 4.5, 5.5]]]), np.ones(1), np.ones(1, bool)
    scorer.add(Forecasts(["s0"], *one, none, none, none, none))
    assert [score.mean_absolute_error for score in scorer.scores()] == [0.5, 1.0, 1.0]  # the maximum was 5


def test_an_origin_whose_actuals_have_not_come_is_not_scored() -> None:
    data = sequences([recording(np.array([[1.0, 2.0, 4.0]]))], Settings(stream={"step": "1h"}))
    scorer = Scorer(data, 2, (0.1, 0.5, 0.9), {}, regular=True)
    none = np.zeros(1, np.int64)
    origin = np.array([START + 2 * HOUR])
    scorer.add(Forecasts(["s0"], origin, np.zeros((1, 2, 3)), np.ones(1), np.ones(1, bool), none, none, none, none))
    assert scorer.scores() == []
