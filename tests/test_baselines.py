"""The naive rivals: what a slow loop gives, from the past alone, and never without an answer."""

import numpy as np
import pytest
from builders import FEATURES
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.features.running import Features, FeatureStep
from training import baselines
from training.baselines import residual_quantiles, rivals

SEASONS = {"4s": 4}
HORIZON = 6
AHEAD = np.arange(1, HORIZON + 1)
LEVELS = np.array([0.1, 0.5, 0.9])
NAMES = [
    "last value",
    "seasonal naive 4s",
    "exponential mean",
    "damped Holt",
    "level and profile",
]


def features_of(values: np.ndarray) -> FeatureStep:
    state = Features(FEATURES)
    state.grow(1)
    return state.advance(np.zeros(1, np.int64), np.array([3]), values[None])


def made(values: np.ndarray, start: int) -> dict[str, baselines.Rival]:
    return rivals(features_of(values), values, SEASONS, start, HORIZON)


def series(rounds: int, seed: int, missing: float = 0.2) -> np.ndarray:
    random = np.random.default_rng(seed)
    values = 10 + 3 * np.sin(np.arange(rounds) * np.pi / 2) + np.cumsum(random.normal(0, 0.3, rounds))
    values[1:][random.uniform(size=rounds - 1) < missing] = np.nan
    return values


def slow_last_value(values: np.ndarray, origin: int, _step: int) -> float:
    return next(value for value in values[origin::-1] if not np.isnan(value))


def slow_seasonal_naive(values: np.ndarray, origin: int, step: int) -> float:
    place = origin + step
    while place > origin:
        place -= 4
    while place >= 0:
        if not np.isnan(values[place]):
            return values[place]
        place -= 4
    return slow_last_value(values, origin, step)


def slow_holt(values: np.ndarray, origin: int, step: int, rates: np.ndarray) -> float:
    rate, trend_rate, damping = rates.tolist()
    level, trend = None, 0.0
    for value in values[: origin + 1].tolist():
        if level is None:
            level = None if np.isnan(value) else value
        elif np.isnan(value):
            level, trend = level + damping * trend, damping * trend
        else:
            before = level
            level = rate * value + (1 - rate) * (level + damping * trend)
            trend = trend_rate * (level - before) + (1 - trend_rate) * damping * trend
    return level + sum(damping**k for k in range(1, step + 1)) * trend


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_naive_rivals_equal_slow_loops(missing) -> None:
    values = series(60, 1, missing)
    found = made(values, 40)
    origins = np.arange(60)
    for name, slow in (("last value", slow_last_value), ("seasonal naive 4s", slow_seasonal_naive)):
        expected = [[slow(values, origin, step) for step in range(1, HORIZON + 1)] for origin in range(60)]
        np.testing.assert_array_equal(found[name](origins), expected)


@pytest.mark.parametrize("candidates", [baselines.EXPONENTIAL_MEANS, baselines.DAMPED_TRENDS])
def test_smoothers_equal_slow_loops(candidates) -> None:
    values = series(40, 2)
    origins = np.array([0, 7, 39])
    found = baselines._smoother(values, candidates, HORIZON)(origins)
    for row, rates in enumerate(candidates):
        expected = [[slow_holt(values, o, step, rates) for step in range(1, HORIZON + 1)] for o in origins]
        np.testing.assert_allclose(found[row], expected, rtol=1e-12)


def test_the_smoother_chosen_is_the_one_that_was_best_before_the_first_origin() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 400)
    walk = np.cumsum(noise)
    for values, best in ((noise, 0.01), (walk, 1.0)):
        chosen = baselines._tuned(values, baselines.EXPONENTIAL_MEANS, 300, HORIZON)
        expected = baselines._smoother(values, np.array([[best, 0.0, 1.0]]), HORIZON)
        np.testing.assert_array_equal(chosen(np.array([350])), expected(np.array([350]))[0])


@given(seed=st.integers(0, 999), cut=st.integers(30, 58), refresh=st.sampled_from([1, 5, 24]))
@settings(max_examples=40, deadline=None)
def test_no_rival_sees_the_future(seed, cut, refresh) -> None:
    values = series(60, seed)
    other = values.copy()
    other[cut + 1 :] = np.random.default_rng(seed + 1).normal(-50, 20, 59 - cut)
    origins = np.arange(30, cut + 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "REFRESH", refresh)
        for name, rival in made(values, 30).items():
            same = made(other, 30)[name]
            np.testing.assert_array_equal(rival(origins), same(origins), err_msg=name)
            np.testing.assert_array_equal(
                residual_quantiles(rival, values, origins, LEVELS, AHEAD),
                residual_quantiles(same, other, origins, LEVELS, AHEAD),
                err_msg=name,
            )


