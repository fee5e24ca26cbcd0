"""Training: the arrays are those of serving, a seed decides everything, and what is learnt is worth having."""

from itertools import pairwise

import numpy as np
import pytest
from builders import FEATURES
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecaster.bundle import named_weights
from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.features import Features
from forecaster.formats.forecast_json import Forecasts
from forecaster.recording import Recording
from forecaster.windows import Windows
from training.data import Examples, sequences, split_by_time
from training.evaluate import Scorer
from training.fit import train

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
)
@hypothesis_settings(max_examples=25, deadline=None)
def test_training_arrays_equal_serving_arrays(cuts, missing, gap) -> None:
    values = daily(3, 10)
    values[1, sorted(missing)] = np.nan
    ticks = recording(values)
    keep = ~((ticks.series == 2) & (ticks.time_ms >= START + 100 * HOUR) & (ticks.time_ms < START + (100 + gap) * HOUR))
    ticks = Recording(ticks.names, ticks.series[keep], ticks.time_ms[keep], ticks.value[keep])
    settings = configured()
    data = sequences(ticks, settings)
    trained = {}
    step = data.features(FEATURES)
    inputs, scale = step.inputs(), step.safe_scale()
    for run, name in enumerate(data.names):
        for round_ in range(data.length[run]):
            trained[name, int(data.origin_ms[run, round_])] = (inputs[run, round_], scale[run, round_])

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
                for n in range(rounds):
                    key = windows.slots.names[block.slot[row]], int(windows.grid.origin_ms(block.index[row + n]))
                    served[key] = (one.inputs()[0, n], one.safe_scale()[0, n])
                one.commit()
    assert trained.keys() == served.keys()
    for key, (x, s) in trained.items():
        np.testing.assert_allclose(served[key][0], x, atol=1e-5)
        np.testing.assert_allclose(served[key][1], s, rtol=1e-9)


def test_no_target_lies_behind_the_end_of_the_training_part() -> None:
    data = sequences(recording(daily(2, 10)), configured())
    split = split_by_time(data, 0.5, 0.2)
    examples = Examples(data, data.features(FEATURES), 6, split.train_end_ms)
    run, round_ = np.nonzero(data.origin_ms < np.iinfo(np.int64).max)
    _, weight = examples.targets(run, round_)
    target_ms = data.origin_ms[run, round_][:, None] + HOUR * np.arange(1, 7)
    assert (weight[target_ms >= split.train_end_ms] == 0).all()
    assert (weight[target_ms < split.train_end_ms] == 1).all()


def test_the_same_seed_gives_the_same_model_and_another_seed_another() -> None:
    def weights(seed: int) -> list[np.ndarray]:
        _, network = train(recording(daily(2, 20)), configured(seed=seed, epochs=1), lambda _: None)
        return [np.copy(weight.numpy()) for weight in named_weights(network).values()]

    first, again, other = weights(0), weights(0), weights(1)
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert any((a != b).any() for a, b in zip(first, other, strict=True))


def test_training_beats_level_and_profile_alone_on_a_series_that_drifts() -> None:
    shown = []
    manifest, _ = train(recording(daily(4, 60, noise=0.05)), configured(), shown.append)
    assert manifest.training["validation_loss"] < 0.8 * manifest.training["baseline_validation_loss"]
    assert shown[0].best
    assert min(epoch.validation_loss for epoch in shown) == manifest.training["validation_loss"]


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
        train(recording(daily(1, 10)), settings, lambda _: None)


def test_scores_are_the_ones_computed_by_hand() -> None:
    values = np.array([[1.0, 2.0, 4.0, 3.0, 5.0, 6.0]])
    data = sequences(recording(values), Settings(stream={"step": "1h"}))
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


def test_an_origin_whose_actuals_have_not_come_is_not_scored() -> None:
    data = sequences(recording(np.array([[1.0, 2.0, 4.0]])), Settings(stream={"step": "1h"}))
    scorer = Scorer(data, 2, (0.1, 0.5, 0.9), {}, regular=True)
    none = np.zeros(1, np.int64)
    origin = np.array([START + 2 * HOUR])
    scorer.add(Forecasts(["s0"], origin, np.zeros((1, 2, 3)), np.ones(1), np.ones(1, bool), none, none, none, none))
    assert scorer.scores() == []
