"""Naive rivals of the model, each forecasting from every origin with what was known at that origin.

A rival is a function from origins `[n]`, positions in one run, to forecasts `[n, outputs]`, one for each step of the
horizon or for their aggregate. None of
them drops an origin: where a season ago there is no value, it is the last value that speaks.
"""

import math
from collections.abc import Callable
from itertools import product

import numpy as np

from forecaster.features.running import FeatureStep
from forecaster.records import Float, Int
from training.metrics import pinball

Rival = Callable[[Int], Float]

SMOOTHING = (0.1, 0.01, 0.03, 0.3, 0.6, 1.0)  # rates of the level; the first where there is no past to choose by
EXPONENTIAL_MEANS = np.array([(rate, 0.0, 1.0) for rate in SMOOTHING])
DAMPED_TRENDS = np.array(list(product(SMOOTHING, (0.1, 0.01), (0.9, 0.8, 0.98))))  # level, trend, damping
TUNING_ROUNDS = 4_000
TUNING_ORIGINS = 256
TUNING_STEPS = 24
WINDOW = 256  # errors of each horizon step of which the intervals are quantiles
REFRESH = 24  # rounds between two looks at the errors
WEIGHTED = "last value, weighted quantiles"
HALF_LIVES = (256, 64, 1_024)  # rounds over which its errors lose half of their weight; the first without a past


def rivals(step: FeatureStep, values: Float, seasons: dict[str, int], start: int, horizon: int) -> dict[str, Rival]:
    """All of them over one run of `values` `[rounds]`, NaN where missing; `step` has the run's features.

    `seasons` names lengths in rounds. The rates of the two smoothers are those with the least mean
    absolute error over the rounds before `start`, the first origin that will be scored.
    """
    made = {"last value": _last_value(values, horizon)}
    if not seasons:
        made[WEIGHTED] = made["last value"]
    made |= {f"seasonal naive {name}": _seasonal_naive(values, season, horizon) for name, season in seasons.items()}
    made["exponential mean"] = _tuned(values, EXPONENTIAL_MEANS, start, horizon)
    made["damped Holt"] = _tuned(values, DAMPED_TRENDS, start, horizon)

    def level_and_profile(origin: Int) -> Float:
        baseline = step.baseline(np.zeros(len(origin), np.int64), origin, horizon)
        return step.state.settings.restored(baseline)

    return made | {"level and profile": level_and_profile}


