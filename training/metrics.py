"""What a forecast is charged, per (origin, horizon step): pure functions of arrays.

`actual` and `point` are `[…, horizon]`, `quantiles` `[…, horizon, levels]` ascending in `levels`.
Where the actual is not known, a loss is NaN.
"""

import numpy as np

from forecaster.records import Float, Int

SHARES = (0.5, 0.8, 0.9, 0.95)  # of the outcomes that the reported central intervals should hold


def squared_error(actual: Float, point: Float) -> Float:
    """(y − f)²."""
    error: Float = np.square(actual - point)
    return error


def absolute_error(actual: Float, point: Float) -> Float:
    """|y − f|."""
    error: Float = np.abs(actual - point)
    return error


def symmetric_percentage_error(actual: Float, point: Float) -> Float:
    """200 |y − f| / (|y| + |f|), 0 where both are 0 (Makridakis 1993, as the M4 competition took it)."""
    size = np.abs(actual) + np.abs(point)
    error: Float = 200 * np.abs(actual - point) / np.where(size == 0, 1.0, size)
    return error


def pinball(actual: Float, quantiles: Float, levels: Float) -> Float:
    """Quantile loss `[…, horizon, levels]` (Koenker and Bassett 1978)."""
    error = actual[..., None] - quantiles
    loss: Float = np.maximum(levels * error, (levels - 1) * error)
    return loss


def weighted_quantile_loss(pinball_sum: Float | float, size_sum: Float | float) -> Float:
    """CRPS as mean weighted quantile loss: 2 · mean pinball over the levels / mean |y|, both as sums."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Float = 2 * np.asarray(pinball_sum) / np.asarray(size_sum)
    return ratio


def central_intervals(levels: tuple[float, ...]) -> dict[float, tuple[int, int]]:
    """The shares of `SHARES` whose interval `levels` offer, with the places of its two ends."""
    offered = {}
    for share in SHARES:
        ends = [np.flatnonzero(np.isclose(levels, (1 + sign * share) / 2)) for sign in (-1, 1)]
        if all(len(end) for end in ends):
            offered[share] = (int(ends[0][0]), int(ends[1][0]))
    return offered


def covered(actual: Float, low: Float, high: Float) -> Float:
    """1 where the actual lies in [low, high], else 0; NaN where it is not known."""
    inside: Float = np.where(np.isnan(actual), np.nan, (low <= actual) & (actual <= high))
    return inside


def interval_score(actual: Float, low: Float, high: Float, share: float) -> Float:
    """Winkler's score of a central interval: its width, and 2 / (1 − share) times what lies outside (1972)."""
    outside = np.maximum(low - actual, 0) + np.maximum(actual - high, 0)
    score: Float = (high - low) + 2 / (1 - share) * outside
    return score


def crossings(quantiles: Float) -> int:
    """How many neighbouring quantiles stand in the wrong order."""
    return int((np.diff(quantiles, axis=-1) < 0).sum())


def naive_scale(values: Float, season: int) -> float:
    """Mean |y_t − y_(t−season)| `[rounds]`: what MASE divides by (Hyndman and Koehler 2006); NaN where it is 0."""
    steps = np.abs(values[season:] - values[: len(values) - season])
    steps = steps[~np.isnan(steps)]
    return float(steps.mean()) if len(steps) and steps.mean() > 0 else float("nan")


def block_skill(model: Float, rival: Float, block: int, draws: int, random: np.random.Generator) -> Float:
    """Skill 1 − Σ model / Σ rival in `draws` resamples of the origins, whose losses these are, `[origins]`.

    Circular block bootstrap (Politis and Romano 1992): forecasts of neighbouring origins share most
    of their actuals, so whole blocks of `block` origins are drawn.
    """
    count = len(model)
    block = max(1, min(block, count))
    starts: Int = random.integers(0, count, (draws, -(-count // block)))
    sums = []
    for loss in (model, rival):
        with np.errstate(over="ignore", invalid="ignore"):  # what is not finite says so in the skill
            running = np.concatenate([[0.0], np.cumsum(np.concatenate([loss, loss[:block]]))])
            sums.append((running[block:] - running[:-block])[starts].sum(axis=1))
    with np.errstate(divide="ignore", invalid="ignore"):
        skill: Float = 1 - sums[0] / sums[1]
    return skill
