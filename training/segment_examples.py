"""What a network over windows is fitted to and validated on: single windows, counted from their last value."""

from collections.abc import Iterator
from math import gcd
from typing import NamedTuple

import numpy as np

from forecaster.config import ModelSettings
from forecaster.features import LAST, FeatureSettings
from forecaster.records import Float, Int
from forecaster.segment_network import SegmentNetwork
from forecaster.window_engine import WindowEngine, scaled_windows
from training.data import Split
from training.examples import Examples
from training.start import baseline_quantiles
from training.validation import Origins

FEWEST_SEGMENTS = 10  # of a window, where the segment length is not given


def default_segment_length(model: ModelSettings) -> int:
    """The longest that cuts both window and horizon, and leaves the GRU segments enough to follow."""
    both = gcd(model.context_length, model.horizon)
    longest = max(1, model.context_length // FEWEST_SEGMENTS)
    return next(length for length in range(min(both, longest), 0, -1) if both % length == 0)


def windowed(features: FeatureSettings) -> FeatureSettings:
    """`features` with what a window is counted from, the last value, and without what it has no input for."""
    more = () if LAST in features.level_spans else (LAST,)
    return features.model_copy(update={"level_spans": features.level_spans + more, "recent_rates": ()})


class SegmentBatch(NamedTuple):
    """`windows` `[windows, window]` with `target` and `weight` `[windows, horizon]`."""

    windows: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class SegmentExamples:
    """Windows that end at rows of the table, and their scaled targets, as `WindowEngine` has them."""

    def __init__(self, examples: Examples, window: int) -> None:
        self._examples, self._table, self._window = examples, examples.table, window

    def windows(self, row: Int) -> np.ndarray:
        """What the network sees at `row` `[n]`: float32 `[n, window]`."""
        table, data = self._table, self._table.data
        first = data.first[data.run_of(row)][:, None]
        at = row[:, None] + np.arange(1 - self._window, 1)
        values = np.where(at >= first, data.value[np.maximum(at, first)], np.nan)
        return scaled_windows(table.settings.transformed(values), table.last[row], table.scale[row])

    def targets(self, row: Int) -> tuple[np.ndarray, np.ndarray]:
        """Scaled targets `[n, horizon]`, 0 where there is none, and weights."""
        return self._examples.targets(row, self._table.last[row][:, None])

    def profiles(self, row: Int) -> Float:
        """Level and profiles as this network's outputs are counted: `[n, horizon]`."""
        baseline = self._table.baseline(row, self._examples.horizon)
        return (baseline - self._table.last[row][:, None]) / self._table.scale[row][:, None]

    def batches(self, size: int, random: np.random.Generator) -> Iterator[SegmentBatch]:
        """Endless batches of `size` windows that end anywhere in the training part.

        A window may end near its run's start: a short one is to be forecast from as well.
        """
        first, origins = self._table.data.first, np.maximum(self._examples.rounds - 1, 0)
        while True:
            run = random.choice(len(origins), size, p=origins / origins.sum())
            row = first[run] + random.integers(0, origins[run])
            yield SegmentBatch(self.windows(row), *self.targets(row))


class SegmentValidation:
    """Pinball loss over the origins that a network with carried state is validated on.

    `baseline_loss` is that of level and profile with the intervals of their errors over the `fitted` part.
    """

    def __init__(self, fitted: Examples, network: SegmentNetwork, split: Split) -> None:
        settings, table = network.settings, fitted.table
        self._engine, self._origins = WindowEngine(network), Origins(table, settings, split)
        self._examples = SegmentExamples(fitted, settings.inputs)
        self._profiles = self._examples.profiles(self._origins.row)[..., None]
        self.baseline_loss = self._origins.pinball(baseline_quantiles(fitted, settings.quantiles)[None])

    def loss(self) -> float:
        """The mean pinball loss of the network as it is."""
        row, size = self._origins.row, self._engine.ladder[-1]
        parts = [self._examples.windows(row[low : low + size]) for low in range(0, len(row), size)]
        quantiles = np.concatenate([self._engine.quantiles(windows) for windows in parts])
        return self._origins.pinball(quantiles - self._profiles)
