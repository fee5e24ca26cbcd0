"""Seasons along the grid: which phase a step has, and how far back that phase was due last.

One step after another visits the phases in their order, but where a clock is changed, or where a session is missing or
shorter than in other weeks: there the order has a break. Phases that are skipped take a place, at which no visit is.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from forecaster.calendar.clock import Clock
from forecaster.calendar.time_zone import reached
from forecaster.records import Int


@dataclass(frozen=True, slots=True, eq=False)
class Season:
    """A season of `length` phases: that of a step is its grid index and the `shift` `[k + 1]` of where it lies.

    The grid indices `breaks` `[k]`, ascending, are the first with another shift.
    """

    length: int
    breaks: Int = field(default_factory=lambda: np.zeros(0, np.int64))
    shift: Int = field(default_factory=lambda: np.zeros(1, np.int64))

    def phase(self, index: Int) -> Int:
        """The phases of the steps at grid `index`."""
        shift = self.shift[reached(self.breaks, index)] if len(self.breaks) else self.shift[0]
        return (index + shift) % self.length

    def visits(self, index: Int, rounds: int) -> Int | None:
        """The place of each of `rounds` steps from grid `index` `[n]` on in the order of phases, from 0: `[n, rounds]`.

        None where there is no break between them.
        """
        if not self._broken(index, 0, rounds - 1):
            return None
        phase = self.phase(index[:, None] + np.arange(rounds))
        apart = (np.diff(phase, axis=1) - 1) % self.length + 1
        place: Int = np.cumsum(np.pad(apart, ((0, 0), (1, 0))), axis=1)
        return place

    def behind(self, index: Int, steps: Int) -> Int:
        """How many places before grid `index` `[n]` the phases of `steps` after it were due last: `[n or 1, steps]`."""
        if not self._broken(index, int(steps.min(initial=0)), int(steps.max(initial=0))):
            return -steps[None] % self.length
        behind: Int = (self.phase(index)[:, None] - self.phase(index[:, None] + steps)) % self.length
        return behind

    def _broken(self, index: Int, first: int, last: int) -> bool:
        """Whether there is a break between the steps `first` and `last` of any `index`."""
        if not len(self.breaks) or not len(index):
            return False
        low, high = np.searchsorted(self.breaks, [index.min() + first, index.max() + last], "right")
        return bool(low < high)


def seasons_of(lengths: tuple[int, ...], clock: Clock | None) -> list[Season]:
    """The seasons of so many phases each, read on `clock`, or in UTC."""
    if clock is None:
        return [Season(length) for length in lengths]
    return [_read_on(clock, cycle, length) for cycle, length in zip(clock.cycles, lengths, strict=True)]


@cache
def _read_on(clock: Clock, cycle: int, length: int) -> Season:
    """The season of a `cycle` on a clock: shifts can differ from stretch to stretch, and rarely within one."""
    first = clock.stretches()
    last = np.append(first[1:] - 1, first[-1])
    astray = (clock.phase(last, cycle) - clock.phase(first, cycle) - (last - first)) % length != 0
    single = [np.arange(low, high + 1) for low, high in zip(first[astray], last[astray], strict=True)]
    first = np.unique(np.concatenate([first, *single]))
    shift = (clock.phase(first, cycle) - first) % length
    other = np.flatnonzero(np.diff(shift)) + 1
    return Season(length, first[other], shift[np.append(0, other)])
