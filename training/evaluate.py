"""Accuracy of published forecasts against what came after, beside naive forecasts of the same origins."""

from dataclasses import dataclass

import numpy as np

from forecaster.aggregates import aggregated
from forecaster.config import Aggregate
from forecaster.formats.forecast_json import Forecasts
from forecaster.records import Float, Int
from training.data import Sequences
from training.metrics import covered, pinball

APART = 2**32  # positions between two passes: no horizon or season reaches over


@dataclass(frozen=True, slots=True)
class Score:
    """Mean absolute error over all matured (origin, output) pairs; interval figures for the model alone."""

    name: str
    mean_absolute_error: float
    coverage: float | None = None
    pinball: float | None = None


class _Series:
    """Actual values of one series in the order in which they came, each at a position, each position one step.

    A clock that is set back goes over the same positions again: each such pass has its own.
    """

    def __init__(self, position: Int, origin_ms: Int, values: Float) -> None:
        passes = np.cumsum(np.diff(position, prepend=position[0] - 1) <= 0)
        self._position = position + passes * (int(np.ptp(position)) + APART)
        self._times, self._values = origin_ms.tolist(), values
        self._row = -1  # of the newest forecast that was found

    def positions(self, origin_ms: Int) -> Int:
        """Positions `[n]` of the origins of forecasts, in their order; of an unknown one it is far off."""
        found = np.full(len(origin_ms), -APART)
        for n, at_ms in enumerate(origin_ms.tolist()):
            try:
                self._row = self._times.index(at_ms, self._row + 1)
            except ValueError:  # published twice
                continue
            found[n] = self._position[self._row]
        return found

    def at(self, position: Int) -> Float:
        """Values at positions, NaN where there is none."""
        row = np.searchsorted(self._position, position).clip(max=len(self._position) - 1)
        return np.where(self._position[row] == position, self._values[row], np.nan)


class Scorer:
    """Collects errors as forecasts come; nothing but sums is kept."""

    def __init__(
        self,
        actuals: Sequences,
        horizon: int,
        quantiles: tuple[float, ...],
        seasons: dict[str, int],
        *,
        regular: bool,
        aggregate: Aggregate | None = None,
    ) -> None:
        self._horizon, self._aggregate, self._levels = horizon, aggregate, np.array(quantiles)
        self._middle = quantiles.index(0.5)
        self._seasons = seasons
        self._series = _by_series(actuals, regular=regular)
        self._sums = dict.fromkeys(["model", "last value", *seasons], 0.0)
        self._inside = self._pinball = 0.0
        self.pairs = 0
        self.origins = 0

    def add(self, forecasts: Forecasts, start_ms: int = 0) -> None:
        """Score the forecasts whose origin is at `start_ms` or later, where value and every rival are known."""
        names = np.array(forecasts.series)
        for name in dict.fromkeys(forecasts.series):
            rows = np.flatnonzero((names == name) & (forecasts.origin_ms >= start_ms))
            if len(rows):
                self._add_series(self._series[name], forecasts.origin_ms[rows], forecasts.quantiles[rows])

    def _add_series(self, series: _Series, origin_ms: Int, quantiles: Float) -> None:
        origin = series.positions(origin_ms)[:, None]
        ahead = np.arange(1, self._horizon + 1)
        actual = series.at(origin + ahead)
        rivals = {"last value": np.repeat(series.at(origin), self._horizon, axis=1)}
        for name, season in self._seasons.items():
            rivals[name] = series.at(origin + ahead - season * -(-ahead // season))
        actual = aggregated(actual, self._aggregate)
        rivals = {name: aggregated(forecast, self._aggregate) for name, forecast in rivals.items()}
        known = ~np.isnan(actual) & ~np.isnan(np.stack(list(rivals.values()))).any(axis=0)
        self.pairs += int(known.sum())
        self.origins += int(known.any(axis=1).sum())
        self._sums["model"] += float(np.abs(actual - quantiles[:, :, self._middle])[known].sum())
        for name, forecast in rivals.items():
            self._sums[name] += float(np.abs(actual - forecast)[known].sum())
        actual, quantiles = actual[known], quantiles[known]
        self._pinball += float(pinball(actual, quantiles, self._levels).mean(axis=-1).sum())
        self._inside += float(covered(actual, quantiles[:, 0], quantiles[:, -1]).sum())

    def scores(self) -> list[Score]:
        """The model first, then its rivals; empty while nothing has matured."""
        if not self.pairs:
            return []
        model = Score("model", self._sums["model"] / self.pairs, self._inside / self.pairs, self._pinball / self.pairs)
        return [model, *(Score(name, total / self.pairs) for name, total in self._sums.items() if name != "model")]


def _by_series(actuals: Sequences, *, regular: bool) -> dict[str, _Series]:
    """Each series' values over all of its runs: by grid index, or by count where every event is a step."""
    series: dict[str, _Series] = {}
    for name, runs in actuals.by_series().items():
        origin_ms = np.concatenate([actuals.origin_ms[actuals.rows(run)] for run in runs])
        values = np.concatenate([actuals.value[actuals.rows(run)] for run in runs])
        position = np.concatenate([actuals.index[run] + np.arange(actuals.length[run]) for run in runs])
        series[name] = _Series(position if regular else np.arange(len(values)), origin_ms, values)
    return series
