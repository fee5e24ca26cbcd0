"""Drawing from distributions: as a slow reference draws, and by numbers that belong to series and origin alone."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from forecaster.config import SamplingSettings
from forecaster.engines.sampling import draw, keys, likeliest, uniforms

temperatures = st.floats(0.05, 5)


def kept_by_reference(probabilities, sampling):
    """The codes that top-k and top-p leave, one at a time, likeliest first; ties with the last one stay."""
    order = sorted(range(len(probabilities)), key=lambda n: -probabilities[n])
    kept, together = [], 0.0
    for rank, code in enumerate(order):
        if rank >= (sampling.top_k or len(order)) or (sampling.top_p < 1 and together >= sampling.top_p):
            break
        kept.append(code)
        together += probabilities[code]
    least = min(probabilities[code] for code in kept)
    return [code for code in range(len(probabilities)) if probabilities[code] >= least]


def drawn_by_reference(logits, uniform, sampling):
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    probabilities = weights / weights.sum()
    kept = kept_by_reference(probabilities, sampling)
    wanted, below = uniform * sum(probabilities[code] for code in kept), 0.0
    for code in kept:
        below += probabilities[code]
        if below > wanted:
            return code
    return kept[-1]


def distance_to_any_edge(logits, uniform, sampling):
    """How near float32 comes to another answer: by where top-p ends, or where one code's share does."""
    weights = np.exp((logits - logits.max()) / sampling.temperature)
    probabilities = weights / weights.sum()
    ranked = np.cumsum(np.sort(probabilities)[::-1])
    shares = np.cumsum([probabilities[code] for code in kept_by_reference(probabilities, sampling)])
    gaps = np.diff(np.sort(probabilities))
    return min(
        np.abs(ranked - sampling.top_p).min() if sampling.top_p < 1 else 1.0,
        np.abs(shares[:-1] / shares[-1] - uniform).min(initial=1.0),
        gaps[gaps > 0].min(initial=1.0),
    )


@given(
    st.lists(st.floats(-6, 6), min_size=2, max_size=9),
    st.floats(0, 1, exclude_max=True),
    temperatures,
    st.one_of(st.none(), st.integers(1, 12)),
    st.one_of(st.just(1.0), st.floats(0.05, 0.99)),
)
@settings(max_examples=150, deadline=None)
def test_a_draw_is_that_of_a_slow_reference(logits, uniform, temperature, top_k, top_p):
    sampling = SamplingSettings(temperature=temperature, top_k=top_k, top_p=top_p)
    array = np.array(logits, np.float32)
    assume(distance_to_any_edge(array.astype(np.float64), uniform, sampling) > 1e-5)
    found = int(np.asarray(draw(array[None], np.array([uniform], np.float32), sampling)[0])[0])
    assert found == drawn_by_reference(array.astype(np.float64), uniform, sampling)


def test_draws_come_in_the_shares_of_the_distribution():
    logits = np.log(np.array([[0.5, 0.3, 0.15, 0.05]], np.float32)).repeat(40_000, 0)
    numbers = uniforms(keys(0, [f"s{n}" for n in range(40_000)], np.arange(40_000)), 1, 1)[:, 0, 0]
    counts = np.bincount(np.asarray(draw(logits, numbers, SamplingSettings())[0]), minlength=4) / 40_000
    np.testing.assert_allclose(counts, [0.5, 0.3, 0.15, 0.05], atol=0.01)
    two = np.bincount(np.asarray(draw(logits, numbers, SamplingSettings(top_k=2))[0]), minlength=4) / 40_000
    np.testing.assert_allclose(two, [0.625, 0.375, 0, 0], atol=0.01)


def test_a_low_temperature_takes_the_likeliest_and_a_high_one_any():
    logits = np.array([[1.0, 1.2, 0.9]], np.float32).repeat(3_000, 0)
    numbers = np.linspace(1e-4, 1, 3_000, endpoint=False, dtype=np.float32)
    assert set(np.asarray(draw(logits, numbers, SamplingSettings(temperature=0.01))[0]).tolist()) == {1}
    even = np.bincount(np.asarray(draw(logits, numbers, SamplingSettings(temperature=100))[0]), minlength=3) / 3_000
    np.testing.assert_allclose(even, 1 / 3, atol=0.01)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-24])
def test_no_number_draws_what_top_p_has_left_out(uniform):
    logits = np.log(np.array([[0.001, 0.6, 0.398, 0.001]], np.float32))
    code = int(np.asarray(draw(logits, np.array([uniform], np.float32), SamplingSettings(top_p=0.9))[0])[0])
    assert code == (1 if uniform == 0 else 2)


def test_what_is_as_likely_as_the_last_one_kept_stays():
    kept = np.asarray(likeliest(np.array([[0.4, 0.2, 0.2, 0.2]], np.float32), SamplingSettings(top_k=2)))
    np.testing.assert_array_equal(kept > 0, [[True, True, True, True]])


@given(st.integers(0, 2**32 - 1), st.lists(st.tuples(st.text(max_size=5), st.integers(0, 2**53)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_the_numbers_of_a_row_depend_on_its_seed_series_and_origin_alone(seed, rows):
    series, origin = [name for name, _ in rows], np.array([at for _, at in rows], np.int64)
    together = uniforms(keys(seed, series, origin), 5, 4)
    for n in range(len(rows)):
        alone = uniforms(keys(seed, series[n : n + 1], origin[n : n + 1]), 3, 2)
        np.testing.assert_array_equal(together[n, :3, :2], alone[0])
    assert (together >= 0).all()
    assert (together < 1).all()


def test_another_seed_series_or_origin_gives_other_numbers():
    ways = [(0, "a", 5), (1, "a", 5), (0, "b", 5), (0, "a", 6)]
    found = {uniforms(keys(seed, [name], np.array([at])), 2, 2).tobytes() for seed, name, at in ways}
    assert len(found) == len(ways)


def test_the_numbers_are_spread_evenly_and_neighbours_have_nothing_in_common():
    numbers = uniforms(keys(7, ["pump"] * 300, np.arange(300)), 20, 10)
    counts = np.bincount((numbers.ravel() * 10).astype(int), minlength=10) / numbers.size
    np.testing.assert_allclose(counts, 0.1, atol=0.005)
    for axis in range(3):
        ahead, behind = np.delete(numbers, 0, axis), np.delete(numbers, -1, axis)
        assert abs(np.corrcoef(ahead.ravel(), behind.ravel())[0, 1]) < 0.02
