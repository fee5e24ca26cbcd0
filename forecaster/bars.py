"""One observation made of all ticks of a step."""

import numpy as np

from forecaster.records import Float, Int


def join_bars(items: np.ndarray, first: Int) -> np.ndarray:
    """Fold runs of `items` that start at rows `first` into one item each; `items` are by slot and index."""
    joined = items[first].copy()
    if not len(first):
        return joined
    for name, fold in (("count", np.add), ("sum", np.add), ("low", np.minimum), ("high", np.maximum)):
        joined[name] = fold.reduceat(items[name], first)
    run = np.repeat(np.arange(len(first)), np.diff(np.append(first, len(items))))
    opening = np.lexsort((items["born"], items["first_ms"], run))[first]
    closing = np.lexsort((items["born"], items["last_ms"], run))[np.append(first[1:], len(items)) - 1]
    joined["first"], joined["first_ms"] = items["first"][opening], items["first_ms"][opening]
    joined["last"], joined["last_ms"] = items["last"][closing], items["last_ms"][closing]
    if "covariates" in (items.dtype.names or ()):
        joined["covariates"] = items["covariates"][closing]
    return joined


def bar_value(items: np.ndarray, bar: str | None) -> Float:
    """The observation that each item makes; NaN where no tick of it had a value."""
    column = {None: "last", "min": "low", "max": "high"}.get(bar, bar)
    if column == "mean":
        value = items["sum"] / np.maximum(items["count"], 1)
    elif column == "ohlc-mean":
        value = (items["first"] + items["high"] + items["low"] + items["last"]) / 4
    else:
        value = items[column].astype(np.float64)
    return np.where(items["count"] > 0, value, np.nan)
