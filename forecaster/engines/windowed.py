"""Inference in window mode: every forecast is one pass over the series' last observations.

The windows are the state. Rows and lengths are padded to ladders, so that nothing is compiled while the daemon
forecasts. Windows of similar length share a call: a short one is not padded to the longest.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np

from forecaster.engines.carried import MOST_CELLS, ROUNDS_LADDER, SERIES_LADDER
from forecaster.engines.compiling import compile_function
from forecaster.engines.shapes import Shapes, pad_rows, rung
from forecaster.engines.tile import Scaled, Stage, Tile, no_stage
from forecaster.features.running import FeatureStep
from forecaster.networks.spec import NetworkSettings
from forecaster.past import Past, TilePast
from forecaster.records import Float, Int

MOST_NUMBERS = 1_000_000  # observations of one call: bounds the memory of a tile


class WindowNetwork(Protocol):
    """A network over windows. Its windows have one of `lengths`, in observations; those that are shorter are padded."""

    settings: NetworkSettings
    lengths: tuple[int, ...]

    def seen(self, past: Past, rounds: int) -> tuple[np.ndarray, ...]:
        """What `call` takes, origins first, of the last `rounds` observations, one of `lengths`."""

    def shapes(self, rounds: int) -> list[tuple[tuple[int, ...], type]]:
        """Shape and kind of each array of `seen` without its first axis."""

    def counted_from(self, past: Past) -> Float:
        """What its outputs are counted from: `[n, horizon]`, or `[n, 1]` where the same at every step."""

    def call(self, *seen: Any) -> Any:
        """Scaled quantiles `[n, horizon, quantiles]`."""


class WindowEngine:
    """A network over windows; no row depends on another."""

    def __init__(self, network: WindowNetwork) -> None:
        self.network = network
        self.compiled_shapes = 0
        self.window_steps = Counter[str]()
        self.shapes = Shapes(SERIES_LADDER, ROUNDS_LADDER, MOST_CELLS)  # of features: the network has other axes
        few, *more = SERIES_LADDER
        self.ladder = few, *(rows for rows in more if rows * network.lengths[-1] <= MOST_NUMBERS)
        self.lengths = network.lengths[-1:]  # that are compiled
        self._call = compile_function(self._traced)
        self._compiling = self._compile_shorter()

    def _traced(self, *seen: Any) -> Any:
        self.compiled_shapes += 1  # Python code of a compiled function runs only while it is traced
        return self.network.call(*seen)

    def warm_up(self) -> None:
        """Compile what can serve everything: every number of rows at full length."""
        for rows in self.ladder:
            self._compile(rows, self.network.lengths[-1])

    def compile_next(self) -> bool:
        """Compile one more shape; a shorter length is used once all its rows are. It may run on another thread."""
        return next(self._compiling, False)

    def _compile_shorter(self) -> Iterator[bool]:
        for rounds in reversed(self.network.lengths[:-1]):
            for rows in self.ladder:
                self._compile(rows, rounds)
                if rows == self.ladder[-1]:
                    self.lengths = rounds, *self.lengths
                yield True

    def _compile(self, rows: int, rounds: int) -> None:
        self._call(*(np.zeros((rows, *shape), dtype) for shape, dtype in self.network.shapes(rounds)))

    def rows(self, slot: Int) -> dict[str, np.ndarray]:  # noqa: ARG002  # the interface of engines
        """Nothing: the windows are the state."""
        return {}

    def put(self, slot: Int, rows: Mapping[str, np.ndarray]) -> None:
        """Nothing: the windows are the state."""

    def grow(self, capacity: int) -> None:
        """Nothing: the windows are the state."""

    def forget(self, slots: Int) -> None:
        """Nothing: the windows are the state."""

    def inputs(self, step: FeatureStep, values: Float) -> np.ndarray:  # noqa: ARG002  # the interface of engines
        """Nothing: the windows are the state."""
        return np.zeros((0, 0, 0), np.float32)

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Nothing: the windows are the state."""

    def forecast(self, tile: Tile, stage: Stage) -> Scaled:
        """Scaled quantiles at the tile's cells, on their way."""
        return self._forecast(TilePast(tile, tile.row, tile.column), len(tile.row), stage)

    def quantiles(self, past: Past, count: int) -> np.ndarray:
        """Scaled quantiles `[count, horizon, quantiles]` at the `count` origins of `past`."""
        return self._forecast(past, count, no_stage).fetch()

    def baseline(self, tile: Tile) -> Float:
        """What the network's outputs are counted from."""
        return self.network.counted_from(TilePast(tile, tile.row, tile.column))

    def _forecast(self, past: Past, count: int, stage: Stage) -> Scaled:
        tensors, row, held = [], np.zeros(count, np.int64), 0
        length = past.length(self.lengths[-1])
        for rounds, at in self._groups(length):
            rows = rung(len(at), self.ladder)
            with stage("features"):
                seen = [pad_rows(array, rows) for array in self.network.seen(past.take(at), rounds)]
            with stage("infer"):
                tensors.append(self._call(*seen))
            row[at], held = held + np.arange(len(at)), held + rows
            of_series = int(length[at].sum())
            self.window_steps.update(seen=of_series, padding=rows * rounds - of_series)
        return Scaled(tensors, row)

    def _groups(self, length: Int) -> Iterator[tuple[int, Int]]:
        """Rungs of length, and the places `[≤ most rows]` of windows that they are the first to hold."""
        lengths = self.lengths  # which another thread replaces while it compiles
        of = np.searchsorted(lengths, length)
        for number in np.unique(of).tolist():
            places = np.flatnonzero(of == number)
            for low in range(0, len(places), self.ladder[-1]):
                yield lengths[number], places[low : low + self.ladder[-1]]
