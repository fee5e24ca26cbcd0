"""Causal features of every series at O(1) work per observation, and their inverse.

For each series: `level`s (exponential means over several spans), a seasonal `profile` per season
(exponential mean per phase of what the level leaves over), a `scale` (mean absolute error of the
one-step baseline), faster ones beside it, and exponential means of the residual. The *baseline* of step
h is the first level plus the profiles at that step's phase; the network forecasts (value − baseline) /
scale, one over windows (value − last value) / scale. With `transform = "log"` all of this is of the
values' logarithms.

Each profile has `recent` ones beside it, which follow the last few visits of a phase; what they differ
by from the profile at a step's phase is an input of that step: the network weighs old against new. Known covariates
are inputs of it too.

Levels and scales are float64: a float32 mean at a rate of 1/2,880 never moves from 100,000 toward 100,010.
Profiles are kept relative to the level, the recent ones relative to theirs, and move fast: float32 is enough.
"""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np

from forecaster.calendar.seasons import Season, seasons_of
from forecaster.config import Aggregate
from forecaster.features.profiles import ProfilePath
from forecaster.features.recurrences import exponential_mean, one_round_earlier
from forecaster.features.settings import LAST, FeatureSettings
from forecaster.records import Bool, Float, Int
from forecaster.series import with_room

CLIP = 10.0
STATE = "seen", "level", "residual_mean", "scale", "volatility", "profile", "recent", "visits"
SMALLEST_SCALE = 1e-10  # of the level: below what float64 resolves of a level times a unit weight


