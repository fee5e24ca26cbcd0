"""When each phase of a season was visited in the rows of a table, where clocks change or sessions differ."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.calendar.seasons import Season
from forecaster.records import Int
from training.data import Sequences

NEVER = -1


@dataclass(frozen=True, slots=True)
class Visits:
    """Of each row its `place` in the order of phases, and at each place the `row` of the latest visit of its phase.

    The places of a run are those from `first` `[runs]` on; before a phase's first visit the row is `NEVER`.
    """

    place: Int
    first: Int
    row: Int

    def latest(self, row: Int, run: Int, behind: Int) -> Int:
        """Row of the latest visit of the phases due `behind` places `[n, steps]` before each `row` of `run`, or −1."""
        place = self.place[row][:, None] - behind
        return np.where(place >= 0, self.row[self.first[run][:, None] + np.maximum(place, 0)], NEVER)


def visits_of(data: Sequences, season: Season, make: Callable[[tuple[int, ...], Any], Int]) -> Visits | None:
    """The visits of `season` in every run, in arrays that `make` makes; None where every run is regular."""
    found = [season.visits(data.index[[run]], int(length)) for run, length in enumerate(data.length)]
    if all(places is None for places in found):
        return None
    place, last = make(data.value.shape, np.int64), np.zeros(len(found), np.int64)
    for run, places in enumerate(found):
        place[data.rows(run)] = np.arange(data.length[run]) if places is None else places[0]
        last[run] = place[data.rows(run)][-1]
    room = (last // season.length + 1) * season.length
    first = np.cumsum(room) - room
    row = make((int(room.sum()),), np.int64)
    for run in range(len(found)):
        _fill(row[first[run] : first[run] + room[run]], place[data.rows(run)], int(data.first[run]), season.length)
    return Visits(place, first, row)


def _fill(row: Int, place: Int, first: int, length: int) -> None:
    """The `row` of the latest visit at each place of one run, whose rows begin at `first`."""
    row[:] = NEVER
    row[place] = first + np.arange(len(place))
    by_cycle = row.reshape(-1, length)
    by_cycle[:] = np.maximum.accumulate(by_cycle, axis=0)
