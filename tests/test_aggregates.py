"""The aggregate of a horizon against slow loops, in the features, in what is published and in what is scored."""

import json
from pathlib import Path

import builders
import numpy as np
import pytest
from builders import FEATURES, Tick, network, pipeline, records_of
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_backtest import untidy

from forecaster.aggregates import aggregated, completed_after, trailing
from forecaster.config import Settings
from forecaster.features.running import Features
from training.backtest import Part, backtest
from training.baselines import residual_quantiles
from training.origins import Choice

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "forecast.schema.json").read_text("utf-8"))
SLOW = {"mean": lambda x: sum(x) / len(x), "min": min, "max": max, "last": lambda x: x[-1]}
KINDS = pytest.mark.parametrize("kind", list(SLOW))


def slow(kind, steps):
    """The aggregate of a list of steps; missing where a step that counts is."""
    counted = steps[-1:] if kind == "last" else steps
    return float("nan") if any(np.isnan(counted)) else SLOW[kind](counted)


numbers = st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")))


@KINDS
@given(values=st.lists(numbers, min_size=1, max_size=30), horizon=st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_what_a_round_completes_is_the_aggregate_of_the_horizon_up_to_it(kind, values, horizon):
    array = np.array(values)
    found = trailing(array, horizon, kind)
    for n in range(len(values)):
        steps = ([float("nan")] * horizon + values[: n + 1])[-horizon:]
        np.testing.assert_allclose(found[n], slow(kind, steps), rtol=1e-9, atol=1e-9)
    one = aggregated(array[None], kind)
    np.testing.assert_allclose(one, [[slow(kind, values)]], rtol=1e-9, atol=1e-9)


def test_without_an_aggregate_every_step_stands_for_itself():
    values = np.arange(4.0)
    assert aggregated(values[None], None).tolist() == [[0, 1, 2, 3]]
    assert trailing(values, 2, None).tolist() == [0, 1, 2, 3]
    assert completed_after(3, None).tolist() == [1, 2, 3]
    assert completed_after(3, "max").tolist() == [3]


@KINDS
@pytest.mark.parametrize("transform", ["none", "log"])
@given(seed=st.integers(0, 2**16), horizon=st.integers(1, 9))
@settings(max_examples=15, deadline=None)
def test_baseline_and_moves_are_those_of_the_aggregated_values(kind, transform, seed, horizon):
    draw = np.random.default_rng(seed)
    made = FEATURES.model_copy(update={"transform": transform})
    state = Features(made)
    state.grow(1)
    step = state.advance(np.zeros(1, np.int64), np.array([3]), np.exp(draw.normal(1, 0.3, (1, 20))))
    place = np.zeros(20, np.int64), np.arange(20)
    steps, scale = step.baseline(*place, horizon), step.safe_scale()[place]
    moves = step.recent(*place, horizon) * scale[:, None, None]

    def of(rows):
        return np.array([made.transformed(slow(kind, list(made.restored(row)))) for row in rows])

    baseline = step.baseline(*place, horizon, kind)
    np.testing.assert_allclose(baseline[:, 0], of(steps), rtol=1e-9)
    found = step.recent(*place, horizon, kind)
    for number in range(made.recents):
        expected = (of(steps + moves[..., number]) - of(steps)) / scale
        np.testing.assert_allclose(found[:, 0, number], np.clip(expected, -10, 10), rtol=1e-3, atol=1e-4)


@KINDS
@pytest.mark.parametrize("emit", ["every", "latest"])
def test_one_ordered_number_is_published_for_the_horizon(kind, emit):
    made = network(aggregate=kind)
    line = pipeline(Settings(emit=emit), made)
    draw = np.random.default_rng(1)
    ticks = [Tick(f"s{n % 3}", n // 3, float(value)) for n, value in enumerate(draw.normal(20, 3, 60))]
    forecasts = builders.published(builders.run(line, records_of(ticks), [30, 31, 50]))
    assert len(forecasts) == (60 if emit == "every" else len(forecasts))
    for forecast in forecasts:
        scale = forecast.pop("scale")
        Draft202012Validator(SCHEMA).validate(forecast)
        assert (forecast["horizon"], forecast["aggregate"]) == (3, kind)
        (low,), (middle,), (high,) = forecast["quantiles"].values()
        assert forecast["point"] == [middle]
        assert low <= middle <= high
        assert scale > 0
    assert "aggregate" not in builders.published(builders.run(pipeline(), records_of(ticks)))[0]


@KINDS
def test_a_backtest_scores_the_aggregate_of_what_came_beside_the_rivals_own(kind):
    ticks, made, found = untidy(3), network(aggregate=kind), []
    results = backtest(ticks, Settings(), builders.manifest(made), made, Choice(), found.append)
    block, windows = results.observed.block, results.observed.windows
    after = {
        (windows.slots.names[slot], int(origin)): value
        for slot, origin, value in zip(block.slot, windows.grid.origin_ms(block.index), block.value, strict=True)
    }
    part: Part
    for part in found:
        assert part.quantiles.shape[1:] == (1, 3)
        for origin, actual in zip(part.origin_ms.tolist(), part.actual[:, 0], strict=True):
            steps = [after.get((part.series, origin + 1_000 * step), float("nan")) for step in (1, 2, 3)]
            np.testing.assert_allclose(actual, slow(kind, steps), rtol=1e-12)
    pairs = {name: tally.pairs().tolist() for name, tally in results.tallies.items()}
    assert len({str(counts) for counts in pairs.values()}) == 1
    assert "seasonal naive 4s" in pairs


@KINDS
@given(seed=st.integers(0, 999))
@settings(max_examples=10, deadline=None)
def test_a_rivals_interval_is_of_its_errors_whose_whole_horizon_had_come(kind, seed):
    draw, horizon = np.random.default_rng(seed), 4
    values = draw.normal(0, 1, 60)
    forecasts = draw.normal(0, 1, 60)
    origins, levels = np.array([24, 48]), np.array([0.1, 0.5, 0.9])
    completed, ahead = trailing(values, horizon, kind), completed_after(horizon, kind)
    found = residual_quantiles(lambda at: forecasts[at][:, None], completed, origins, levels, ahead)
    for n, origin in enumerate(origins.tolist()):
        errors = [
            slow(kind, values[o + 1 : o + horizon + 1].tolist()) - forecasts[o]
            for o in range(0 if kind == "last" else horizon - 1, origin - horizon + 1)
        ]
        expected = forecasts[origin] + np.quantile(errors, levels)
        np.testing.assert_allclose(found[n, 0], expected, rtol=1e-9, atol=1e-9)
