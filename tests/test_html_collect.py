"""What the report keeps of a backtest: little, true, and without a word in its scores."""

import json
from itertools import pairwise

import builders
import numpy as np
import pytest
from builders import START_MS
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecaster.config import Settings
from forecaster.recording import Recording
from training.backtest import Part, backtest, unwatched
from training.html.collect import Collector
from training.html.overview import BUCKETS, MOST_SERIES, count, outline, telling
from training.observed import Observed, observe
from training.origins import Choice
from training.scores import as_json

LEVELS = (0.1, 0.5, 0.9)


def part(actual: np.ndarray, quantiles: np.ndarray, series: str = "s", first: int = 0) -> Part:
    """Forecasts of consecutive seconds, charged |actual − middle|."""
    origin_ms = START_MS + 1_000 * (first + np.arange(len(actual)))
    return Part(series, origin_ms, quantiles, actual, {"mase": np.abs(actual - quantiles[..., 1])})


def flat(errors: np.ndarray, series: str, first: int = 0) -> Part:
    """One forecast for each of `errors`, which it has at each of its three steps."""
    actual = np.repeat(np.asarray(errors, float)[:, None], 3, axis=1)
    return part(actual, np.broadcast_to([-1.0, 0.0, 1.0], (*actual.shape, 3)), series, first)


def collector() -> Collector:
    return Collector(builders.manifest(builders.network()))


def recording(names: list[str], values: np.ndarray, keep: np.ndarray | None = None) -> Recording:
    """`values` `[series, rounds]`, a round a second, of which the ticks in `keep` came."""
    series, rounds = values.shape
    time_ms = np.repeat(START_MS + 1_000 * np.arange(rounds), series)
    rows = np.flatnonzero(np.ones(values.size, bool) if keep is None else keep.T.ravel())
    return Recording(names, np.tile(np.arange(series), rounds)[rows], time_ms[rows], values.T.ravel()[rows])


def observed(values: np.ndarray, keep: np.ndarray | None = None, **stream: str) -> Observed:
    names = [f"s{n}" for n in range(len(values))]
    return observe(recording(names, values, keep), Settings(stream={"step": "1s", **stream}).stream, 8)


def test_watching_a_backtest_changes_none_of_its_figures() -> None:
    random = np.random.default_rng(0)
    ticks = recording(["a", "b"], 20 + np.cumsum(random.normal(size=(2, 90)), axis=1))
    made = builders.network()
    manifest = builders.manifest(made)
    watched = collector().watch
    figures = [
        json.dumps(as_json(backtest(ticks, Settings(), manifest, made, Choice(), watch), manifest))
        for watch in (unwatched, watched)
    ]
    assert figures[0] == figures[1]


def test_shares_below_each_quantile_are_those_counted_by_hand_and_ties_count_half() -> None:
    quantiles = np.broadcast_to([1.0, 2.0, 3.0], (4, 3, 3))
    actual = np.array([[0.0, 1.0, np.nan], [1.5, 2.0, np.nan], [2.5, 3.5, np.nan], [9.0, 9.0, 2.2]])
    kept = collector()
    kept.watch(part(actual[:2], quantiles[:2]))
    kept.watch(part(actual[2:], quantiles[2:], first=2))
    assert kept.below.tolist() == [[1.0, 2.0, 3.0], [0.5, 1.5, 2.0], [0.0, 0.0, 1.0]]
    assert kept.known.tolist() == [4, 4, 1]


