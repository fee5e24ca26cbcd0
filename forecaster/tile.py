"""A tile: the rectangle of series and rounds that one call of an engine takes, and what an engine offers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from forecaster.compiling import to_numpy
from forecaster.features import FeatureStep
from forecaster.records import Bool, Float, Int
from forecaster.rings import Rings
from forecaster.shapes import Shapes

Stage = Callable[[str], AbstractContextManager[object]]


def no_stage(_: str) -> AbstractContextManager[object]:
    """Time nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Tile:
    """`values` `[series, rounds]` of `slot`, NaN past a series' last round and where missing, and their features.

    The cells (`row`, `column`) `[n]` are forecast from; every round that is `valid` moves the state on.
    `rings` hold what came before the tile.
    """

    slot: Int
    values: Float
    valid: Bool
    step: FeatureStep
    row: Int
    column: Int
    rings: Rings


class Scaled:
    """Scaled quantiles on their way from the device: `rows` of what `tensors` hold, end to end.

    A device may still be computing them: whoever fetches them waits.
    """

    def __init__(self, tensors: Sequence[Any], rows: Int) -> None:
        self._tensors, self._rows = tensors, rows

    def fetch(self) -> np.ndarray:
        """`[n, outputs, quantiles]`."""
        arrays = [to_numpy(tensor) for tensor in self._tensors]
        found = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
        whole = len(self._rows) == len(found) and bool((self._rows[1:] > self._rows[:-1]).all())
        return found if whole else found[self._rows]


class ServingEngine(Protocol):
    """A network as it serves: the one with carried state, or the one over windows."""

    network: Any
    shapes: Shapes
    compiled_shapes: int
    window_steps: Counter[str]  # that calls have held since it was last emptied: "seen" and "padding"

    def warm_up(self) -> None:
        """Compile as much as can serve everything."""

    def compile_next(self) -> bool:
        """Compile one more shape, on whichever thread; False where there is none left."""

    def rows(self, slot: Int) -> dict[str, np.ndarray]:
        """A copy of the state of `slot` by name, slots first."""

    def put(self, slot: Int, rows: Mapping[str, np.ndarray]) -> None:
        """Make `rows`, as `rows` gave them, the state of `slot`."""

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`."""

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state before the first observation."""

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Carry the state of `slot` anew through the first `length` `[series]` rounds of `inputs`."""

    def forecast(self, tile: Tile, stage: Stage) -> Scaled:
        """Scaled quantiles at the tile's cells, on their way; the state moves on to its last round."""

    def baseline(self, tile: Tile) -> Float:
        """What the scaled quantiles are counted from: `[n, horizon]`, or `[n, 1]` where the same at every step."""
