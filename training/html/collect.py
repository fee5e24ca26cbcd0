"""What the page needs of forecasts that pass only once: sums for calibration, and a few forecasts to show.

Memory is bounded: one number an origin, a random sample of forecasts, and the worst of a few series.
"""

import heapq
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.records import Float, Int
from training.backtest import Part

SAMPLE_NUMBERS = 2_000_000  # in all sampled forecasts together
SHOWN = 3  # forecasts of each kind
WORST_SERIES = 12  # whose worst forecasts are kept
RANK_WINDOW = 0.025  # how far from the wanted percentile a forecast may stand to come from another series
PERCENTILES = {"good": 0.05, "typical": 0.5}  # the share of forecasts with a smaller error


@dataclass(frozen=True, slots=True)
class Shown:
    """A forecast to draw: `error` is its mean absolute scaled error, `rank` the share of forecasts below it."""

    series: str
    origin_ms: int
    error: float
    quantiles: Float
    actual: Float
    rank: float = float("nan")


class Collector:
    """Watches a backtest; its scores do not depend on it."""

    def __init__(self, manifest: Manifest) -> None:
        network = manifest.network
        self._step_ms, self._horizon = manifest.step_ms, network.horizon
        self._random = np.random.default_rng(0)
        self._errors: list[np.ndarray] = []
        self._sample: list[tuple[float, Shown]] = []
        self._worst: dict[str, list[Shown]] = {}
        self._highest = np.inf
        self.below: Float = np.zeros((network.outputs, len(network.quantiles)))
        self.known: Float = np.zeros(network.outputs)

    def watch(self, part: Part) -> None:
        """Take in consecutive forecasts of one series."""
        self._calibrate(part)
        scaled = part.losses["mase"]
        known = ~np.isnan(scaled)
        enough = np.flatnonzero(2 * known.sum(axis=1) >= scaled.shape[1])  # of the horizon, to tell good from bad
        if not len(enough):
            return
        error = np.where(known, scaled, 0.0)[enough].sum(axis=1) / known[enough].sum(axis=1)
        self._errors.append(error.astype(np.float32))
        self._keep_sample(part, enough, error)
        self._keep_worst(part, enough, error)

    def _calibrate(self, part: Part) -> None:
        """Count the actuals below each quantile `[horizon, levels]`; one that equals it counts half."""
        actual = part.actual[..., None]
        self.below += (actual < part.quantiles).sum(axis=0) + 0.5 * (actual == part.quantiles).sum(axis=0)
        self.known += (~np.isnan(part.actual)).sum(axis=0)

    def _keep_sample(self, part: Part, rows: Int, error: Float) -> None:
        """A uniform sample of all forecasts: those with the smallest of random priorities."""
        room = int(np.clip(SAMPLE_NUMBERS // part.quantiles[0].size, 64, 4_096))
        priority = self._random.random(len(rows))
        chosen = np.argsort(priority)[:room]
        chosen = chosen[priority[chosen] < self._highest]
        self._sample += [(float(priority[n]), _shown(part, int(rows[n]), float(error[n]))) for n in chosen.tolist()]
        self._sample = heapq.nsmallest(room, self._sample, key=lambda one: one[0])
        self._highest = self._sample[-1][0] if len(self._sample) == room else np.inf

    def _keep_worst(self, part: Part, rows: Int, error: Float) -> None:
        """The worst of each of the worst series: the very worst, then others at least a horizon from it."""
        span_ms = int(part.origin_ms[-1] - part.origin_ms[0])
        apart_ms = self._horizon * (self._step_ms or span_ms / len(part.origin_ms))
        kept = self._worst.get(part.series, [])
        order = np.argsort(-error, kind="stable")
        few = _apart(part.origin_ms[rows[order]].tolist(), apart_ms)
        kept = kept + [_shown(part, int(rows[order[n]]), float(error[order[n]])) for n in few]
        kept.sort(key=lambda one: -one.error)
        self._worst[part.series] = [kept[n] for n in _apart([one.origin_ms for one in kept], apart_ms)]
        if len(self._worst) > WORST_SERIES:
            del self._worst[min(self._worst, key=lambda name: self._worst[name][0].error)]

    def errors(self) -> Float:
        """The mean absolute scaled error of every origin of which half of the horizon is known, ascending."""
        return np.sort(np.concatenate([np.zeros(0, np.float32), *self._errors])).astype(np.float64)

    def shown(self) -> dict[str, list[Shown]]:
        """A few forecasts by kind, "good", "typical" and "worst", on different series where there are several."""
        errors = self.errors()
        if not len(errors):
            return {}

        def ranked(one: Shown) -> Shown:
            rank = float(np.searchsorted(errors, np.float32(one.error)) / len(errors))
            return Shown(one.series, one.origin_ms, one.error, one.quantiles, one.actual, rank)

        sample = [ranked(one) for _, one in self._sample]
        worst = [ranked(one) for kept in self._worst.values() for one in kept]
        found = {kind: _several(_near(sample, share)) for kind, share in PERCENTILES.items()}
        return found | {"worst": _several(sorted(worst, key=lambda one: -one.error))}


def _near(sample: list[Shown], share: float) -> list[Shown]:
    """Those whose rank is about `share`, the nearest first."""
    nearest = sorted(sample, key=lambda one: abs(one.rank - share))
    return [one for one in nearest if abs(one.rank - share) <= RANK_WINDOW] or nearest[:1]


def _shown(part: Part, row: int, error: float) -> Shown:
    return Shown(part.series, int(part.origin_ms[row]), error, part.quantiles[row].copy(), part.actual[row].copy())


def _apart(origin_ms: list[int], apart_ms: float) -> list[int]:
    """Places of the first `SHOWN` that stand a horizon from those before them."""
    chosen: list[int] = []
    for place, time in enumerate(origin_ms):
        if all(abs(time - origin_ms[other]) >= apart_ms for other in chosen):
            chosen.append(place)
        if len(chosen) == SHOWN:
            break
    return chosen


def _several(ordered: Iterable[Shown]) -> list[Shown]:
    """The first `SHOWN` of `ordered`: of series that have none yet, then of the others."""
    first: dict[str, Shown] = {}
    again = [one for one in ordered if first.setdefault(one.series, one) is not one]
    return [*first.values(), *again][:SHOWN]
