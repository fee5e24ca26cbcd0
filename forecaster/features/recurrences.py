"""Recurrences along arrays without a Python loop per element: O(log n) passes of array operations."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from forecaster.records import Float, Int

Number = TypeVar("Number", np.int64, np.float64)


def running_max(values: NDArray[Number], segment: Int) -> NDArray[Number]:
    """Maximum so far within each run of equal `segment` values; both `[n]`, equal segments adjacent."""
    out = values.copy()
    distance = 1
    while distance < len(out):
        same = segment[distance:] == segment[:-distance]
        if not same.any():
            break
        # the right side is built in full before it is stored, so no element is read after its update
        out[distance:] = np.where(same, np.maximum(out[distance:], out[:-distance]), out[distance:])
        distance *= 2
    return out


def first_at_least(ascending: Int, low: Int, high: Int, target: Int) -> Int:
    """Smallest i in `[low, high)` with `ascending[i] >= target`, else `high`, for every row at once.

    `ascending` need only ascend within each of the ranges; `low`, `high`, `target` are `[n]`.
    """
    low, high = low.copy(), high.copy()
    while (searching := low < high).any():
        middle = (low + high) // 2
        reached = np.zeros(len(low), bool)
        reached[searching] = ascending[middle[searching]] >= target[searching]
        high = np.where(searching & reached, middle, high)
        low = np.where(searching & ~reached, middle + 1, low)
    return low


def exponential_mean(rate: Float, target: Float, start: Float) -> Float:
    """y_t = y_(t-1) + rate_t · (target_t − y_(t-1)) along the last axis, from `start`.

    `rate` in [0, 1] and `target` are `[..., rounds]`, `start` is `[...]`.
    """
    return linear_recurrence(1.0 - rate, rate * target, start)


def linear_recurrence(keep: Float, add: Float, start: Float) -> Float:
    """y_t = keep_t · y_(t-1) + add_t along the last axis, from `start`; overwrites `keep` and `add`.

    `keep` in [0, 1] and `add` are `[..., rounds]`, `start` is `[...]`. Composes the affine maps
    by recursive doubling (Hillis and Steele 1986): all factors lie in [0, 1], so nothing grows.
    """
    if keep.shape[-1] == 1:
        return keep * start[..., None] + add
    distance = 1
    while distance < keep.shape[-1]:
        add[..., distance:] += keep[..., distance:] * add[..., :-distance].copy()
        keep[..., distance:] *= keep[..., :-distance].copy()
        distance *= 2
    return keep * start[..., None] + add


def one_round_earlier(start: Float, path: Float) -> Float:
    """`path` one round earlier along the last axis, beginning with `start`."""
    return np.concatenate([start[..., None], path[..., :-1]], axis=-1)
