"""The oracle: what the topics hold against what the ticks alone say, and against an undisturbed run."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from chaos.ticks import BASE_MS, STEP_MS, Ticks

TOLERANCE = 1e-5
NEAR = 0.05
Place = tuple[int, int]  # series, round


class Published:
    """The forecasts of one output topic, by (series, round): how often each came, its source and its numbers."""

    def __init__(self, records: Iterable[Any]) -> None:
        self.count: Counter[Place] = Counter()
        self.source: dict[Place, tuple[int, int]] = {}
        self.numbers: dict[Place, list[np.ndarray]] = {}
        for record in records:
            self._add(json.loads(record.value))

    def _add(self, forecast: dict[str, Any]) -> None:
        place = int(forecast["series"][1:]), (forecast["origin"] - BASE_MS) // STEP_MS
        levels = forecast["quantiles"]
        numbers = np.array([forecast["point"], *(levels[level] for level in sorted(levels))], np.float64)
        self.count[place] += 1
        self.source[place] = forecast["source"]["partition"], forecast["source"]["offset"]
        self.numbers.setdefault(place, []).append(numbers)


def judge(
    ticks: Ticks,
    produced: int,
    found: Published,
    undisturbed: Published,
    again: Collection[Place] = (),
    unsettled: Collection[Place] = (),
) -> dict[str, int]:
    """How many forecasts are lost, doubled, and different from the undisturbed run's.

    A tick that neither run has a forecast for is lost too, except where it is held back at the
    end, which only a stream with `shuffled` rounds does. Those `again` must be there twice; those
    `unsettled` need only be near, within `NEAR` of the scale.
    """
    expected = Counter(set(undisturbed.count) | set(due(ticks, produced)))
    expected.update(again)
    both = [place for place in found.numbers if place in undisturbed.numbers]
    return {
        "lost": (expected - found.count).total(),
        "doubled": (found.count - expected).total(),
        "different": sum(
            not _equal(ticks, place, found, undisturbed, NEAR if place in unsettled else TOLERANCE) for place in both
        ),
    }


def due(ticks: Ticks, produced: int) -> Iterable[Place]:
    """The (series, round) of each of the first `produced` ticks that must have been forecast."""
    whole = produced // ticks.series
    last = whole - whole % ticks.shuffled - ticks.shuffled if ticks.shuffled else None
    for number in range(produced):
        series, round_ = ticks.place(number)
        if not ticks.is_broken(number) and (last is None or round_ < last):
            yield series, round_


def _equal(ticks: Ticks, place: Place, found: Published, undisturbed: Published, within: float) -> bool:
    """Equal in the design's sense: |a − b| ≤ 1e-5 · max(1, |value|, scale of the series), and of one source."""
    other = undisturbed.numbers[place][0]
    if found.source[place] != undisturbed.source[place]:
        return False
    tolerance = within * np.maximum(max(1.0, ticks.spread(place[0])), np.abs(other))
    return all(one.shape == other.shape and (np.abs(one - other) <= tolerance).all() for one in found.numbers[place])


def judge_letters(ticks: Ticks, produced: int, records: Iterable[Any], again: Collection[bytes] = ()) -> dict[str, int]:
    """How many dead letters are lost or doubled; each carries the number of its record in its bytes."""
    found = Counter(bytes(record.value) for record in records)
    expected = Counter(f"broken {number}".encode() for number in range(produced) if ticks.is_broken(number))
    expected.update(again)
    return {"letters_lost": (expected - found).total(), "letters_doubled": (found - expected).total()}
