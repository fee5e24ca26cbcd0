"""Losses summed as forecasts come, by series, by horizon step and by origin: nothing else is kept."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from forecaster.records import Float, Int
from training.metrics import (
    absolute_error,
    central_intervals,
    covered,
    interval_score,
    pinball,
    squared_error,
    symmetric_percentage_error,
    weighted_quantile_loss,
)

OF_SKILL = ("mase", "pinball")  # kept by origin, to be drawn anew


@dataclass(frozen=True, slots=True)
class Charges:
    """What the losses of one series are measured in, and the trained quantiles.

    `naive` is what MASE divides by, `deviation` what normalised errors divide by, NaN for none.
    """

    levels: tuple[float, ...]
    naive: float
    deviation: float

    def losses(self, actual: Float, point: Float, quantiles: Float) -> dict[str, Float]:
        """Every loss by name, `[n, horizon]`, NaN where it is not known; `size` is |actual|."""
        squared, absolute = squared_error(actual, point), absolute_error(actual, point)
        found = {
            "mse": squared,
            "mae": absolute,
            "mase": absolute / self.naive,
            "smape": symmetric_percentage_error(actual, point),
            "pinball": pinball(actual, quantiles, np.array(self.levels)).mean(axis=-1),
            "size": np.abs(actual),
            "normalised_mse": squared / self.deviation**2,
            "normalised_mae": absolute / self.deviation,
        }
        for share, (low, high) in central_intervals(self.levels).items():
            ends = quantiles[..., low], quantiles[..., high]
            found[f"coverage_{100 * share:g}"] = covered(actual, *ends)
            found[f"winkler_{100 * share:g}"] = interval_score(actual, *ends, share)
        return found


def few_steps(horizon: int) -> list[int]:
    """Horizon steps that stand for all: six at most, from the first to the last by even factors."""
    steps: list[int] = np.unique(np.geomspace(1, horizon, 6).round().astype(np.int64)).tolist()
    return steps


class Tally:
    """Sums of one forecaster's losses over series `[series]` and horizon steps `[horizon]`."""

    def __init__(self, series: int, horizon: int) -> None:
        self._by_series: dict[str, Float] = defaultdict(lambda: np.zeros((2, series)))  # sums, and how many
        self._by_step: dict[str, Float] = defaultdict(lambda: np.zeros((2, horizon)))
        self._by_origin: dict[str, list[list[np.ndarray]]] = {name: [[] for _ in range(series)] for name in OF_SKILL}
        self._few = [step - 1 for step in few_steps(horizon)]

    def add(self, series: int, losses: dict[str, Float]) -> None:
        """Take `losses` `[n, horizon]` of `n` origins of `series`; its origins come in their order."""
        for name, loss in losses.items():
            known = ~np.isnan(loss)
            charged = np.where(known, loss, 0.0)
            self._by_series[name][:, series] += charged.sum(), known.sum()
            self._by_step[name] += charged.sum(axis=0), known.sum(axis=0)
            if name in OF_SKILL:
                kept = np.column_stack([charged.sum(axis=1), charged[:, self._few]])
                self._by_origin[name][series].append(kept)

    def pairs(self) -> Int:
        """How many (origin, step) pairs of each series were scored."""
        counts: Int = self._by_series["mae"][1].astype(np.int64)
        return counts

    def overall(self) -> dict[str, float]:
        """Every metric over all pairs."""
        return {name: float(value) for name, value in _means(self._by_series, over=True).items()}

    def by_series(self) -> dict[str, Float]:
        """Every metric of each series, `[series]`."""
        return _means(self._by_series, over=False)

    def by_step(self) -> dict[str, Float]:
        """Every metric at each horizon step, `[horizon]`."""
        return _means(self._by_step, over=False)

    def by_origin(self, name: str, series: int) -> Float:
        """Losses of each origin of `series` `[origins, 1 + few steps]`: of all steps summed, and at `few_steps`."""
        return np.concatenate([np.zeros((0, 1 + len(self._few))), *self._by_origin[name][series]])


def _means(sums: dict[str, Float], *, over: bool) -> dict[str, Float]:
    """Means from (sums, counts), NaN where nothing counted, with CRPS in place of the size."""
    total = {name: pair.sum(axis=1) if over else pair for name, pair in sums.items()}
    with np.errstate(invalid="ignore"):
        found: dict[str, Float] = {name: loss / count for name, (loss, count) in total.items() if name != "size"}
    return found | {"crps": weighted_quantile_loss(total["pinball"][0], total["size"][0])} if total else {}