def residual_quantiles(
    rival: Rival, values: Float, origin: Int, levels: Float, ahead: Int, half_life: int | None = None
) -> Float:
    """Quantiles `[n, outputs, levels]` of `rival`: its forecast plus quantiles of its past errors.

    `values` `[rounds]` are what it forecasts `ahead` steps before, `[outputs]`. For each of these the errors are
    the last `WINDOW` that had been seen at the origin, looked at anew every `REFRESH` rounds; with a `half_life`,
    in rounds, those of four of them weigh the less the older they are (after Taylor 2007), looked at anew every
    quarter of a long horizon. Before the first error the interval has no width. `origin` ascends.
    """
    window = WINDOW if half_life is None else 4 * half_life
    horizon, outputs = int(ahead[-1]), len(ahead)
    refreshed = origin - origin % (REFRESH if half_life is None else max(REFRESH, horizon // 4))
    first, last = max(0, int(refreshed[0]) - window + 1), int(refreshed[-1])
    earliest = max(0, first - horizon)
    earlier = rival(np.arange(earliest, last + 1))
    target = np.arange(first, last + 1)[:, None]
    made = target - ahead
    forecast = earlier[np.maximum(made - earliest, 0), np.arange(outputs)]
    begun = int(np.argmax(~np.isnan(values)))
    errors = np.where(made >= begun, values[target] - forecast, np.nan)
    times, which = np.unique(refreshed, return_inverse=True)
    spread: Float = np.empty((len(times), outputs, len(levels)))
    for n, time in enumerate(times.tolist()):
        seen = errors[max(0, time - window + 1 - first) : time + 1 - first]
        spread[n] = _quantiles(seen.T, levels) if half_life is None else _weighted_quantiles(seen.T, levels, half_life)
    quantiles: Float = rival(origin)[..., None] + spread[which]
    return quantiles


def best_half_life(rival: Rival, values: Float, start: int, levels: Float, ahead: Int) -> int:
    """The one of `HALF_LIVES` with the least pinball loss of its first steps over the rounds before `start`."""
    low, few = max(0, start - TUNING_ROUNDS), ahead[:TUNING_STEPS]
    steps = int(few[-1])
    if start - low <= 2 * steps:
        return HALF_LIVES[0]
    origin = np.unique(np.linspace(low + steps, start - steps - 1, TUNING_ORIGINS).astype(np.int64))
    actual = values[origin[:, None] + few]

    def loss(half_life: int) -> float:
        quantiles = residual_quantiles(lambda at: rival(at)[:, : len(few)], values, origin, levels, few, half_life)
        return float(np.nansum(pinball(actual, quantiles, levels)))

    return min(HALF_LIVES, key=loss)


def _quantiles(errors: Float, levels: Float) -> Float:
    """Interpolated quantiles `[rows, levels]` of each row, without its NaNs; 0 where there is nothing else."""
    ordered = np.sort(np.ascontiguousarray(errors), axis=-1)  # NaN comes last
    place = levels * np.maximum((~np.isnan(ordered)).sum(axis=-1) - 1, 0)[:, None]
    low = np.floor(place).astype(np.int64)
    below = np.take_along_axis(ordered, low, -1)
    above = np.take_along_axis(ordered, np.ceil(place).astype(np.int64), -1)
    found: Float = np.nan_to_num(below + (place - low) * (above - below))
    return found


def _weighted_quantiles(errors: Float, levels: Float, half_life: int) -> Float:
    """The same where the newest column weighs 1 and one `half_life` columns before it half of that.

    The smallest error at which the weights up to it, itself by half, reach the level.
    """
    age = np.arange(errors.shape[-1])[::-1]
    weight = np.where(np.isnan(errors), 0.0, 0.5 ** (age / half_life))
    order = np.argsort(errors, axis=-1)
    ordered, weight = np.take_along_axis(errors, order, -1), np.take_along_axis(weight, order, -1)
    share = (np.cumsum(weight, axis=-1) - weight / 2) / np.maximum(weight.sum(axis=-1, keepdims=True), 1e-300)
    known = np.maximum((~np.isnan(errors)).sum(axis=-1), 1)[:, None]
    place = np.stack([(share < level).sum(axis=-1) for level in levels], axis=-1)
    found: Float = np.nan_to_num(np.take_along_axis(ordered, np.minimum(place, known - 1), -1))
    return found


def _last_known(values: Float) -> Float:
    """Each value, or the latest before it along the first axis where it is missing."""
    rounds = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    latest = np.maximum.accumulate(np.where(np.isnan(values), 0, rounds), axis=0)
    return np.take_along_axis(values, latest, 0)


def _last_value(values: Float, horizon: int) -> Rival:
    known = _last_known(values)
    return lambda origin: np.repeat(known[origin][:, None], horizon, axis=1)


def _seasonal_naive(values: Float, season: int, horizon: int) -> Rival:
    """The latest value of each step's phase."""
    known, rounds = _last_known(values), len(values)
    padded = np.pad(values, (0, -rounds % season), constant_values=np.nan)
    of_phase = _last_known(padded.reshape(-1, season)).ravel()
    ahead = np.arange(1, horizon + 1)
    back = ahead - season * -(-ahead // season)

    def forecast(origin: Int) -> Float:
        place = origin[:, None] + back
        found = np.where(place >= 0, of_phase[np.maximum(place, 0)], np.nan)
        return np.where(np.isnan(found), known[origin][:, None], found)

    return forecast


def _smoother(values: Float, rates: Float, horizon: int) -> Rival:
    """Exponential smoothing with a damped trend (Gardner and McKenzie 1985) for each row of `rates`.

    `rates` `[rows, 3]` are those of the level and of the trend, and the damping; a trend at rate 0 is
    none. A missing value moves the level along its trend. Forecasts are `[rows, n, horizon]`.
    """
    rate, trend_rate, damping = rates.T
    level = np.full((len(values), len(rates)), np.nan)
    trend = np.zeros(level.shape)
    now, slope = level[0], trend[0]
    for n, value in enumerate(values.tolist()):
        expected, slope = now + damping * slope, damping * slope
        if not math.isnan(value):
            after = np.where(np.isnan(expected), value, expected + rate * (value - expected))
            slope = np.where(np.isnan(now), 0.0, slope + trend_rate * (after - now - slope))
            expected = after
        level[n] = now = expected
        trend[n] = slope
    damped = np.cumsum(damping[:, None] ** np.arange(1, horizon + 1), axis=1)
    return lambda origin: level[origin].T[..., None] + trend[origin].T[..., None] * damped[:, None, :]


def _tuned(values: Float, candidates: Float, start: int, horizon: int) -> Rival:
    """The smoother with the least mean absolute error before `start`; the first where nothing can be told."""
    part = values[max(0, start - TUNING_ROUNDS) : start]
    best = 0
    if len(part) > horizon:
        origin = np.unique(np.linspace(0, len(part) - horizon - 1, TUNING_ORIGINS).astype(np.int64))
        error = np.abs(part[origin[:, None] + np.arange(1, horizon + 1)] - _smoother(part, candidates, horizon)(origin))
        known = ~np.isnan(error).any(axis=0)
        best = int(error[:, known].mean(axis=1).argmin()) if known.any() else 0
    chosen = _smoother(values, candidates[best : best + 1], horizon)
    return lambda origin: chosen(origin)[0]