class Features:
    """The feature state of every slot; `advance` computes, the step it returns commits."""

    def __init__(self, settings: FeatureSettings) -> None:
        self.settings = settings
        self.seasons = seasons_of(settings.seasons, settings.clock)
        self.offsets = tuple(accumulate(settings.seasons, initial=0))
        self.seen = np.zeros(0, np.int64)
        self.level = np.zeros((0, len(settings.level_spans)))
        self.residual_mean = np.zeros((0, len(settings.residual_spans)))
        self.scale = np.zeros(0)
        self.volatility = np.zeros((0, len(settings.volatility_spans)))
        self.profile = np.zeros((0, self.offsets[-1]), np.float32)
        self.recent = np.zeros((0, len(settings.recent_rates), self.offsets[-1]), np.float32)
        self.visits = np.zeros((0, self.offsets[-1]), _counting(settings))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every state array by name, slots first."""
        return {name: getattr(self, name) for name in STATE}

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`."""
        for name, array in self.arrays().items():
            setattr(self, name, with_room(array, capacity))

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state of a series never seen."""
        for array in self.arrays().values():
            array[slots] = 0

    def advance(self, slot: Int, index: Int, values: Float, covariates: Float | None = None) -> "FeatureStep":
        """Take `values` `[series, rounds]` from grid index `index` `[series]` on, NaN where missing.

        `covariates` are rows `[series, rounds, width]`, all missing if not given.
        Nothing changes until the returned step is committed. Rounds past a series' last one must be NaN: they leave its
        state as it is.
        """
        settings = self.settings
        values = settings.transformed(values)
        valid = ~np.isnan(values)
        known = np.where(valid, values, 0.0)
        seen = self.seen[slot][:, None] + np.cumsum(valid, axis=1)

        def means(spans: tuple[float, ...], target: Float, stored: Float) -> Float:
            rate = _rate(valid, seen, np.array(spans)[:, None, None])
            return exponential_mean(rate, np.broadcast_to(target, (len(spans), *target.shape)), stored[slot].T)

        level = means(settings.level_spans, known, self.level)
        profiles, expected = [], one_round_earlier(self.level[slot, 0], level[0])
        residual = known - level[0]
        for number, season in enumerate(self.seasons):
            columns = slice(self.offsets[number], self.offsets[number + 1])
            stored = self.profile[:, columns], self.recent[..., columns], self.visits[:, columns]
            path = ProfilePath(*stored, slot, index, season)
            expected = expected + path.follow(
                np.where(valid, residual, 0.0), valid, settings.profile_rate, settings.recent_rates
            )
            residual = residual - path.after
            profiles.append(path)
        residual = np.where(valid, residual, 0.0)
        innovation = np.where(valid & (seen > 1), known - expected, 0.0)

        first_error = settings.first_scale * (np.abs(known) if settings.transform == "none" else 1.0)
        error = np.where(seen > 1, np.abs(innovation), first_error)
        scale = exponential_mean(_rate(valid, seen, settings.scale_span), error, self.scale[slot])
        volatility = means(settings.volatility_spans, error, self.volatility)
        residual_mean = means(settings.residual_spans, residual, self.residual_mean)
        if covariates is None:
            covariates = np.broadcast_to(np.nan, (*values.shape, settings.covariates.width))
        return FeatureStep(
            self, slot, index, valid, seen, level, profiles, residual, innovation, scale, volatility, residual_mean,
            covariates,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class FeatureStep:
    """The features of a tile: arrays `[series, rounds]`, or `[spans, series, rounds]`; rows of `covariates` last."""

    state: Features
    slot: Int
    index: Int
    valid: Bool
    seen: Int
    level: Float
    profiles: list["ProfilePath"]
    residual: Float
    innovation: Float
    scale: Float
    volatility: Float
    residual_mean: Float
    covariates: Float

    def safe_scale(self) -> Float:
        """The scale to divide by and to multiply with: never zero."""
        smallest: Float = SMALLEST_SCALE * np.maximum(np.abs(self.level[0]), SMALLEST_SCALE)
        return np.maximum(self.scale, smallest)

    def inputs(self) -> np.ndarray:
        """What the network sees: float32 `[series, rounds, inputs]`, in the order of `input_names`."""
        scaled = np.concatenate(
            [self.residual[None], self.residual_mean, self.level[:1] - self.level[1:], self.innovation[None]]
        )
        scale = self.safe_scale()
        scaled = np.clip(scaled / scale, -CLIP, CLIP)
        volatility = np.log(np.clip(self.volatility / scale, 1 / CLIP, CLIP))
        plain = [~self.valid, 1.0 / np.sqrt(np.maximum(self.seen, 1))]
        time = self.index[:, None] + np.arange(self.valid.shape[1])
        plain += waves(time, self.state.seasons)
        stacked = np.moveaxis(np.concatenate([scaled, volatility, np.stack(plain).astype(float)]), 0, -1)
        if (given := self.state.settings.covariates).names:
            stacked = np.concatenate([stacked, given.inputs(self.covariates)], axis=-1)
        return np.ascontiguousarray(stacked, dtype=np.float32)

    def baseline(self, row: Int, column: Int, horizon: int, aggregate: Aggregate | None = None) -> Float:
        """Level plus profiles of the next steps, or their aggregate, as known at (row, column): `[n, outputs]`."""
        return self.state.settings.aggregated(self.expected(row, column, np.arange(1, horizon + 1)), aggregate)

    def expected(self, row: Int, column: Int, steps: Int) -> Float:
        """Level plus profiles `steps` after (row, column), 0 and below at it and before: `[n, len(steps)]`."""
        total = np.repeat(self.level[0, row, column][:, None], len(steps), axis=1)
        for path in self.profiles:
            total += path.ahead(row, column, steps)
        return total

    def last(self) -> Float:
        """The last known value at every round, transformed: `[series, rounds]`; it takes a level over one step."""
        last: Float = self.level[self.state.settings.level_spans.index(LAST)]
        return last

    def forecast(self, row: Int, column: Int, scaled: np.ndarray, baseline: Float) -> tuple[Float, Float]:
        """Values for the network's outputs `scaled` `[n, horizon, quantiles]`, and the series' scale `[n]` in them.

        The outputs are counted from `baseline`, `[n, horizon]`, or `[n, 1]` where it is the same at every step.
        """
        scale, settings = self.safe_scale()[row, column], self.state.settings
        values = settings.restored(baseline[..., None] + scale[:, None, None] * scaled.astype(np.float64))
        return values, scale if settings.transform == "none" else scale * np.exp(self.level[0, row, column])

    def recent(self, row: Int, column: Int, horizon: int, aggregate: Aggregate | None = None) -> np.ndarray:
        """What recent profiles move the baseline of the next steps by: float32 `[n, outputs, recents]`, scaled."""
        ahead, rates = np.arange(1, horizon + 1), len(self.state.settings.recent_rates)
        found: np.ndarray = np.zeros((len(row), horizon, self.state.settings.recents), np.float32)
        for number, path in enumerate(self.profiles if rates else []):
            found[..., number * rates : (number + 1) * rates] = path.recent_ahead(row, column, ahead)
        if aggregate is not None:
            found = self.state.settings.moved(self.baseline(row, column, horizon), found, aggregate)
        scale = self.safe_scale()[row, column][:, None, None]
        return np.clip(found / scale, -CLIP, CLIP).astype(np.float32)

    def ahead(self, row: Int, column: Int, horizon: int, aggregate: Aggregate | None = None) -> np.ndarray:
        """What is known of the next steps: `recent`, and behind it what is seen of their covariates."""
        recent, given = self.recent(row, column, horizon, aggregate), self.state.settings.covariates
        if not given.known:
            return recent
        steps = given.steps(self.covariates[row, column])
        return np.concatenate([recent, given.seen_ahead(steps, aggregate)], axis=-1)

    def commit(self) -> None:
        """Make the state after the last round the state of the series."""
        state, slot = self.state, self.slot
        state.seen[slot] = self.seen[:, -1]
        state.level[slot] = self.level[:, :, -1].T
        state.residual_mean[slot] = self.residual_mean[:, :, -1].T
        state.scale[slot] = self.scale[:, -1]
        state.volatility[slot] = self.volatility[:, :, -1].T
        for path in self.profiles:
            path.commit()


def waves(index: Int, seasons: list[Season]) -> list[Float]:
    """Calendar terms of grid `index`: sine and cosine of the first two harmonics of each season."""
    phases = [(season.phase(index), season.length) for season in seasons]
    angles = [2 * np.pi * k * phase / length for phase, length in phases for k in (1, 2)]
    return [wave(angle) for angle in angles for wave in (np.sin, np.cos)]


def _counting(settings: FeatureSettings) -> np.dtype:
    """Counts visits of a phase for as long as their number still decides any rate."""
    slowest = min(settings.profile_rate, *settings.recent_rates, 1.0)
    return np.min_scalar_type(int(1 / slowest) + 1)


def _rate(valid: Bool, seen: Int, span: Float | float) -> Float:
    """Rate of an exponential mean over `span` steps: a plain mean while fewer have been seen."""
    rate: Float = np.where(valid, np.maximum(1.0 / np.asarray(span), 1.0 / np.maximum(seen, 1)), 0.0)
    return rate
