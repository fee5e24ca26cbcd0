"""Recorded ticks as training arrays, made by the very steps that serve: windows, then features."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.features import Features, FeatureSettings, FeatureStep
from forecaster.recording import Recording
from forecaster.records import Bool, Float, Int
from forecaster.windows import Windows
from training.left_out import LeftOut


@dataclass(frozen=True, slots=True)
class Sequences:
    """Runs of observations without a restart between: `values` `[runs, rounds]`, NaN past the end.

    `index` is the grid index of each run's first round, `origin_ms` `[runs, rounds]` event time.
    """

    names: list[str]
    index: Int
    values: Float
    length: Int
    origin_ms: Int

    def features(self, settings: FeatureSettings) -> FeatureStep:
        """The features of every round, from an empty state, as the daemon would have had them."""
        state = Features(settings)
        state.grow(len(self.index))
        return state.advance(np.arange(len(self.index)), self.index, self.values)


@dataclass(frozen=True, slots=True)
class Split:
    """Event times that end the training part and the validation part, in epoch milliseconds."""

    train_end_ms: int
    validation_end_ms: int


def sequences(recording: Recording, settings: Settings, left_out: LeftOut | None = None) -> Sequences:
    """Push `recording` through the event time of serving and stack what comes out, run by run.

    What event time refuses is counted in `left_out`.
    """
    windows = Windows(settings.stream, settings.model.context_length)
    names = [recording.names[n] for n in recording.series.tolist()]
    partition = np.zeros(len(recording), np.int64)
    outcome, block = windows.admit(partition, names, recording.time_ms, recording.value)
    if left_out is not None:
        left_out.add(recording, outcome)
    first, length = block.runs()
    if not len(first):
        raise ConfigError("the input completes no observation")
    rounds = np.arange(length.max())
    inside = rounds < length[:, None]
    cell = np.where(inside, first[:, None] + rounds, 0)
    return Sequences(
        names=[windows.slots.names[slot] for slot in block.slot[first].tolist()],
        index=block.index[first],
        values=np.where(inside, block.value[cell], np.nan),
        length=length,
        origin_ms=np.where(inside, windows.grid.origin_ms(block.index[cell]), np.iinfo(np.int64).max),
    )


def split_by_time(data: Sequences, train_fraction: float, validation_fraction: float) -> Split:
    """Cut the time that the data spans: every series at the same two moments."""
    inside = data.origin_ms < np.iinfo(np.int64).max
    start, end = int(data.origin_ms[inside].min()), int(data.origin_ms[inside].max())
    train_end = start + round((end - start) * train_fraction)
    return Split(train_end, train_end + round((end - start) * validation_fraction))


@dataclass(frozen=True, slots=True)
class BatchShape:
    """`windows` of `length` rounds, in each of which `scored` rounds count, none of the first `unscored`."""

    windows: int
    length: int
    unscored: int
    scored: int


class Batch(NamedTuple):
    """`inputs` `[windows, length, …]`, `scored` rounds `[windows, scored]`, their `target` and `weight`.

    The last two are `[windows, scored, horizon]`.
    """

    inputs: np.ndarray
    scored: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class Examples:
    """Windows of inputs with scaled targets: what the network is fitted to.

    A target counts where it and its origin lie before `end_ms` and the series has a value there.
    """

    def __init__(self, data: Sequences, step: FeatureStep, horizon: int, end_ms: int) -> None:
        self._data, self._step, self.horizon = data, step, horizon
        self.inputs = step.inputs()
        self._scale = step.safe_scale()
        ahead = np.full((len(data.index), horizon), np.nan)
        usable = np.where(data.origin_ms < end_ms, data.values, np.nan)
        self._padded = np.concatenate([usable, ahead], axis=1)
        self.rounds = np.minimum((data.origin_ms < end_ms).sum(axis=1), data.length)

    def targets(self, run: Int, round_: Int) -> tuple[np.ndarray, np.ndarray]:
        """Scaled targets `[n, horizon]` of the origins (run, round), 0 where there is none, and weights."""
        ahead = self._padded[run[:, None], round_[:, None] + np.arange(1, self.horizon + 1)]
        known = ~np.isnan(ahead) & (self._step.seen[run, round_] > 0)[:, None]
        baseline = self._step.baseline(run, round_, self.horizon)
        scaled = (ahead - baseline) / self._scale[run, round_][:, None]
        return np.where(known, scaled, 0.0).astype(np.float32), known.astype(np.float32)

    def batches(self, shape: BatchShape, random: np.random.Generator) -> Iterator[Batch]:
        """Endless batches of windows that start anywhere in the training part.

        Runs come in proportion to their length. The scored rounds of a window are drawn from behind
        its first `unscored`, over which the empty state fills: neighbours teach much the same.
        """
        size, length = shape.windows, int(min(shape.length, self.rounds.max()))
        first = min(shape.unscored, length // 2)
        starts = np.maximum(self.rounds - length + 1, 0)
        while True:
            run = random.choice(len(starts), size, p=starts / starts.sum())
            begin = random.integers(0, starts[run])
            scored = random.integers(first, length, (size, shape.scored))
            target, weight = self.targets(np.repeat(run, shape.scored), (begin[:, None] + scored).ravel())
            grouped = size, shape.scored, self.horizon
            inputs = self.inputs[run[:, None], begin[:, None] + np.arange(length)]
            yield Batch(inputs, scored.astype(np.int32), target.reshape(grouped), weight.reshape(grouped))


def origins_between(data: Sequences, start_ms: int, end_ms: int) -> Bool:
    """Which rounds `[runs, rounds]` have an event time in [start, end)."""
    between: Bool = (data.origin_ms >= start_ms) & (data.origin_ms < end_ms)
    return between
