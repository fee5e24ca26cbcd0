"""Rings hold the newest observations of every series, near enough whatever their size, and go into a checkpoint."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.rings import Rings

TOLERANCE = {"float32": 2e-7, "float16": 1e-3}  # of a value's distance from the first one
LENGTH = 5

some_values = st.lists(st.one_of(st.none(), st.floats(-1e3, 1e3)), max_size=30)


def made(dtype, slots=3):
    rings = Rings(LENGTH, dtype)
    rings.grow(slots)
    rings.forget(np.arange(slots))
    return rings


def pushed(rings, slot, values, cuts=()):
    numbers = np.array([np.nan if value is None else value for value in values], np.float64)
    for part in np.split(numbers, sorted(cut for cut in cuts if cut < len(numbers))):
        rings.push(np.array([slot]), part[None], np.array([len(part)]))
    return np.concatenate([np.full(LENGTH, np.nan), numbers])[-LENGTH:]


def allowed(values, tolerance):
    known = [value for value in values if value is not None]
    return tolerance * max((abs(value - known[0]) for value in known), default=0.0) + 1e-12


@pytest.mark.parametrize("dtype", TOLERANCE)
@given(values=some_values, cuts=st.lists(st.integers(0, 30), max_size=4))
@settings(max_examples=100, deadline=None)
def test_a_ring_holds_the_newest_observations_however_they_came(dtype, values, cuts):
    rings = made(dtype)
    expected = pushed(rings, 1, values, cuts)
    atol = allowed(values, TOLERANCE[dtype])
    np.testing.assert_allclose(rings.window(1), expected, rtol=0, atol=atol)
    recent, length = rings.recent(np.array([1, 0]))
    assert length.tolist() == [min(len(values), LENGTH), 0]
    np.testing.assert_allclose(recent[0][: length[0]], expected[LENGTH - length[0] :], rtol=0, atol=atol)
    assert np.isnan(recent[1]).all()


def test_a_hundredth_at_a_million_is_kept():
    values = [1e6 + 0.01 * n for n in range(LENGTH)]
    for dtype, atol in (("float32", 1e-9), ("float16", 1e-4)):
        rings = made(dtype)
        pushed(rings, 0, values)
        np.testing.assert_allclose(rings.window(0), values, rtol=0, atol=atol)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_largest_values_stay_finite(dtype):
    rings = made(dtype)
    pushed(rings, 0, [-3.4e38, 3.4e38, 0.0, 1e-30], cuts=[1, 2, 3])
    assert np.isfinite(rings.window(0)[1:]).all()


def test_a_sensor_that_marks_faults_by_the_largest_float_keeps_its_window_through_a_checkpoint():
    old, new, slots = made("float16"), made("float16"), np.array([0])
    pushed(old, 0, [21.5, 22.0, float(np.finfo(np.float32).max), 21.0])
    new.put(slots, old.rows(slots))
    np.testing.assert_allclose(new.window(0), old.window(0), rtol=1e-6)
    pushed(new, 0, [20.0] * LENGTH)
    assert np.isfinite(new.window(0)).all()


def test_a_series_that_begins_near_nothing_and_grows_a_million_fold_is_kept_by_halves_too():
    rings = made("float16")
    values = [0.001, 0.002, 500.0, 0.5, 1e6, 250.0]
    expected = pushed(rings, 0, values, cuts=range(1, 6))
    np.testing.assert_allclose(rings.window(0), expected, rtol=0, atol=1e3)
    np.testing.assert_allclose(rings.window(0)[-2:], [1e6, 250], rtol=1e-3)


@pytest.mark.parametrize("before", TOLERANCE)
@pytest.mark.parametrize("after", TOLERANCE)
def test_what_was_kept_in_one_kind_of_number_goes_on_in_another(before, after):
    old, new = made(before), made(after)
    values = [20.0, None, 21.5, 19.25, 20.75, 22.0, 18.5]
    expected = pushed(old, 2, values)
    rows = old.rows(np.array([2, 0]))
    assert {rows["values"].dtype, rows["anchor"].dtype} == {np.dtype(np.float32), np.dtype(np.float64)}
    new.put(np.array([1, 2]), rows)
    np.testing.assert_allclose(new.window(1), expected, rtol=0, atol=5e-3)
    assert np.isnan(new.window(2)).all()
    assert new.rounds.tolist() == [0, 7, 0]


def test_a_series_that_is_forgotten_gets_another_anchor():
    rings = made("float32")
    pushed(rings, 0, [1e9])
    rings.forget(np.array([0]))
    pushed(rings, 0, [0.125, 0.25])
    assert rings.window(0)[-2:].tolist() == [0.125, 0.25]
