"""The last observations of every series, as rings of numbers relative to an anchor of the series.

The anchor is the series' first value, in float64. float32 then tells a hundredth from nothing at a value of a
million; float16 keeps about three digits of a value's distance from the anchor, in half the memory. There
distances are counted in a unit of the series, a power of two that grows with them. Covariates are kept as they are,
in float32.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from forecaster.records import Bool, Float, Int
from forecaster.series import copied, with_room

RingType = Literal["float32", "float16"]
MOST_UNITS = 2.0**14  # of a distance in float16
RINGS = "values", "anchor", "rounds", "covariates"  # what `rows` gives, the last where some are kept
FIRST_UNITS = 2.0**6  # of the distance that a unit is chosen by: leaves room above and below


class Rings:
    """A ring of `length` for every slot; `rounds` counts what was ever pushed, NaN is a missing observation.

    With `covariates` there is a ring of each of so many of them too.
    """

    def __init__(self, length: int, dtype: RingType = "float32", covariates: int = 0) -> None:
        self.length, self._half = length, dtype == "float16"
        self._stored = np.zeros((0, length), dtype)
        self._anchor = np.zeros(0)
        self._unit = np.zeros(0)  # of float16
        self._covariates = np.zeros((0, length, covariates), np.float32)
        self.rounds = np.zeros(0, np.int64)

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`; they are empty once they are forgotten."""
        self._stored, self._anchor = with_room(self._stored, capacity), with_room(self._anchor, capacity)
        self._unit = with_room(self._unit, capacity if self._half else 0)
        self._covariates = with_room(self._covariates, capacity)
        self.rounds = with_room(self.rounds, capacity)

    def forget(self, slots: Int | slice) -> None:
        """Empty the rings of `slots`."""
        self._stored[slots] = self._anchor[slots] = self._covariates[slots] = np.nan
        self.rounds[slots] = 0
        if self._half:
            self._unit[slots] = 0

    def push(self, slot: Int, values: Float, length: Int, covariates: Float | None = None) -> None:
        """Append the first `length` of `values` `[series, rounds]` to the rings of `slot` `[series]`.

        `covariates` are rows of them `[series, rounds, width]`, all missing if not given.
        """
        self._set_anchor(slot, values)
        rounds = np.arange(values.shape[1])
        keep = (rounds < length[:, None]) & (rounds >= length[:, None] - self.length)
        place = (self.rounds[slot][:, None] + rounds) % self.length
        rows, columns = np.nonzero(keep)
        distance = values - self._anchor[slot][:, None]
        if self._half:
            distance = self._in_units(slot, distance)
        self._stored[slot[rows], place[rows, columns]] = clipped(distance[rows, columns], self._stored.dtype)
        if kept := self._covariates.shape[-1]:
            own = np.nan if covariates is None else clipped(covariates[rows, columns, :kept], np.float32)
            self._covariates[slot[rows], place[rows, columns]] = own
        self.rounds[slot] += length

    def ending_at(self, slot: Int, values: Float, row: Int, column: Int, rounds: int) -> Float:
        """The last `rounds` observations, `length` at most, at (row, column) `[n, rounds]`, NaN where there is none.

        `values` `[series, rounds]` are what `slot` `[series]` has had since the last push, oldest first.
        """
        behind = column[:, None] + np.arange(1 - rounds, 1)
        pushed = slot[row]
        before = self._values(pushed, (self.rounds[pushed][:, None] + behind) % self.length)
        window: Float = np.where(behind < 0, before, values[row[:, None], np.maximum(behind, 0)])
        return window

    def recent(self, slot: Int) -> tuple[Float, Int]:
        """What the rings of `slot` hold, `[series, length]` oldest first, NaN behind, and how many rounds."""
        place, inside = self._places(slot)
        return np.where(inside, self._values(slot, place), np.nan), inside.sum(axis=1)

    def recent_covariates(self, slot: Int) -> Float:
        """The covariates of the same rounds `[series, length, covariates]`, as they were at each."""
        place, inside = self._places(slot)
        kept: Float = np.where(inside[..., None], self._covariates[slot[:, None], place], np.nan).astype(np.float64)
        return kept

    def _places(self, slot: Int) -> tuple[Int, Bool]:
        """Where the rings of `slot` hold their rounds `[series, length]`, oldest first, and where there is one."""
        length = np.minimum(self.rounds[slot], self.length)
        number = np.arange(self.length)
        place = (self.rounds[slot] - length)[:, None] + number
        return place % self.length, number < length[:, None]

    def window(self, slot: int) -> Float:
        """The last `length` observations of `slot`, oldest first, NaN where there is none yet."""
        one = np.array([slot])
        window: Float = self._values(one, (self.rounds[one][:, None] + np.arange(self.length)) % self.length)[0]
        return window

    def rows(self, slots: Int) -> dict[str, np.ndarray]:
        """A copy of the rings of `slots` by name: their numbers in float32 whatever they are kept in."""
        stored = copied(self._stored, slots)
        if self._half:
            stored = clipped(stored * self._unit[slots][:, None], np.float32).astype(np.float32)
        rows = {"values": stored, "anchor": copied(self._anchor, slots), "rounds": copied(self.rounds, slots)}
        return rows | ({"covariates": copied(self._covariates, slots)} if self._covariates.shape[-1] else {})

    def put(self, slots: Int, rows: Mapping[str, np.ndarray]) -> None:
        """Make `rows`, as `rows` gave them, the rings of `slots`; they may be of another length."""
        self._anchor[slots], self.rounds[slots] = rows["anchor"], rows["rounds"]
        values = refitted(rows["values"], rows["rounds"], self.length)
        if self._half:
            self._unit[slots] = 0
            values = self._in_units(slots, values.astype(np.float64))
        self._stored[slots] = values
        if self._covariates.shape[-1]:
            self._covariates[slots] = refitted(rows["covariates"], rows["rounds"], self.length)

    def _set_anchor(self, slot: Int, values: Float) -> None:
        """The first value of each series that has had none before."""
        new = np.flatnonzero(np.isnan(self._anchor[slot]))
        if len(new) and values.size:
            first = np.argmax(~np.isnan(values[new]), axis=1)
            self._anchor[slot[new]] = values[new, first]

    def _in_units(self, slot: Int, distance: Float) -> Float:
        """`distance` `[series, rounds]` in the units of `slot`, which grow where it needs more than there is."""
        reach = np.fmax.reduce(np.abs(distance), axis=1, initial=0.0)
        grown = reach > MOST_UNITS * self._unit[slot]
        growing, before = slot[grown], self._unit[slot[grown]]
        self._unit[growing] = 2.0 ** np.ceil(np.log2(reach[grown] / FIRST_UNITS))
        self._stored[growing] *= (before / self._unit[growing])[:, None].astype(np.float16)
        unit = self._unit[slot]
        in_units: Float = distance / np.where(unit > 0, unit, 1.0)[:, None]
        return in_units

    def _values(self, slot: Int, place: Int) -> Float:
        """The numbers at `place` `[n, any]` of the rings of `slot` `[n]`, as they were pushed."""
        distance: Float = self._stored[slot[:, None], place].astype(np.float64)
        if self._half:
            distance *= self._unit[slot][:, None]
        return distance + self._anchor[slot][:, None]


def clipped(distance: Float, dtype: npt.DTypeLike) -> Float:
    """`distance` as far as `dtype` reaches: of two values of a float32 one may be twice as far off."""
    most = float(np.finfo(dtype).max)
    return np.clip(distance, -most, most)


def refitted(values: np.ndarray, rounds: Int, length: int) -> np.ndarray:
    """Rings `values` `[series, any, …]` of series after so many `rounds` as rings of `length`: the newest in both."""
    if values.shape[1] == length:
        return values
    number = rounds[:, None] - np.arange(1, min(values.shape[1], length) + 1)  # of each observation, newest first
    row, column = np.nonzero(number >= 0)
    number = number[row, column]
    fitted = np.full((len(values), length, *values.shape[2:]), np.nan, values.dtype)
    fitted[row, number % length] = values[row, number % values.shape[1]]
    return fitted
