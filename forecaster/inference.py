"""From the block of new observations to quantiles: features, carried state, and the way back."""

from dataclasses import dataclass

import numpy as np

from forecaster.engine import tiles
from forecaster.features import Features, FeatureSettings
from forecaster.networks import AnyNetwork, make_engine
from forecaster.records import Bool, Float, Int
from forecaster.tile import Stage, Tile, no_stage
from forecaster.windows import Block, Windows

REBUILD_CELLS = 1 << 16  # series × rounds whose features are made at once: bounds the memory


@dataclass(frozen=True, slots=True)
class Emitted:
    """Forecasts of the block's rows `row` `[n]`: `quantiles` `[n, horizon, levels]` ascend per step.

    `scale` and `seen` are the series' scale and number of values at that row.
    """

    row: Int
    quantiles: Float
    scale: Float
    seen: Int

    def take(self, keep: Bool | Int) -> "Emitted":
        """The forecasts at `keep`, a mask or positions."""
        return Emitted(self.row[keep], self.quantiles[keep], self.scale[keep], self.seen[keep])


class Inference:
    """Feature state of every slot and the network's own; no row of a tile depends on another's."""

    def __init__(
        self, features: FeatureSettings, network: AnyNetwork, windows: Windows, stage: Stage = no_stage
    ) -> None:
        self.features, self.engine, self.windows = Features(features), make_engine(network), windows
        self._network, self._stage = network.settings, stage

    def arrays(self) -> dict[str, np.ndarray]:
        """Every state array by name, slots first."""
        return self.features.arrays() | self.engine.arrays()

    def grow(self) -> None:
        """Make room for every slot that the windows have room for."""
        if self.windows.capacity > len(self.features.seen):
            self.features.grow(self.windows.capacity)
            self.engine.grow(self.windows.capacity)

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state before their first observation."""
        self.grow()
        for part in (self.features, self.engine, self.windows):
            part.forget(slots)

    def rebuild(self, slots: Int) -> None:
        """Make the network's own state of `slots` from their windows, where it is another network's.

        The features of these rounds are those of a series that already knows what came after: near enough.
        """
        if not self.engine.arrays():
            return
        slots = slots[self.windows.rounds[slots] > 0]
        series = max(1, REBUILD_CELLS // self.windows.context_length)
        for low in range(0, len(slots), series):
            slot = slots[low : low + series]
            values, length = self.windows.recent(slot)
            first = self.windows.event_time.newest[slot] - length + 1
            self.engine.rebuild(slot, self.features.advance(slot, first, values).inputs(), length)

    def run(self, block: Block, emit: Bool) -> Emitted:
        """Carry every series through its rows of `block`; forecast from the rows where `emit` is set."""
        self.grow()
        parts = [self._nothing()]
        for first, length in block.waves():
            self.forget(block.slot[first][block.fresh[first]])
            parts += [
                self._tile(block, emit, first[runs] + done, length[runs] - done, rounds)
                for runs, done, rounds in tiles(length)
            ]
        columns = ("row", "quantiles", "scale", "seen")
        return Emitted(*(np.concatenate([getattr(part, name) for part in parts]) for name in columns))

    def _nothing(self) -> Emitted:
        shape = (0, self._network.horizon, len(self._network.quantiles))
        return Emitted(np.zeros(0, np.int64), np.zeros(shape), np.zeros(0), np.zeros(0, np.int64))

    def _tile(self, block: Block, emit: Bool, first: Int, left: Int, rounds: int) -> Emitted:
        """One rectangle: up to `rounds` rows of each of the runs that go on at rows `first`."""
        valid = np.arange(rounds) < left[:, None]
        cell = np.where(valid, first[:, None] + np.arange(rounds), 0)
        slot = block.slot[first]
        values = np.where(valid, block.value[cell], np.nan)
        row, column = np.nonzero(valid & emit[cell])
        with self._stage("features"):
            step = self.features.advance(slot, block.index[first], values)
        tile = Tile(slot, values, valid, step, row, column, self.windows)
        scaled = self.engine.forecast(tile, self._stage)
        with self._stage("features"):
            values_and_scale = step.forecast(row, column, scaled, self.engine.baseline(tile))
            emitted = Emitted(cell[row, column], *values_and_scale, step.seen[row, column])
            self.windows.push(slot, values, np.minimum(left, rounds))
            step.commit()
        return emitted
