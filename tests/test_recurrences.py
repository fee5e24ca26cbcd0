"""The array recurrences against plain loops."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from forecaster.features.recurrences import exponential_mean, first_at_least, running_max

FAST = {"max_examples": 200, "deadline": None}


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), max_size=70))
@settings(**FAST)
def test_running_max_is_the_largest_so_far_in_each_segment(rows):
    rows.sort(key=lambda row: row[0])
    segment, values = (np.array([row[n] for row in rows], np.int64) for n in (0, 1))
    expected = [max(v for s, v in rows[: n + 1] if s == rows[n][0]) for n in range(len(rows))]
    assert running_max(values, segment).tolist() == expected


@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=12),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(-5, 5)), min_size=1, max_size=10),
)
@settings(**FAST)
def test_first_at_least_finds_what_a_search_by_hand_finds(values, questions):
    ascending = np.array(sorted(values), np.int64)
    size = len(values)
    questions = [(min(low, high, size), min(max(low, high), size), target) for low, high, target in questions]
    low, high, target = (np.array([q[n] for q in questions], np.int64) for n in range(3))
    found = first_at_least(ascending, low, high, target)
    expected = [next((i for i in range(a, b) if ascending[i] >= t), b) for a, b, t in questions]
    assert found.tolist() == expected
    assert low.tolist() == [q[0] for q in questions]


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 130), st.integers(0, 2**32 - 1))
@settings(**FAST)
def test_an_exponential_mean_is_its_own_loop(spans, series, rounds, seed):
    draw = np.random.default_rng(seed)
    rate = draw.choice([0.0, 1.0, 1e-6, 0.3, 1 / 2880], (spans, series, rounds))
    target = draw.normal(0, 1, (spans, series, rounds)) * 10.0 ** draw.integers(-6, 7, (spans, series, 1))
    start = draw.normal(0, 1, (spans, series))
    kept = rate.copy(), target.copy(), start.copy()
    expected, mean = [], start
    for n in range(rounds):
        mean = mean + rate[..., n] * (target[..., n] - mean)
        expected.append(mean)
    found = exponential_mean(rate, target, start)
    size = np.maximum(np.abs(target).max(axis=-1, keepdims=True), np.abs(start)[..., None])
    assert (np.abs(found - np.stack(expected, axis=-1)) <= 1e-14 * size * 10).all()
    for before, after in zip(kept, (rate, target, start), strict=True):
        assert (before == after).all()


@given(arrays(np.float64, 90, elements=st.floats(0, 1)), st.integers(0, 90))
@settings(**FAST)
def test_an_exponential_mean_goes_on_from_where_it_was_cut(target, cut):
    rate, start = np.full(90, 0.05), np.float64(3.0)
    whole = exponential_mean(rate, target, start)
    middle = whole[cut - 1] if cut else start
    if cut < 90:
        rest = exponential_mean(rate[cut:], target[cut:], np.asarray(middle))
        np.testing.assert_allclose(rest, whole[cut:], rtol=0, atol=1e-14)


def test_a_slow_mean_of_large_values_follows_a_small_move():
    #  float32 would stay at 100,000 for ever
    mean = exponential_mean(np.full(30_000, 1 / 2_880), np.full(30_000, 100_010.0), np.float64(100_000.0))
    assert 100_009.99 < mean[-1] < 100_010
