"""What a network over windows is fitted to and validated on: single windows, seen by the very code that serves."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import gcd

import numpy as np

from forecaster.config import ModelSettings
from forecaster.engines.shapes import rung
from forecaster.engines.tile import Tile
from forecaster.engines.windowed import WindowEngine, WindowNetwork
from forecaster.features.running import Features
from forecaster.features.settings import LAST, FeatureSettings
from forecaster.past import Past, TilePast, calendar
from forecaster.records import Float, Int
from forecaster.rings import Rings
from training.data import Split
from training.examples import Examples, weighted
from training.start import baseline_quantiles
from training.table import FeatureTable
from training.validation import Origins

FEWEST_SEGMENTS = 10  # of a window, where the segment length is not given
POOL = 8  # batches drawn at once, so that each can have windows of similar length
WORTH = 1e-3, 10.0  # of a window at least and at most
COLD = 0.2  # of masked windows are those of a series that has just begun
Batch = tuple[np.ndarray, ...]  # what the network sees, `target` and `weight` `[windows, horizon]`


def default_segment_length(model: ModelSettings) -> int:
    """The longest that cuts both window and horizon, and leaves the GRU segments enough to follow."""
    both = gcd(model.context_length, model.horizon)
    longest = max(1, model.context_length // FEWEST_SEGMENTS)
    return next(length for length in range(min(both, longest), 0, -1) if both % length == 0)


def windowed(features: FeatureSettings) -> FeatureSettings:
    """`features` with what a segment network counts from, the last value, and without what it has no input for."""
    more = () if LAST in features.level_spans else (LAST,)
    return features.model_copy(update={"level_spans": features.level_spans + more, "recent_rates": ()})


@dataclass(frozen=True, slots=True)
class TablePast:
    """The past of the rows `row` `[n]` of a table."""

    table: FeatureTable
    row: Int

    def take(self, at: Int) -> "TablePast":
        """Implement `Past.take`."""
        return TablePast(self.table, self.row[at])

    def length(self, most: int) -> Int:
        """Implement `Past.length`."""
        data = self.table.data
        length: Int = np.minimum(self.row - data.first[data.run_of(self.row)] + 1, most)
        return length

    def values(self, rounds: int) -> Float:
        """Implement `Past.values`."""
        data = self.table.data
        first = data.first[data.run_of(self.row)][:, None]
        at = self.row[:, None] + np.arange(1 - rounds, 1)
        values = np.where(at >= first, data.value[np.maximum(at, first)], np.nan)
        return self.table.settings.transformed(values)

    def scale(self) -> Float:
        """Implement `Past.scale`."""
        return self.table.scale[self.row]

    def last(self) -> Float:
        """Implement `Past.last`."""
        return self.table.last[self.row]

    def expected(self, steps: Int) -> Float:
        """Implement `Past.expected`."""
        return self.table.expected(self.row, steps)

    def calendar(self, steps: Int) -> np.ndarray:
        """Implement `Past.calendar`."""
        data = self.table.data
        run = data.run_of(self.row)
        return calendar(data.index[run] + self.row - data.first[run], steps, self.table.seasons)

    def features(self) -> np.ndarray:
        """Implement `Past.features`."""
        return self.table.inputs[self.row]

    def recent(self, horizon: int) -> np.ndarray:
        """Implement `Past.recent`."""
        return self.table.recents(self.row, horizon)


def cold_past(table: FeatureTable, row: Int, length: Int) -> TilePast:
    """The past of `row` `[n]` as if the series had begun `length` `[n]` observations ago: a tile as served."""
    data, count = table.data, len(row)
    begin = row - length + 1
    at = begin[:, None] + np.arange(int(length.max(initial=1)))
    inside = at <= row[:, None]
    values = np.where(inside, data.value[np.where(inside, at, 0)], np.nan)
    run, slot = data.run_of(row), np.arange(count)
    index = data.index[run] + row - data.first[run]
    state, nothing = Features(table.settings), Rings(1)
    state.grow(count)
    nothing.grow(count)
    nothing.forget(slot)
    step = state.advance(slot, index - length + 1, values)
    tile = Tile(slot, values, inside, step, slot, length - 1, nothing, index, [])
    return TilePast(tile, tile.row, tile.column)


class WindowExamples:
    """Windows that end at rows of the table, as `network` sees them, and their scaled targets."""

    def __init__(self, examples: Examples, network: WindowNetwork) -> None:
        self._examples, self._table, self._network = examples, examples.table, network

    def past(self, row: Int) -> TablePast:
        """What is known at `row`."""
        return TablePast(self._table, row)

    def targets(self, past: Past, row: Int) -> tuple[np.ndarray, np.ndarray]:
        """Scaled targets `[n, horizon]` of `row`, whose past is `past`, 0 where there is none, and weights."""
        scaled = (self._examples.ahead(row) - self._network.counted_from(past)) / past.scale()[:, None]
        return weighted(scaled, self._table.seen[row] > 0)

    def batches(self, size: int, random: np.random.Generator) -> Iterator[Batch]:
        """Endless batches of `size` windows that end anywhere in the training part, those of one of similar length.

        A window may end near its run's start: a short one is to be forecast from as well. Of a network that masks,
        some are as if the series had begun but a moment ago, all lengths of time being equally likely by their
        logarithm.
        """
        first, origins = self._table.data.first, np.maximum(self._examples.rounds - 1, 0)
        longest, masks = self._network.lengths[-1], self._network.settings.short_windows == "masked"
        while True:
            run = random.choice(len(origins), POOL * size, p=origins / origins.sum())
            row = first[run] + random.integers(0, origins[run])
            length = self.past(row).length(longest)
            cold = (random.random(len(row)) < COLD) & masks
            length[cold] = np.exp(random.uniform(0, np.log(length[cold] + 1))).astype(np.int64)
            for at in bucketed(length, size, random):
                yield self._batch(row[at], length[at], cold[at])

    def _batch(self, row: Int, length: Int, cold: np.ndarray) -> Batch:
        rounds, parts = rung(int(length.max()), self._network.lengths), []
        pasts = (~cold, self.past), (cold, lambda row: cold_past(self._table, row, length[cold]))
        for mine, past_of in pasts:
            if mine.any():
                past = past_of(row[mine])
                target, weight = self.targets(past, row[mine])
                parts.append((*self._network.seen(past, rounds), target, weight * self._worth(past, row[mine])))
        return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))

    def _worth(self, past: Past, row: Int) -> np.ndarray:
        """Weights `[n, 1]` that make losses those in units of the scale that the series has in the end.

        That of a series that has just begun may be a hundredth of it: its errors alone would be learnt from.
        """
        worth: np.ndarray = np.clip(past.scale() / self._table.scale[row], *WORTH)[:, None].astype(np.float32)
        return worth


def bucketed(length: Int, size: int, random: np.random.Generator) -> list[Int]:
    """Places of windows of `length` in batches of `size` of similar length, the batches in random order."""
    shuffled = random.permutation(len(length))
    batches = shuffled[np.argsort(length[shuffled], kind="stable")].reshape(-1, size)
    return list(batches[random.permutation(len(batches))])


class WindowValidation:
    """Pinball loss over the origins that a network with carried state is validated on.

    `baseline_loss` is that of level and profile with the intervals of their errors over the `fitted` part.
    """

    def __init__(self, fitted: Examples, network: WindowNetwork, split: Split) -> None:
        settings, table = network.settings, fitted.table
        self._engine, self._origins = WindowEngine(network), Origins(table, settings, split)
        row = self._origins.row
        self._past = TablePast(table, row)
        ahead = table.baseline(row, settings.horizon) - network.counted_from(self._past)
        self._profiles = (ahead / table.scale[row][:, None])[..., None]
        self.baseline_loss = self._origins.pinball(baseline_quantiles(fitted, settings.quantiles)[None])

    def loss(self) -> float:
        """The mean pinball loss of the network as it is."""
        quantiles = self._engine.quantiles(self._past, len(self._past.row))
        return self._origins.pinball(quantiles - self._profiles)