@given(seed=st.integers(0, 999), refresh=st.sampled_from([1, 7]), window=st.sampled_from([1, 9, 256]))
@settings(max_examples=25, deadline=None)
def test_residual_intervals_equal_a_slow_loop(seed, refresh, window) -> None:
    values = series(50, seed)
    values[: seed % 3] = np.nan  # errors before the first value are none
    rival = made(values, 40)["seasonal naive 4s"]
    origins = np.array([3, 20, 21, 49])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baselines, "REFRESH", refresh)
        patch.setattr(baselines, "WINDOW", window)
        found = residual_quantiles(rival, values, origins, LEVELS, AHEAD)
    forecasts = rival(np.arange(50))
    for n, origin in enumerate(origins.tolist()):
        looked = origin - origin % refresh
        for step in range(1, HORIZON + 1):
            targets = range(max(step, looked - window + 1), looked + 1)
            errors = np.array([values[t] - forecasts[t - step, step - 1] for t in targets])
            errors = errors[~np.isnan(errors)]
            spread = np.quantile(errors, LEVELS) if len(errors) else np.zeros(3)
            np.testing.assert_allclose(found[n, step - 1], forecasts[origin, step - 1] + spread, atol=1e-9)


@given(seed=st.integers(0, 999), half_life=st.sampled_from([1, 5, 40]))
@settings(max_examples=25, deadline=None)
def test_weighted_quantiles_equal_a_slow_loop(seed, half_life) -> None:
    random = np.random.default_rng(seed)
    errors = random.normal(0, 1, (2, 30))
    errors[0, random.uniform(size=30) < 0.3] = np.nan
    found = baselines._weighted_quantiles(errors, LEVELS, half_life)
    for row, wanted in zip(errors, found, strict=True):
        pairs = sorted((error, 0.5 ** ((29 - n) / half_life)) for n, error in enumerate(row) if not np.isnan(error))
        total = sum(weight for _, weight in pairs)
        for level, value in zip(LEVELS, wanted, strict=True):
            before, expected = 0.0, pairs[-1][0]
            for error, weight in pairs:
                if (before + weight / 2) / total >= level:
                    expected = error
                    break
                before += weight
            assert value == expected


def test_prices_have_a_rival_with_weighted_quantiles_of_their_changes() -> None:
    values = series(60, 1)
    found = rivals(features_of(values), values, {}, 40, HORIZON)
    origin = np.arange(40, 60)
    np.testing.assert_array_equal(found[baselines.WEIGHTED](origin), found["last value"](origin))


def test_weighted_quantiles_forget_what_lies_far_back() -> None:
    random = np.random.default_rng(0)
    values = np.cumsum(np.concatenate([random.normal(0, 1, 3_000), random.normal(0, 0.1, 600)]))
    rival, origin = baselines._last_value(values, 1), np.array([3_550])
    widths = [
        float(np.ptp(residual_quantiles(rival, values, origin, LEVELS, np.array([1]), half_life)))
        for half_life in (64, 1_024)
    ]
    assert widths[0] < 0.35 < widths[1]
    assert baselines.best_half_life(rival, values, 3_550, LEVELS, np.array([1])) == 64


@given(st.data())
@settings(max_examples=20, deadline=None)
def test_where_the_origins_are_cut_does_not_matter(data) -> None:
    values = series(120, data.draw(st.integers(0, 99)))
    rival = made(values, 60)["damped Holt"]
    origins = np.flatnonzero(np.arange(120) >= 60)
    cut = data.draw(st.integers(1, 59))
    whole = residual_quantiles(rival, values, origins, LEVELS, AHEAD)
    parts = [residual_quantiles(rival, values, part, LEVELS, AHEAD) for part in np.split(origins, [cut])]
    np.testing.assert_allclose(np.concatenate(parts), whole)


def test_from_the_first_value_on_every_rival_has_an_answer_for_every_step() -> None:
    values = series(50, 3, missing=0.6)
    values[:2], values[2] = np.nan, 7.0
    found = made(values, 2)
    assert list(found) == NAMES
    origins = np.arange(2, 50)
    for name, rival in found.items():
        assert np.isfinite(rival(origins)).all(), name
        assert np.isfinite(residual_quantiles(rival, values, origins, LEVELS, AHEAD)).all(), name
