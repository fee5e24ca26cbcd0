"""Ticks that event time refuses are counted, and the first of each cause is named."""

import numpy as np
import pytest

from forecaster.config import Settings
from forecaster.recording import Recording
from training.data import sequences
from training.left_out import LeftOut

START = 1_700_000_000_000
STEPS = [("a", 0), ("b", 0), ("a", 2), ("a", 1), ("b", 2), ("b", 2.2), ("a", 2), ("b", 0)]


def lines(bar: str | None = None) -> list[str]:
    settings = Settings(stream={"step": "1s", "bar": bar})
    recording = Recording(
        ["a", "b"],
        np.array([("a", "b").index(name) for name, _ in STEPS]),
        np.array([START + round(1000 * step) for _, step in STEPS]),
        np.ones(len(STEPS)),
    )
    left_out = LeftOut()
    sequences([recording], settings, left_out=left_out)
    return left_out.lines()


def test_late_and_duplicate_ticks_have_a_line_each_with_the_first_example() -> None:
    late, duplicate = lines()
    assert late.startswith("late: 2 ticks left out (")
    assert late.endswith(", the first of series 'a' at 2023-11-14T22:13:21.000+00:00")
    assert duplicate.startswith("duplicate: 2 ticks left out (")
    assert duplicate.endswith(", the first of series 'b' at 2023-11-14T22:13:22.200+00:00")


def test_in_bars_nothing_is_a_duplicate() -> None:
    (line,) = lines(bar="mean")
    assert line.startswith("late: 1 tick left out")


def test_in_order_nothing_is_left_out_and_nothing_said() -> None:
    recording = Recording(["a"], np.zeros(3, np.int64), START + 1000 * np.arange(3), np.ones(3))
    left_out = LeftOut()
    sequences([recording], Settings(), left_out=left_out)
    assert left_out.lines() == []


@pytest.mark.parametrize("cut", range(1, len(STEPS)))
def test_the_first_example_is_that_of_the_first_part_that_has_one(cut) -> None:
    whole, parts = LeftOut(), LeftOut()
    recording = Recording(["a", "b"], np.zeros(8, np.int64), START + np.arange(8), np.ones(8))
    outcome = np.array([0, 1, 2, 0, 2, 1, 1, 0])
    whole.add(recording, outcome)
    parts.add(recording.part(0, cut), outcome[:cut])
    parts.add(recording.part(cut, 8), outcome[cut:])
    assert sorted(parts.lines()) == sorted(whole.lines())
    assert len(whole.lines()) == 2


def test_ticks_without_a_logarithm_are_left_out_as_in_serving_and_a_series_of_them_is_bad() -> None:
    values = np.array([1.0, -1.0, 0.0, 2.0, np.nan, 3.0])
    ticks = Recording(["a"], np.zeros(6, np.int64), START + 1_000 * np.arange(6), values)
    left_out = LeftOut()
    data = sequences([ticks], Settings(stream={"step": "1s"}, model={"transform": "log"}), left_out=left_out)
    np.testing.assert_array_equal(data.value, [1.0, np.nan, np.nan, 2.0, np.nan, 3.0])
    (line,) = left_out.lines()
    assert line.startswith('not above 0: 2 ticks left out (model.transform = "log" needs values above 0)')
    assert line.endswith("the first of series 'a' at 2023-11-14T22:13:21.000+00:00")
