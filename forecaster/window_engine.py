"""Inference in window mode: every forecast is one pass over the series' last observations.

The windows are the state. Rows are padded to a ladder, so that nothing is compiled once the daemon runs.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from forecaster.compiling import compile_function, to_numpy
from forecaster.engine import MOST_CELLS, ROUNDS_LADDER, SERIES_LADDER
from forecaster.features import FeatureStep
from forecaster.records import Float, Int
from forecaster.segment_network import SegmentNetwork
from forecaster.shapes import Shapes, pad_rows, rung
from forecaster.tile import Scaled, Stage, Tile

MOST_NUMBERS = 2_000_000  # observations of one call: bounds the memory of a tile
CLIP = 100.0  # scales: what float32 and the network still tell apart


class WindowEngine:
    """A network over windows; no row depends on another."""

    def __init__(self, network: SegmentNetwork) -> None:
        self.network = network
        self.compiled_shapes = 0
        length = network.settings.inputs
        self.shapes = Shapes(SERIES_LADDER, ROUNDS_LADDER, MOST_CELLS)  # of features: the network has one axis
        few, *more = SERIES_LADDER
        self.ladder = few, *(rows for rows in more if rows * length <= MOST_NUMBERS)
        self._call = compile_function(self._traced)

    def _traced(self, windows: Any) -> Any:
        self.compiled_shapes += 1  # Python code of a compiled function runs only while it is traced
        return self.network.call(windows)

    def warm_up(self) -> None:
        """Compile every rung of the ladder."""
        for rows in self.ladder:
            self._call(np.zeros((rows, self.network.settings.inputs), np.float32))

    def compile_next(self) -> bool:
        """Nothing is left."""
        return False

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
        features, tensors = tile.step.state.settings, []
        scale, last = tile.step.safe_scale(), tile.step.last()
        for low in range(0, len(tile.row), self.ladder[-1]):
            row, column = tile.row[low : low + self.ladder[-1]], tile.column[low : low + self.ladder[-1]]
            with stage("features"):
                windows = features.transformed(tile.windows.rings.ending_at(tile.slot, tile.values, row, column))
                scaled = scaled_windows(windows, last[row, column], scale[row, column])
            with stage("infer"):
                tensors.append(self._padded(scaled))
        return Scaled(tensors, np.arange(len(tile.row)))

    def quantiles(self, windows: np.ndarray) -> np.ndarray:
        """Scaled quantiles `[n, horizon, quantiles]` from scaled `windows` `[n, window]`, `n` within the ladder."""
        return to_numpy(self._padded(windows))[: len(windows)]

    def _padded(self, windows: np.ndarray) -> Any:
        """The network's output for `windows` and for the rows that fill them up to a rung."""
        return self._call(pad_rows(windows, rung(len(windows), self.ladder)))

    def baseline(self, tile: Tile) -> Float:
        """The last known value, which the window was counted from too: `[n, 1]`."""
        return tile.step.last()[tile.row, tile.column][:, None]


def scaled_windows(windows: Float, anchor: Float, scale: Float) -> np.ndarray:
    """What the network sees of `windows` `[n, window]`: float32, counted from `anchor` in units of `scale` `[n]`.

    All of these are transformed, where the features are.
    A missing observation is the last known one before it; what lies before the first one is the anchor.
    """
    newest = np.maximum.accumulate(np.where(np.isnan(windows), -1, np.arange(windows.shape[1])), axis=1)
    known = np.take_along_axis(windows, np.maximum(newest, 0), axis=1)
    with np.errstate(over="ignore"):
        scaled = np.where(newest >= 0, known - anchor[:, None], 0.0) / scale[:, None]
    seen: np.ndarray = np.clip(scaled, -CLIP, CLIP).astype(np.float32)
    return seen
