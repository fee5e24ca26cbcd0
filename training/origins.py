"""Which observations of a recording are origins of a backtest, and over which rows its errors are normalised."""

from dataclasses import dataclass

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.errors import ConfigError
from forecaster.grid import Grid
from forecaster.records import Float
from forecaster.windows import Block

Rows = tuple[int, int]
NO_END = int(np.iinfo(np.int64).max)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which origins count: those from `start_ms` on, or those whose whole horizon lies in grid rows [A, B).

    Rows are those of the longest series. With neither, origins begin after what the model was trained
    and chosen on. `normalise_rows` are those over which each series' deviation is taken.
    """

    start_ms: int | None = None
    rows: Rows | None = None
    normalise_rows: Rows | None = None


def origin_range(block: Block, grid: Grid, manifest: Manifest, choice: Choice) -> tuple[int, int]:
    """Event times [start, end) of the origins that count."""
    if choice.rows is not None:
        (low, high), horizon = choice.rows, manifest.network.horizon
        if low < 1 or high - horizon < low:
            raise ConfigError(f"--rows {low}:{high}: holds no whole horizon of {horizon} with an origin before it")
        _row_times(block, grid, choice.rows, "--rows")
        return _row_times(block, grid, (low - 1, high - horizon), "--rows")
    if choice.start_ms is not None:
        return choice.start_ms, NO_END
    origin_ms = grid.origin_ms(block.index)
    seen = int(manifest.training.get("validation_end_ms", 0))
    return (seen if int(origin_ms.max()) > seen else int(origin_ms.min())), NO_END


def deviations(block: Block, grid: Grid, rows: Rows | None, series: int) -> Float:
    """Population deviation of every slot over `rows` `[series]`, NaN where there is none to divide by."""
    found = np.full(series, np.nan)
    if rows is None:
        return found
    start_ms, end_ms = _row_times(block, grid, rows, "--normalise-rows")
    origin_ms = grid.origin_ms(block.index)
    inside = np.flatnonzero((origin_ms >= start_ms) & (origin_ms < end_ms) & ~np.isnan(block.value))
    slots, first = np.unique(block.slot[inside], return_index=True)
    for slot, values in zip(slots.tolist(), np.split(block.value[inside], first[1:]), strict=True):
        found[slot] = values.std() or np.nan
    return found


def _row_times(block: Block, grid: Grid, rows: Rows, setting: str) -> tuple[int, int]:
    """Event times of rows A and B of the longest series, B as the first moment behind row B − 1."""
    longest = int(np.bincount(block.slot).argmax())
    index = block.index[block.slot == longest]
    count = len(index) if grid.step_ms is None else int(index[-1] - index[0]) + 1
    low, high = rows
    if not 0 <= low < high <= count:
        raise ConfigError(f"{setting} {low}:{high}: the longest series has rows 0:{count}")
    ends = np.array([low, high - 1])
    first, last = grid.origin_ms(index[ends] if grid.step_ms is None else index[0] + ends).tolist()
    return first, last + 1
