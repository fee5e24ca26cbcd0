"""Inference in window mode: every forecast is one pass over the series' last observations.

The windows are the state. Rows are padded to a ladder, so that nothing is compiled once the daemon runs.
"""

from typing import Any

import keras
import numpy as np

from forecaster.engine import HEAD_LADDER, compile_function, pad_rows, rung
from forecaster.records import Float, Int
from forecaster.segment_network import SegmentNetwork
from forecaster.tile import Stage, Tile

MOST_NUMBERS = 2_000_000  # observations of one call: bounds the memory of a tile
CLIP = 100.0  # scales: what float32 and the network still tell apart


class WindowEngine:
    """A network over windows; no row depends on another."""

    def __init__(self, network: SegmentNetwork) -> None:
        self.network = network
        self.compiled_shapes = 0
        length = network.settings.inputs
        self.ladder = HEAD_LADDER[:1] + tuple(rows for rows in HEAD_LADDER[1:] if rows * length <= MOST_NUMBERS)
        self._call = compile_function(self._traced)

    def _traced(self, windows: Any) -> Any:
        self.compiled_shapes += 1  # Python code of a compiled function runs only while it is traced
        return self.network.call(windows)

    def warm_up(self) -> None:
        """Compile every rung of the ladder."""
        for rows in self.ladder:
            self._call(np.zeros((rows, self.network.settings.inputs), np.float32))

    def arrays(self) -> dict[str, np.ndarray]:
        """Nothing: the windows are the state."""
        return {}

    def grow(self, capacity: int) -> None:
        """Nothing: the windows are the state."""

    def forget(self, slots: Int) -> None:
        """Nothing: the windows are the state."""

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Nothing: the windows are the state."""

    def forecast(self, tile: Tile, stage: Stage) -> np.ndarray:
        """Scaled quantiles `[n, horizon, quantiles]` at the tile's cells."""
        settings, features = self.network.settings, tile.step.state.settings
        scale, last = tile.step.safe_scale(), tile.step.last()
        parts = [np.zeros((0, settings.horizon, len(settings.quantiles)), np.float32)]
        for low in range(0, len(tile.row), self.ladder[-1]):
            row, column = tile.row[low : low + self.ladder[-1]], tile.column[low : low + self.ladder[-1]]
            with stage("features"):
                windows = features.transformed(tile.windows.ending_at(tile.slot, tile.values, row, column))
                scaled = scaled_windows(windows, last[row, column], scale[row, column])
            with stage("infer"):
                parts.append(self.quantiles(scaled))
        return np.concatenate(parts)

    def quantiles(self, windows: np.ndarray) -> np.ndarray:
        """Scaled quantiles `[n, horizon, quantiles]` from scaled `windows` `[n, window]`, `n` within the ladder."""
        output = self._call(pad_rows(windows, rung(len(windows), self.ladder)))
        found: np.ndarray = keras.ops.convert_to_numpy(output)[: len(windows)]
        return found

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
