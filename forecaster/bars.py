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
    ends = np.append(first[1:], len(items)) - 1
    for name, place in (("first", first), ("last", ends)):
        at = _by_time(items, f"{name}_ms", run)[place]
        for column in (name, f"{name}_ms"):
            joined[column] = np.take_along_axis(items[column], at, axis=0)
    if "covariates" in (items.dtype.names or ()):
        latest = items["last_ms"].reshape(len(items), -1).max(axis=1)
        joined["covariates"] = items["covariates"][np.lexsort((items["born"], latest, run))[ends]]
    return joined


def _by_time(items: np.ndarray, time: str, run: Int) -> Int:
    """The order of `items` in each `run` by the column `time`, of each channel where there are several."""
    columns = items[time].reshape(len(items), -1).T
    order = np.stack([np.lexsort((items["born"], column, run)) for column in columns], axis=1)
    return order.reshape(items[time].shape)


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
