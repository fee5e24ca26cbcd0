"""The oracle: what the topics hold against what the ticks alone say, and against an undisturbed run."""

import json
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

import numpy as np

from chaos.ticks import Ticks

TOLERANCE = 1e-5
NEAR = 0.05
Place = tuple[int, int]  # series, origin in epoch milliseconds
ENVELOPE = {"series", "origin", "model", "source"}
EXACT = "times"  # of the horizon's steps: a tolerance of their size would be hours


class Published:
    """The forecasts of one output topic, by (series, origin): how often each came, its source, and what it says."""

    def __init__(self, records: Iterable[Any]) -> None:
        self.count: Counter[Place] = Counter()
        self.source: dict[Place, tuple[int, int]] = {}
        self.said: dict[Place, list[tuple[list[str], np.ndarray]]] = {}
        for record in records:
            self._add(json.loads(record.value))

    def _add(self, forecast: dict[str, Any]) -> None:
        place = int(forecast["series"][1:]), forecast["origin"]
        self.count[place] += 1
        self.source[place] = forecast["source"]["partition"], forecast["source"]["offset"]
        texts, numbers = list[str](), list[float]()
        _collect({name: member for name, member in forecast.items() if name not in ENVELOPE}, texts, numbers)
        self.said.setdefault(place, []).append((texts, np.array(numbers, np.float64)))


def _collect(member: Any, texts: list[str], numbers: list[float]) -> None:
    """Every number in a message of any kind, and everything else as text."""
    if isinstance(member, dict | list):
        items = sorted(member.items()) if isinstance(member, dict) else enumerate(member)
        for name, inner in items:
            texts.append(str(name))
            _collect(str(inner) if name == EXACT else inner, texts, numbers)
    elif isinstance(member, int | float):
        numbers.append(member)
    else:
        texts.append(str(member))


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
    both = [place for place in found.said if place in undisturbed.said]
    return {
        "lost": (expected - found.count).total(),
        "doubled": (found.count - expected).total(),
        "different": sum(
            not _equal(ticks, place, found, undisturbed, NEAR if place in unsettled else TOLERANCE) for place in both
        ),
    }


def due(ticks: Ticks, produced: int) -> Iterable[Place]:
    """The (series, origin) of each of the first `produced` ticks that must have been forecast."""
    whole = produced // ticks.series
    last = whole - whole % ticks.shuffled - ticks.shuffled if ticks.shuffled else None
    for number in range(produced):
        series, round_ = ticks.place(number)
        if not ticks.is_broken(number) and (last is None or round_ < last):
            yield series, ticks.time_ms(round_)


def _equal(ticks: Ticks, place: Place, found: Published, undisturbed: Published, within: float) -> bool:
    """Equal in the design's sense: |a − b| ≤ 1e-5 · max(1, |value|, scale of the series), and of one source."""
    texts, other = undisturbed.said[place][0]
    if found.source[place] != undisturbed.source[place]:
        return False
    tolerance = within * np.maximum(max(1.0, ticks.spread(place[0])), np.abs(other))
    return all(said == texts and (np.abs(one - other) <= tolerance).all() for said, one in found.said[place])


def judge_letters(ticks: Ticks, produced: int, records: Iterable[Any], again: Collection[bytes] = ()) -> dict[str, int]:
    """How many dead letters are lost or doubled; each carries the number of its record in its bytes."""
    found = Counter(bytes(record.value) for record in records)
    expected = Counter(f"broken {number}".encode() for number in range(produced) if ticks.is_broken(number))
    expected.update(again)
    return {"letters_lost": (expected - found).total(), "letters_doubled": (found - expected).total()}
