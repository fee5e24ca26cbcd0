"""A tile: the rectangle of series and rounds that one call of an engine takes, and what an engine offers."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from forecaster.features import FeatureStep
from forecaster.records import Bool, Float, Int
from forecaster.windows import Windows

Stage = Callable[[str], AbstractContextManager[object]]


def no_stage(_: str) -> AbstractContextManager[object]:
    """Time nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Tile:
    """`values` `[series, rounds]` of `slot`, NaN past a series' last round and where missing, and their features.

    The cells (`row`, `column`) `[n]` are forecast from; every round that is `valid` moves the state on.
    `windows` hold what came before the tile.
    """

    slot: Int
    values: Float
    valid: Bool
    step: FeatureStep
    row: Int
    column: Int
    windows: Windows


class ServingEngine(Protocol):
    """A network as it serves: the one with carried state, or the one over windows."""

    compiled_shapes: int

    def warm_up(self) -> None:
        """Compile every shape that is ever called."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Every state array by name, slots first."""

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`."""

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state before the first observation."""

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Carry the state of `slot` anew through the first `length` `[series]` rounds of `inputs`."""

    def forecast(self, tile: Tile, stage: Stage) -> np.ndarray:
        """Scaled quantiles `[n, horizon, quantiles]` at the tile's cells; the state moves on to its last round."""

    def baseline(self, tile: Tile) -> Float:
        """What the scaled quantiles are counted from: `[n, horizon]`, or `[n, 1]` where the same at every step."""
