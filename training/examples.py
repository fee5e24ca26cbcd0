"""What the network is fitted to: windows of inputs with scaled targets."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from forecaster.aggregates import aggregated
from forecaster.config import Aggregate
from forecaster.features.covariates import CovariateSettings
from forecaster.features.running import Features
from forecaster.records import Float, Int
from training.table import FeatureTable

FAR = 1e3  # in units of the scale
WITHOUT = 0.1  # of the windows miss a covariate


@dataclass(frozen=True, slots=True)
class BatchShape:
    """`windows` of `length` rounds, in each of which `scored` rounds count, none of the first `unscored`.

    `cold` of the windows begin from an empty feature state, as a series never seen does: all their rounds count.
    """

    windows: int
    length: int
    unscored: int
    scored: int
    cold: int = 0


class Batch(NamedTuple):
    """`inputs` `[windows, length, …]` and the `scored` rounds `[windows, scored]`, with what belongs to these.

    `ahead` is `[windows, scored, outputs, ahead]`; `target` and `weight` are `[windows, scored, outputs]`.
    """

    inputs: np.ndarray
    scored: np.ndarray
    ahead: np.ndarray
    target: np.ndarray
    weight: np.ndarray


class Examples:
    """Windows that lie before `end_ms`. A target counts where it lies there too and the series has a value.

    It is each step of the horizon, or their `aggregate`.
    """

    def __init__(self, table: FeatureTable, horizon: int, end_ms: int, aggregate: Aggregate | None = None) -> None:
        self.table, self.horizon, self.aggregate = table, horizon, aggregate
        self.rounds = table.data.before(end_ms)

    def targets(self, row: Int, baseline: Float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Scaled targets `[n, outputs]` of the origins at `row` `[n]`, 0 where there is none, and weights.

        They are counted from `baseline` `[n, outputs or 1]`, which is level plus profiles if not given.
        """
        baseline = self.table.baseline(row, self.horizon, self.aggregate) if baseline is None else baseline
        scaled = (self.ahead(row) - baseline) / self.table.scale[row][:, None]
        return weighted(scaled, self.table.seen[row] > 0)

    def ahead(self, row: Int) -> Float:
        """The transformed values of the next `horizon` rows of the run, or of their aggregate: `[n, outputs]`.

        NaN where they are missing or too late.
        """
        data = self.table.data
        run = data.run_of(row)
        last = (data.first[run] + self.rounds[run] - 1)[:, None]
        ahead = row[:, None] + np.arange(1, self.horizon + 1)
        values = np.where(ahead <= last, data.value[np.minimum(ahead, np.maximum(last, 0))], np.nan)
        return self.table.settings.transformed(aggregated(values, self.aggregate))

    def batches(self, shape: BatchShape, random: np.random.Generator) -> Iterator[Batch]:
        """Endless batches of windows that start anywhere in the training part.

        Runs come in proportion to their length. The scored rounds of a window are drawn from behind
        its first `unscored`, over which the empty state fills: neighbours teach much the same. A run
        that is shorter than a window is padded on the right, which no scored round sees.
        """
        length = int(min(shape.length, self.rounds.max()))
        share = self.rounds / self.rounds.sum()
        while True:
            run = random.choice(len(share), shape.windows, p=share)
            rounds = self.rounds[run]
            begin = random.integers(0, np.maximum(rounds - length, 0) + 1)
            inside = np.minimum(rounds, length)
            low = np.minimum(shape.unscored, inside // 2)
            low[: shape.cold] = 0
            scored = random.integers(low[:, None], inside[:, None], (shape.windows, shape.scored))
            row = self.table.data.first[run] + begin
            last = self.table.data.first[run] + rounds - 1
            window = np.minimum(row[:, None] + np.arange(length), last[:, None])
            parts = [self._warm(window[shape.cold :], scored[shape.cold :])]
            if shape.cold:
                parts.insert(0, self._cold(window[: shape.cold], scored[: shape.cold]))
            batch = Batch(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
            yield without_some(batch, self.table.settings.covariates, random)

    def _warm(self, window: Int, scored: Int) -> Batch:
        """Rows `window` `[windows, length]` with the features they have in the whole run."""
        row = np.take_along_axis(window, scored, 1).ravel()
        target, weight = self.targets(row)
        known = self.table.ahead(row, self.horizon, self.aggregate)
        return _batch(self.table.given(self.table.inputs[window], window), scored, known, target, weight)

    def _cold(self, window: Int, scored: Int) -> Batch:
        """The same rows as if nothing had been before them."""
        table, data = self.table, self.table.data
        state, count = Features(table.settings), len(window)
        state.grow(count)
        run = data.run_of(window[:, 0])
        index = data.index[run] + window[:, 0] - data.first[run]
        values = data.value[window]
        values[:, 1:][window[:, 1:] == window[:, :-1]] = np.nan  # padding
        step = state.advance(np.arange(count), index, values, data.covariates[window])
        place = np.repeat(np.arange(count), scored.shape[1]), scored.ravel()
        scale = step.safe_scale()[place]
        ahead = self.horizon, self.aggregate
        scaled = (self.ahead(window[place]) - step.baseline(*place, *ahead)) / scale[:, None]
        target, weight = weighted(scaled, step.seen[place] > 0)
        known = table.with_known(step.recent(*place, *ahead), window[place], *ahead)
        return _batch(table.given(step.inputs(), window), scored, known, target, weight)


def weighted(scaled: Float, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Targets and weights; a scale that has seen next to nothing makes numbers that say no more than "far"."""
    scaled = np.clip(scaled, -FAR, FAR)
    known = ~np.isnan(scaled) & usable[:, None]
    return np.where(known, scaled, 0.0).astype(np.float32), known.astype(np.float32)


def without_some(batch: Batch, covariates: CovariateSettings, random: np.random.Generator) -> Batch:
    """`batch` with each covariate missing in a share of the windows, so that what is missing has been seen."""
    if not (count := len(covariates.names)):
        return batch
    missing = random.random((len(batch.inputs), count)) < WITHOUT
    inputs = _without(batch.inputs, missing[:, None])
    ahead = _without(batch.ahead, missing[:, None, None, len(covariates.past) :])
    return batch._replace(inputs=inputs, ahead=ahead)


def _without(seen: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """`seen` `[…, any]`, whose last columns are covariates, and then which are missing, with more of them `missing`."""
    count = missing.shape[-1]
    rest, values, flags = np.split(seen, [seen.shape[-1] - 2 * count, seen.shape[-1] - count], axis=-1)
    return np.concatenate([rest, np.where(missing, np.float32(0), values), np.maximum(flags, missing)], axis=-1)


def _batch(inputs: np.ndarray, scored: Int, ahead: np.ndarray, target: np.ndarray, weight: np.ndarray) -> Batch:
    return Batch(
        inputs,
        scored.astype(np.int32),
        *(array.reshape(*scored.shape, *array.shape[1:]) for array in (ahead, target, weight)),
    )
