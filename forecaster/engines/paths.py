"""The engine of the network that draws paths of values."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from forecaster.engines.carried import Engine
from forecaster.engines.compiling import to_numpy
from forecaster.engines.from_state import StateEngine
from forecaster.engines.tile import Emitted, Pending, Tile
from forecaster.features.running import FeatureStep
from forecaster.networks.paths import PathNetwork
from forecaster.records import Float


class PathEngine(StateEngine):
    """A network for paths, with the hidden state of every slot."""

    network: PathNetwork

    def inputs(self, step: FeatureStep, values: Float) -> np.ndarray:
        """The features, as of a network that forecasts quantiles."""
        return Engine.inputs(self, step, values)

    def besides(self, tile: Tile, inputs: np.ndarray) -> tuple[np.ndarray, ...]:
        """The inputs of each cell, the recent profiles of its steps ahead, and numbers for its paths."""
        recent = tile.step.recent(tile.row, tile.column, self.network.settings.horizon)
        return inputs[tile.row, tile.column], recent, *super().besides(tile, inputs)

    def nothing_besides(self, rows: int) -> tuple[np.ndarray, ...]:
        """Zeros of the same shapes."""
        return *Engine._zeros(self, rows), *super().nothing_besides(rows)  # noqa: SLF001  # of our own base

    def answered(self, calls: Sequence[Any], count: int) -> "Paths":  # type: ignore[override]  # of values
        """Paths on their way."""
        return Paths(calls, count, self.network.settings.quantiles)

    def baseline(self, tile: Tile) -> Float:
        """Level plus profiles, which the bins are counted from."""
        return Engine.baseline(self, tile)


class Paths:
    """Scaled values of paths on their way from the device: the first `count` rows of `calls`, end to end."""

    def __init__(self, calls: Sequence[Any], count: int, levels: Sequence[float]) -> None:
        self._calls, self._count, self._levels = calls, count, levels

    def fetch(self) -> np.ndarray:
        """`[n, horizon, paths]`."""
        return np.concatenate([to_numpy(call) for call in self._calls])[: self._count]

    def emitted(self, fetched: np.ndarray, tile: Pending) -> Emitted:
        """Implement `Answer.emitted`: values for the scaled ones, and their quantiles at each step."""
        paths, scale = tile.step.forecast(tile.row, tile.column, fetched, tile.baseline)
        quantiles = np.moveaxis(np.quantile(paths, self._levels, axis=-1), 0, -1)
        return Emitted(tile.cell, quantiles, scale, tile.seen(), paths)