def test_shown_forecasts_are_near_their_percentile_and_on_different_series() -> None:
    kept, random = collector(), np.random.default_rng(3)
    errors = {f"s{n}": random.exponential(size=4_000) for n in range(4)}
    for name, of_series in errors.items():
        for low in range(0, 4_000, 700):
            kept.watch(flat(of_series[low : low + 700], name, low))
    everything = np.sort(np.concatenate(list(errors.values())))
    np.testing.assert_allclose(kept.errors(), everything, rtol=1e-6)
    for kind, share in (("good", 0.05), ("typical", 0.5)):
        chosen = kept.shown()[kind]
        assert len({one.series for one in chosen}) == len(chosen) == 3
        for one in chosen:
            assert one.error == pytest.approx(np.quantile(everything, share), rel=0.1)
            assert one.rank == pytest.approx((everything < one.error).mean(), abs=1e-3)
            assert errors[one.series][(one.origin_ms - START_MS) // 1_000] == pytest.approx(one.error)


def test_the_worst_forecasts_are_the_worst_of_the_worst_series_wherever_they_come() -> None:
    kept = collector()
    for n in range(40):
        errors = np.full(50, 1.0)
        errors[(7 * n) % 50] = 10 + (n * 17) % 40
        kept.watch(flat(errors, f"s{n}"))
    assert [one.error for one in kept.shown()["worst"]] == [49, 48, 47]


@given(errors=st.lists(st.floats(0, 100), min_size=1, max_size=60), cut=st.integers(0, 60))
@hypothesis_settings(max_examples=50, deadline=None)
def test_the_worst_of_a_lone_series_begin_with_the_very_worst_and_stand_a_horizon_apart(errors, cut) -> None:
    kept = collector()
    kept.watch(flat(np.array(errors[:cut] or errors), "s"))
    if errors[:cut] and errors[cut:]:
        kept.watch(flat(np.array(errors[cut:]), "s", first=cut))
    worst = kept.shown()["worst"]
    assert worst[0].error == pytest.approx(max(errors[:cut] + errors[cut:]))
    times = sorted(one.origin_ms for one in worst)
    assert all(later - earlier >= 3_000 for earlier, later in pairwise(times))


def test_what_is_kept_does_not_grow_with_the_forecasts_but_for_a_number_each() -> None:
    kept, random = collector(), np.random.default_rng(0)
    for n in range(60):
        kept.watch(flat(random.exponential(size=2_000), f"s{n}"))
    assert len(kept._sample) == 4_096
    assert len(kept._worst) == 12
    origins = {(one.series, one.origin_ms) for _, one in kept._sample}
    assert len(origins) == 4_096
    counts = [sum(series == f"s{n}" for series, _ in origins) for n in range(60)]
    assert min(counts) > 30  # no series is favoured by its place
    assert np.mean([time - START_MS for _, time in origins]) == pytest.approx(1_000_000, rel=0.05)  # nor any origin


def test_an_origin_of_which_little_is_known_is_neither_good_nor_bad() -> None:
    kept = collector()
    actual = np.array([[0.0, np.nan, np.nan], [5.0, 5.0, np.nan], [np.nan, np.nan, np.nan]])
    kept.watch(part(actual, np.zeros((3, 3, 3))))
    assert kept.errors().tolist() == [5.0]
    assert [one.origin_ms for one in kept.shown()["good"]] == [START_MS + 1_000]


def test_without_a_scaled_error_nothing_is_shown() -> None:
    assert collector().shown() == {}


@given(
    rounds=st.integers(1, 3_000),
    missing=st.sets(st.integers(0, 2_999), max_size=40),
    gone=st.tuples(st.integers(0, 2_999), st.integers(0, 200)),
    seed=st.integers(0, 9),
)
@hypothesis_settings(max_examples=40, deadline=None)
def test_an_outline_keeps_the_extremes_marks_every_gap_and_stays_small(rounds, missing, gone, seed) -> None:
    values = np.random.default_rng(seed).normal(size=(1, rounds))
    values[0, [n for n in missing if n < rounds]] = np.nan
    keep = np.ones(values.shape, bool)
    keep[0, gone[0] : sum(gone)] = False
    if not keep.any():
        return
    seen = observed(values, keep, max_gap="5s")
    drawn = outline(seen, 0)
    known = values[keep & ~np.isnan(values)]
    assert len(drawn.value) <= 4 * BUCKETS
    assert (np.diff(drawn.time_ms) >= 0).all()
    if len(known):
        assert (np.nanmin(drawn.value), np.nanmax(drawn.value)) == (known.min(), known.max())
    width = (seen.origin_ms[-1] - seen.origin_ms[0] + 1) / BUCKETS
    for lost in seen.origin_ms[np.isnan(seen.block.value)]:
        assert np.abs(drawn.gap_ms - lost).min() <= width / 2 + 1e-3
    assert ((drawn.lost > 0) & (drawn.lost <= 1)).all()


def test_a_line_is_not_drawn_across_a_restart() -> None:
    values = np.arange(5_000.0)[None]
    keep = np.ones(values.shape, bool)
    keep[0, 2_000:3_000] = False
    drawn = outline(observed(values, keep), 0)
    inside = (drawn.time_ms > START_MS + 2_020_000) & (drawn.time_ms < START_MS + 2_980_000)
    assert inside.any()
    assert np.isnan(drawn.value[inside]).all()
    assert drawn.gap_ms.min() == pytest.approx(START_MS + 2_000_000, abs=10_000)
    assert drawn.gap_ms.max() == pytest.approx(START_MS + 3_000_000, abs=10_000)


def test_what_became_of_the_ticks_is_counted_by_series() -> None:
    values = np.arange(40.0).reshape(2, 20)
    values[0, [3, 4]] = np.nan
    keep = np.ones(values.shape, bool)
    keep[1, [7, 8]] = False  # filled
    keep[1, 11:19] = False  # restarts
    ticks = recording(["a", "b"], values, keep)
    again = np.r_[np.arange(len(ticks)), [0, 0], len(ticks) - 1]
    ticks = Recording(ticks.names, ticks.series[again], ticks.time_ms[again], ticks.value[again])
    seen = observe(ticks, Settings(stream={"step": "1s", "max_gap": "5s"}).stream, 8)
    one, other = (count(seen, seen.series.index(name)) for name in ("a", "b"))
    assert (one.ticks, one.observations, one.missing, one.filled, one.restarts) == (22, 20, 2, 0, 0)
    assert (one.late, one.duplicate) == (2, 0)
    assert (other.ticks, other.observations, other.missing, other.filled, other.restarts) == (11, 10, 0, 2, 1)
    assert (other.late, other.duplicate) == (0, 1)


def test_of_many_series_the_worst_the_best_and_the_gappiest_are_drawn() -> None:
    values = np.ones((30, 20))
    values[17, 5:] = np.nan
    seen = observed(values)
    errors = {name: {"scores": {"model": {"mase": float(n)}}} for n, name in enumerate(seen.series)}
    chosen = telling(seen, {"by_series": errors})
    assert len(chosen) == MOST_SERIES
    assert {0, 1, 2, 3, 17, 26, 27, 28, 29} <= set(chosen)
    assert telling(observed(values[:5]), None) == [0, 1, 2, 3, 4]
