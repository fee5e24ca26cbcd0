"""What a network over windows is fitted to and validated on: single windows, counted from their last value."""

from collections.abc import Callable, Iterator
from math import gcd

import numpy as np

from forecaster.config import ModelSettings
from forecaster.errors import ConfigError
from forecaster.features import FeatureSettings, FeatureStep
from forecaster.records import Float, Int
from forecaster.segment_network import SegmentNetwork
from forecaster.window_engine import WindowEngine, last_value, scaled_windows
from training.data import Examples, Sequences, Split, origins_between
from training.metrics import pinball

FEWEST_SEGMENTS = 10  # of a window, where the segment length is not given
WINDOWS = 8  # in a batch, for each one of `training.batch_size`: a window has one origin here, not many
VALIDATED = 8_192  # origins at most, evenly drawn: neighbours tell much the same


def default_segment_length(model: ModelSettings) -> int:
    """The longest that cuts both window and horizon, and leaves the GRU segments enough to follow."""
    both = gcd(model.context_length, model.horizon)
    longest = max(1, model.context_length // FEWEST_SEGMENTS)
    return next(length for length in range(min(both, longest), 0, -1) if both % length == 0)


def with_last_value(features: FeatureSettings) -> FeatureSettings:
    """`features` with the last value among the levels: what a window is counted from."""
    more = () if 1.0 in features.level_spans else (1.0,)
    return features.model_copy(update={"level_spans": features.level_spans + more})


class SegmentExamples:
    """Windows and scaled targets of origins (run, round), as `WindowEngine` has them."""

    def __init__(self, data: Sequences, step: FeatureStep, window: int, examples: Examples) -> None:
        self._values, self._window, self._examples = data.values, window, examples
        self._last, self._scale, self._step = last_value(step), step.safe_scale(), step

    def windows(self, run: Int, round_: Int) -> np.ndarray:
        """What the network sees at (run, round): float32 `[n, window]`."""
        at = round_[:, None] + np.arange(1 - self._window, 1)
        windows = np.where(at >= 0, self._values[run[:, None], np.maximum(at, 0)], np.nan)
        return scaled_windows(windows, self._last[run, round_], self._scale[run, round_])

    def profiles(self, run: Int, round_: Int) -> Float:
        """Level and profile alone, as this network's outputs are counted: `[n, horizon]`."""
        baseline = self._step.baseline(run, round_, self._examples.horizon)
        return (baseline - self._last[run, round_][:, None]) / self._scale[run, round_][:, None]

    def targets(self, run: Int, round_: Int) -> tuple[np.ndarray, np.ndarray]:
        """Scaled targets `[n, horizon]`, 0 where there is none, and weights."""
        target, weight = self._examples.targets(run, round_)
        return ((target + self.profiles(run, round_)) * weight).astype(np.float32), weight

    def batches(self, size: int, random: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Endless batches of `size` windows, their targets and weights: origins anywhere in the training part.

        An origin may lie near its run's start: a short window is to be forecast from as well.
        """
        origins = np.maximum(self._examples.rounds - 1, 0)
        while True:
            run = random.choice(len(origins), size, p=origins / origins.sum())
            round_ = random.integers(0, origins[run])
            yield self.windows(run, round_), *self.targets(run, round_)


class SegmentValidation:
    """Pinball loss over the validation part, at most `VALIDATED` of its origins."""

    def __init__(self, data: Sequences, step: FeatureStep, network: SegmentNetwork, split: Split) -> None:
        settings = network.settings
        self._engine, self._levels = WindowEngine(network), np.array(settings.quantiles)
        every = Examples(data, step, settings.horizon, split.validation_end_ms)
        self._examples = SegmentExamples(data, step, settings.inputs, every)
        scored = origins_between(data, split.train_end_ms, split.validation_end_ms)
        run, round_ = np.nonzero(scored & (step.seen > 0))
        drawn = np.unique(np.linspace(0, len(run) - 1, VALIDATED).round().astype(np.int64)) if len(run) else run
        self._run, self._round = run[drawn], round_[drawn]
        self._target, self._weight = self._examples.targets(self._run, self._round)
        if not self._weight.any():
            raise ConfigError("training.validation_fraction: leaves no value to validate on: give more data")
        self.baseline_loss = self._mean(lambda part: self._examples.profiles(*self._origins(part))[..., None])

    def loss(self) -> float:
        """The mean pinball loss of the network as it is."""
        return self._mean(lambda part: self._engine.quantiles(self._examples.windows(*self._origins(part))))

    def _origins(self, part: slice) -> tuple[Int, Int]:
        return self._run[part], self._round[part]

    def _mean(self, quantiles: Callable[[slice], np.ndarray]) -> float:
        """Mean loss of `quantiles` `[n, horizon, levels]` of the origins of each part, as many as a call takes."""
        total, size = 0.0, self._engine.ladder[-1]
        for low in range(0, len(self._run), size):
            part = slice(low, low + size)
            losses = pinball(self._target[part], quantiles(part), self._levels).mean(axis=-1)
            total += float((losses * self._weight[part]).sum())
        return total / float(self._weight.sum())
