"""The aggregate of a horizon: one number in the place of its steps."""

from collections.abc import Callable
from typing import Any

import numpy as np

from forecaster.config import Aggregate
from forecaster.records import Float, Int

REDUCED: dict[Aggregate, Callable[..., Any]] = {"mean": np.mean, "min": np.min, "max": np.max}


def aggregated(steps: Float, aggregate: Aggregate | None) -> Float:
    """`steps` `[n, horizon, …]` as their aggregate `[n, 1, …]`, or as they are where there is none.

    A mean, minimum or maximum is NaN where any of its steps is: all of them count.
    """
    if aggregate is None:
        return steps
    if aggregate == "last":
        return steps[:, -1:]
    one: Float = REDUCED[aggregate](steps, axis=1, keepdims=True)
    return one


def trailing(values: Float, horizon: int, aggregate: Aggregate | None) -> Float:
    """`values` `[rounds]` of a run as each round completes them: the aggregate of the `horizon` rounds up to it.

    As they are where there is none; NaN while a step that counts has not come.
    """
    if aggregate is None:
        return values
    padded = np.concatenate([np.full(horizon - 1, np.nan), values])
    return aggregated(np.lib.stride_tricks.sliding_window_view(padded, horizon), aggregate)[:, 0]


def completed_after(horizon: int, aggregate: Aggregate | None) -> Int:
    """How many steps after its origin each number of a forecast can be held against what came, `[outputs]`."""
    return np.array([horizon]) if aggregate else np.arange(1, horizon + 1)
