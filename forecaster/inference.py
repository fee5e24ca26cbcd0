"""From the block of new observations to quantiles: features, carried state, and the way back."""

from collections.abc import Collection, Mapping

import numpy as np

from forecaster.engines.tile import Emitted, Pending, ServingEngine, Stage, Tile, no_stage
from forecaster.features.running import Features
from forecaster.features.settings import FeatureSettings
from forecaster.records import Bool, Int
from forecaster.series import copied
from forecaster.windows import Block, Windows

REBUILD_CELLS = 1 << 16  # series × rounds whose features are made at once: bounds the memory


class Inference:
    """Feature state of every slot and the network's own; no row of a tile depends on another's."""

    def __init__(
        self, features: FeatureSettings, engine: ServingEngine, windows: Windows, stage: Stage = no_stage
    ) -> None:
        self.features, self.engine, self.windows = Features(features), engine, windows
        self._network, self._stage = engine.network.settings, stage

    def rows(self, slots: Int) -> dict[str, np.ndarray]:
        """A copy of the state of `slots` by name, slots first."""
        channels, row = self.windows.channels, self.windows.channels.rows(slots)
        found = {name: copied(array, row) for name, array in self.features.arrays().items()} | self.engine.rows(row)
        return {name: channels.by_series(array) for name, array in found.items()}

    def put(self, slots: Int, rows: Mapping[str, np.ndarray]) -> None:
        """Make `rows`, as `rows` gave them, the state of `slots`; the network's own may be missing."""
        channels, row, own = self.windows.channels, self.windows.channels.rows(slots), self._own_state()
        for name, array in self.features.arrays().items():
            array[row] = channels.by_row(rows[name])
        if own <= set(rows):
            self.engine.put(row, {name: channels.by_row(rows[name]) for name in own})

    def _own_state(self) -> set[str]:
        return set(self.engine.rows(np.zeros(0, np.int64)))

    def grow(self) -> None:
        """Make room for every slot that the windows have room for."""
        rows = self.windows.capacity * self.windows.channels.width
        if rows > len(self.features.seen):
            self.features.grow(rows)
            self.engine.grow(rows)

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state before their first observation."""
        self._forget(self.windows.channels.rows(slots))

    def _forget(self, rows: Int) -> None:
        self.grow()
        for part in (self.features, self.engine, self.windows.rings):
            part.forget(rows)

    def complete(self, slots: Int, names: Collection[str]) -> None:
        """Make the network's own state of `slots` from their windows, where it is none of the `names` that were put.

        The features of these rounds are those of a series that already knows what came after: near enough.
        """
        if self._own_state() <= set(names):
            return
        width = self.windows.channels.width
        rows = self.windows.channels.rows(slots[self.windows.rounds(slots) > 0])
        abreast = max(1, REBUILD_CELLS // self.windows.rings.length)
        for low in range(0, len(rows), abreast):
            slot = rows[low : low + abreast]
            values, length = self.windows.rings.recent(slot)
            first = self.windows.event_time.newest[slot // width] - length + 1
            step = self.features.advance(slot, first, values, self.windows.rings.recent_covariates(slot))
            inputs = self.engine.inputs(step, values)
            self.engine.rebuild(slot, inputs, length)

    def run(self, block: Block, emit: Bool) -> Emitted:
        """Carry every series through its rows of `block`; forecast from the rows where `emit` is set.

        The block is over rows of the state: of multivariate series it is one that `Channels` has spread.
        """
        self.grow()
        pending = []
        for first, length in block.waves():
            if len(fresh := block.slot[first][block.fresh[first]]):
                self._forget(fresh)
            for runs, done, rounds in self.engine.shapes.tiles(length):
                pending.append(self._tile(block, emit, first[runs] + done, length[runs] - done, rounds))
        return Emitted.joined([self._fetched(tile) for tile in pending if len(tile.row)] or [self._nothing()])

    def _nothing(self) -> Emitted:
        shape = (0, self._network.outputs, len(self._network.quantiles))
        return Emitted(np.zeros(0, np.int64), np.zeros(shape), np.zeros(0), np.zeros(0, np.int64))

    def _tile(self, block: Block, emit: Bool, first: Int, left: Int, rounds: int) -> Pending:
        """One rectangle: up to `rounds` rows of each of the runs that go on at rows `first`; carries their state on."""
        valid = np.arange(rounds) < left[:, None]
        cell = np.where(valid, first[:, None] + np.arange(rounds), 0)
        slot = block.slot[first]
        values = np.where(valid, block.value[cell], np.nan)
        covariates = None if block.covariates is None else np.where(valid[..., None], block.covariates[cell], np.nan)
        row, column = np.nonzero(valid & emit[cell])
        with self._stage("features"):
            step = self.features.advance(slot, block.index[first], values, covariates)
        names, index = self.windows.slots.names, block.index[cell[row, column]]
        tile = Tile(slot, values, valid, step, row, column, self.windows.rings, index, names)
        answer = self.engine.forecast(tile, self._stage)
        with self._stage("features"):
            pending = Pending(cell[row, column], row, column, step, self.engine.baseline(tile), answer)
            self.windows.rings.push(slot, values, np.minimum(left, rounds), covariates)
            step.commit()
        return pending

    def _fetched(self, tile: Pending) -> Emitted:
        """Wait for a tile's answer and scale it back."""
        with self._stage("infer"):
            fetched = tile.answer.fetch()
        with self._stage("features"):
            return tile.answer.emitted(fetched, tile)
