"""Seasons that nobody named: those that the data shows, and no others."""

import numpy as np
import pytest

from forecaster.config import Settings
from forecaster.recording import Recording
from training.data import Scratch, sequences, split_by_time
from training.fit import Watch, train
from training.prepare import Source
from training.seasons import candidates, likely_seasons

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
START = 1_700_000_000_000 // DAY * DAY


def recording(values: np.ndarray, step_ms: int = HOUR) -> Recording:
    time_ms = START + step_ms * np.arange(len(values))
    return Recording(["pump"], np.zeros(len(values), np.int64), time_ms, values)


def likely(values: np.ndarray) -> list[tuple[int, ...]]:
    settings = Settings(stream={"step": "1h"}, model={"horizon": 12, "context_length": 96})
    data = sequences([recording(values)], settings)
    return likely_seasons(data, split_by_time(data, 0.7, 0.15), settings, Scratch())


@pytest.mark.parametrize(
    ("step_ms", "days", "expected"),
    [
        (None, 100, [()]),
        (HOUR, 3, [()]),  # a day has not been seen often enough
        (HOUR, 10, [(), (24,)]),
        (HOUR, 100, [(), (24,), (168,), (24, 168)]),
        (15 * MINUTE, 10, [(), (4,), (96,), (4, 96)]),
        (1_000, 30, [(), (3_600,)]),  # a day of seconds is too long a profile
        (7 * HOUR, 100, [(), (24,)]),  # of 24 × 7 hours: only the week is a whole number of steps
        (DAY, 100, [(), (7,)]),
    ],
)
def test_only_cycles_that_fit_the_grid_and_have_been_seen_are_offered(step_ms, days, expected) -> None:
    assert candidates(step_ms, days * DAY) == expected


def test_a_daily_shape_is_found_and_noise_is_given_none_that_is_far_better() -> None:
    random = np.random.default_rng(0)
    hours = np.arange(24 * 120)
    shape = random.normal(0, 5, 24)[hours % 24]
    assert likely(shape + random.normal(0, 0.5, len(hours)))[-1][0] == 24
    assert () not in likely(shape + random.normal(0, 0.5, len(hours)))
    assert likely(np.cumsum(random.normal(0, 1, len(hours))))[0] == ()


def test_the_first_rows_whose_scale_has_seen_nothing_do_not_hide_a_season() -> None:
    random = np.random.default_rng(0)
    hours = np.arange(24 * 90)
    drift = np.cumsum(random.normal(0, 0.02, len(hours))) + random.normal(0, 0.1, len(hours))
    assert () not in likely(np.exp(3 + np.sin(2 * np.pi * hours / 24) + drift))


def test_a_weekly_shape_is_told_from_a_daily_one() -> None:
    random = np.random.default_rng(1)
    hours = np.arange(24 * 7 * 30)
    shape = random.normal(0, 5, 168)[hours % 168]
    found = likely(shape + random.normal(0, 0.3, len(hours)))
    assert all(168 in seasons for seasons in found)


def test_the_validation_part_chooses_among_seasons_and_sizes_and_the_bundle_says_so() -> None:
    random = np.random.default_rng(0)
    hours = np.arange(24 * 60)
    values = 20 + 5 * np.sin(2 * np.pi * hours / 24) + np.cumsum(random.normal(0, 0.05, len(hours)))
    settings = Settings(
        stream={"step": "1h"},
        model={"horizon": 6, "context_length": 48},
        training={"epochs": 1, "steps_per_epoch": 3, "sizes": [[3], [4, 2]]},
    )
    said: list[str] = []
    manifest, network = train(Source([recording(values)]), settings, Watch(say=said.append))
    tried = manifest.training["candidates"]
    assert {name.split(", ")[1] for name in tried} == {"hidden layers 3", "hidden layers 4+2"}
    assert manifest.training["validation_loss"] == min(tried.values())
    assert network.settings.units in {(3,), (4, 2)}
    assert said[0].startswith(f"candidate 1 of {len(tried)}: season ")
