"""A tile: the rectangle of series and rounds that one call of an engine takes, and what an engine offers."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np

from forecaster.engines.compiling import to_numpy
from forecaster.engines.shapes import Shapes
from forecaster.features.running import FeatureStep
from forecaster.records import Bool, Float, Int
from forecaster.rings import Rings

Stage = Callable[[str], AbstractContextManager[object]]


def no_stage(_: str) -> AbstractContextManager[object]:
    """Time nothing."""
    return nullcontext()


@dataclass(frozen=True, slots=True)
class Tile:
    """`values` `[series, rounds]` of `slot`, NaN past a series' last round and where missing, and their features.

    The cells (`row`, `column`) `[n]` are forecast from; every round that is `valid` moves the state on.
    `index` `[n]` is their place on the grid. `rings` hold what came before the tile, `names` the series' by slot.
    """

    slot: Int
    values: Float
    valid: Bool
    step: FeatureStep
    row: Int
    column: Int
    rings: Rings
    index: Int
    names: list[str]


@dataclass(frozen=True, slots=True)
class Emitted:
    """Forecasts of the block's rows `row` `[n]`: `quantiles` `[n, outputs, levels]` ascend.

    `scale` and `seen` are the series' scale and number of values at that row. By the model's task there are `paths`
    `[n, horizon, paths]`, of values or of ids, and `probabilities` `[n, labels or codes]`. Of multivariate series
    whose channels were gathered, `quantiles` and `scale` have an axis of channels behind the first, `scale` is NaN
    and the quantiles are 0 for a channel that has had no value, and `seen` is that of the one with the fewest, but
    for those.
    """

    row: Int
    quantiles: Float
    scale: Float
    seen: Int
    paths: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    def take(self, keep: Bool | Int) -> "Emitted":
        """The forecasts at `keep`, a mask or positions."""
        taken: Any = [None if column is None else column[keep] for column in self.columns()]
        return Emitted(*taken)

    def finite(self) -> Bool:
        """Which have no number but finite ones `[n]`."""
        good = np.ones(len(self.row), bool)
        for column in (self.quantiles, self.paths, self.probabilities):
            if column is not None:
                good &= np.isfinite(column).all(axis=tuple(range(1, column.ndim)))
        return good

    @classmethod
    def joined(cls, parts: "Sequence[Emitted]") -> "Emitted":
        """The forecasts of `parts`, one at least, one after another."""
        columns = zip(*(part.columns() for part in parts), strict=True)
        joined: Any = [None if column[0] is None else np.concatenate(column) for column in columns]
        return cls(*joined)

    def columns(self) -> tuple[Any, ...]:
        """Every column in order, None for those that there are not."""
        return self.row, self.quantiles, self.scale, self.seen, self.paths, self.probabilities


class Pending(NamedTuple):
    """A tile whose answer a device may still be computing; `cell` are the rows of the block that it forecasts."""

    cell: Int
    row: Int
    column: Int
    step: FeatureStep
    baseline: Float
    answer: "Answer"

    def seen(self) -> Int:
        """How many values each series has had at the cells."""
        return self.step.seen[self.row, self.column]


class Answer(Protocol):
    """What a network says of some cells, on its way from the device."""

    def fetch(self) -> Any:
        """Its arrays, once they are there."""

    def emitted(self, fetched: Any, tile: Pending) -> Emitted:
        """What these are in the units of the series of `tile`."""


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

    def emitted(self, fetched: np.ndarray, tile: Pending) -> Emitted:
        """Implement `Answer.emitted`: values for the scaled ones."""
        values, scale = tile.step.forecast(tile.row, tile.column, fetched, tile.baseline)
        return Emitted(tile.cell, values, scale, tile.seen())


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

    def inputs(self, step: FeatureStep, values: Float) -> np.ndarray:
        """What the network takes, `[series, rounds, inputs]`, of `values` `[series, rounds]` with their features."""

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Carry the state of `slot` anew through the first `length` `[series]` rounds of `inputs`."""

    def forecast(self, tile: Tile, stage: Stage) -> Answer:
        """What the network says at the tile's cells, on its way; the state moves on to the last round."""

    def baseline(self, tile: Tile) -> Float:
        """What the scaled quantiles are counted from: `[n, horizon]`, or `[n, 1]` where the same at every step."""
