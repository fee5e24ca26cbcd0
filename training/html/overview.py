"""The recorded series as little as a picture needs: envelopes, gaps, and counts."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from forecaster.records import Bool, Float, Int
from training.observed import Observed

BUCKETS = 600  # across the width of a picture
MOST_SERIES = 12


@dataclass(frozen=True, slots=True)
class Outline:
    """Lowest and highest value of each bucket of time as one zigzag, NaN between buckets where a gap lies.

    `gap_ms` are the middles of the buckets that miss values, `lost` the share of its values that each misses.
    """

    time_ms: Float
    value: Float
    gap_ms: Float
    lost: Float


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one series: `missing` observations came without a value, `filled` steps did not come at all."""

    ticks: int
    observations: int
    missing: int
    filled: int
    restarts: int
    late: int
    duplicate: int


def count(observed: Observed, slot: int) -> Counts:
    """What became of the ticks of one series."""
    block, rows, name = observed.block, observed.of(slot), observed.series[slot]
    real = block.trigger[rows] >= 0
    return Counts(
        ticks=observed.ticks[name],
        observations=int(real.sum()),
        missing=int((real & np.isnan(block.value[rows])).sum()),
        filled=int((~real).sum()),
        restarts=int(block.fresh[rows].sum()) - 1,
        late=observed.late[name],
        duplicate=observed.duplicate[name],
    )


def outline(observed: Observed, slot: int) -> Outline:
    """One series over its own span of time, in `2 * BUCKETS` points at most."""
    time_ms, value = observed.values(slot)
    edges = np.linspace(time_ms[0], time_ms[-1] + 1, BUCKETS + 1)
    middle = (edges[:-1] + edges[1:]) / 2
    bucket = np.searchsorted(edges, time_ms, "right") - 1
    missing, silent = np.isnan(value), _jumped(bucket, observed.block.fresh[observed.of(slot)])
    lost = np.bincount(bucket[missing], minlength=BUCKETS) / np.maximum(np.bincount(bucket, minlength=BUCKETS), 1)
    lost[silent] = 1
    gaps = middle[lost > 0], lost[lost > 0]
    if len(value) <= 2 * BUCKETS:
        return Outline(*_broken(time_ms.astype(np.float64), value, bucket, silent, middle), *gaps)
    bucket, value = bucket[~missing], value[~missing]
    first = np.flatnonzero(np.diff(bucket, prepend=-1))
    ends = [reduce.reduceat(value, first) if len(first) else value for reduce in (np.minimum, np.maximum)]
    own = np.repeat(bucket[first], 2)
    empty = np.setdiff1d(np.arange(BUCKETS), bucket)
    return Outline(*_broken(middle[own], np.stack(ends, axis=1).ravel(), own, empty, middle), *gaps)


def _jumped(bucket: Int, fresh: Bool) -> Int:
    """Buckets between the last observation before a restart and the `fresh` one after it."""
    jumps = np.flatnonzero(fresh[1:])
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(bucket[n] + 1, bucket[n + 1]) for n in jumps)])


def _broken(time_ms: Float, value: Float, bucket: Int, empty: Int, middle: Float) -> tuple[Float, Float]:
    """The line with a NaN in each of the `empty` buckets: not drawn across them."""
    place = np.searchsorted(bucket, empty)
    return np.insert(time_ms, place, middle[empty]), np.insert(value, place, np.nan)


def telling(observed: Observed, scores: dict[str, Any] | None) -> list[int]:
    """Slots of the series to draw: all of a few, else the worst forecast, the best, and the most missing."""
    slots = range(len(observed.series))
    if len(slots) <= MOST_SERIES:
        return list(slots)
    lost = [count(observed, slot) for slot in slots]
    gappy = sorted(slots, key=lambda slot: -(lost[slot].missing + lost[slot].filled))
    ranked = by_error(scores)
    third = MOST_SERIES // 3
    chosen = dict.fromkeys([*ranked[:third], *ranked[::-1][:third], *gappy])
    return sorted(list(chosen)[:MOST_SERIES])


def by_error(scores: dict[str, Any] | None) -> list[int]:
    """Slots that have a scaled error, the worst first."""
    if scores is None:
        return []
    errors = [one["scores"]["model"].get("mase") for one in scores["by_series"].values()]
    return sorted((n for n, error in enumerate(errors) if error is not None), key=lambda n: -errors[n])
