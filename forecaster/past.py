"""What a network over windows sees of a series' past, by the same code while it serves and while it is trained.

Short windows are padded on the right, behind the newest observation: what a recurrent layer computes up to there
does not depend on it, whatever runs the layer, cuDNN included. The state at the last step that counts is that of
the window without padding.
"""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np

from forecaster.calendar.seasons import Season
from forecaster.engines.tile import Tile
from forecaster.features.running import waves
from forecaster.records import Float, Int

CLIP = 100.0  # scales: what float32 and the network still tell apart


class Past(Protocol):
    """What is known at `n` origins. Values are transformed, where the features are."""

    def take(self, at: Int) -> Self:
        """Of the origins at `at` alone."""

    def length(self, most: int) -> Int:
        """Observations that there have been, missing ones too, `most` at most: `[n]`."""

    def values(self, rounds: int) -> Float:
        """The last `rounds` observations `[n, rounds]`, NaN where missing and before the first."""

    def scale(self) -> Float:
        """The series' scale `[n]`."""

    def last(self) -> Float:
        """The last known value `[n]`."""

    def expected(self, steps: Int) -> Float:
        """Level plus profiles `steps` after the origin, 0 and below at it and before: `[n, len(steps)]`."""

    def calendar(self, steps: Int) -> np.ndarray:
        """Calendar terms of `steps` after the origin: float32 `[n, len(steps), terms]`."""

    def features(self) -> np.ndarray:
        """What a network with carried state sees at the origin: float32 `[n, features]`."""

    def recent(self, horizon: int) -> np.ndarray:
        """Recent profiles less theirs at the next `horizon` steps: float32 `[n, horizon, recents]`, scaled."""


@dataclass(frozen=True, slots=True)
class TilePast:
    """The past of cells (row, column) `[n]` of a tile."""

    tile: Tile
    row: Int
    column: Int

    def take(self, at: Int) -> "TilePast":
        """Implement `Past.take`."""
        return TilePast(self.tile, self.row[at], self.column[at])

    def length(self, most: int) -> Int:
        """Implement `Past.length`."""
        length: Int = np.minimum(self.tile.rings.rounds[self.tile.slot[self.row]] + self.column + 1, most)
        return length

    def values(self, rounds: int) -> Float:
        """Implement `Past.values`."""
        tile = self.tile
        values = tile.rings.ending_at(tile.slot, tile.values, self.row, self.column, rounds)
        return tile.step.state.settings.transformed(values)

    def scale(self) -> Float:
        """Implement `Past.scale`."""
        return self.tile.step.safe_scale()[self.row, self.column]

    def last(self) -> Float:
        """Implement `Past.last`."""
        return self.tile.step.last()[self.row, self.column]

    def expected(self, steps: Int) -> Float:
        """Implement `Past.expected`."""
        return self.tile.step.expected(self.row, self.column, steps)

    def calendar(self, steps: Int) -> np.ndarray:
        """Implement `Past.calendar`."""
        index = self.tile.step.index[self.row] + self.column
        return calendar(index, steps, self.tile.step.state.seasons)

    def features(self) -> np.ndarray:
        """Implement `Past.features`."""
        return self.tile.step.inputs()[self.row, self.column]

    def recent(self, horizon: int) -> np.ndarray:
        """Implement `Past.recent`."""
        return self.tile.step.recent(self.row, self.column, horizon)


def calendar(index: Int, steps: Int, seasons: list[Season]) -> np.ndarray:
    """Calendar terms `steps` after grid `index` `[n]`: float32 `[n, len(steps), terms]`."""
    time = index[:, None] + steps
    terms = waves(time, seasons)
    return np.stack(terms, axis=-1).astype(np.float32) if terms else np.zeros((*time.shape, 0), np.float32)


def scaled_windows(windows: Float, anchor: Float, scale: Float) -> np.ndarray:
    """`windows` `[n, window]` counted from `anchor` in units of `scale` `[n]`, in float32.

    A missing observation is the last known one before it; what lies before the first one is the anchor.
    """
    newest = np.maximum.accumulate(np.where(np.isnan(windows), -1, np.arange(windows.shape[1])), axis=1)
    known = np.take_along_axis(windows, np.maximum(newest, 0), axis=1)
    with np.errstate(over="ignore"):
        scaled = np.where(newest >= 0, known - anchor[:, None], 0.0) / scale[:, None]
    seen: np.ndarray = np.clip(scaled, -CLIP, CLIP).astype(np.float32)
    return seen


def right_padded(steps: np.ndarray, count: Int) -> np.ndarray:
    """`steps` `[n, rounds, …]` from the newest `count` `[n]` of each row on, and zeros behind."""
    rounds = steps.shape[1]
    if (count == rounds).all():
        return steps
    place = np.arange(rounds) + (rounds - count)[:, None]
    shifted = np.take_along_axis(steps, np.minimum(place, rounds - 1)[..., None], axis=1)
    return np.where((place < rounds)[..., None], shifted, np.zeros((), steps.dtype))
