"""The channels of a multivariate series: a row each in what features, windows and network keep, beside each other.

Event time is the series', decided once a tick; from the block of observations on every channel goes its own way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from forecaster.records import Float, Int

if TYPE_CHECKING:  # they use this one
    from forecaster.engines.tile import Emitted
    from forecaster.formats.forecast_json import Forecasts
    from forecaster.windows import Block


@dataclass(frozen=True, slots=True)
class Channels:
    """Their `names`; a series without any is one row, whose number is its slot."""

    names: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Rows of a series."""
        return max(1, len(self.names))

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a value."""
        return (len(self.names),) if self.names else ()

    def rows(self, slots: Int) -> Int:
        """The rows of `slots` `[n]`, one series after another: `[n * width]`."""
        return (slots[:, None] * self.width + np.arange(self.width)).ravel() if self.names else slots

    def by_series(self, rows: np.ndarray) -> np.ndarray:
        """An array `[n * width, …]` over rows as one over series: `[n, channels, …]`, or as it is without any."""
        return rows.reshape(len(rows) // self.width, *self.shape, *rows.shape[1:])

    def by_row(self, series: np.ndarray) -> np.ndarray:
        """The inverse of `by_series`."""
        return series.reshape(len(series) * self.width, *series.shape[1 + len(self.shape) :])

    def row_names(self, series: Sequence[str]) -> list[str]:
        """What the rows of `series` are called."""
        return [f"{name}.{channel}" for name in series for channel in self.names] if self.names else list(series)

    def spread(self, block: "Block") -> tuple["Block", Int]:
        """`block` with a row for each channel, and which of its rows each of these is of."""
        if not self.names:
            return block, np.arange(len(block))
        every = (block.slot[:, None] * self.width + np.arange(self.width)).ravel()
        order = np.argsort(every, kind="stable")
        row, channel = np.divmod(order, self.width)
        spread = replace(
            block,
            slot=every[order],
            index=block.index[row],
            value=block.value[row, channel],
            trigger=block.trigger[row],
            fresh=block.fresh[row],
            covariates=None if block.covariates is None else block.covariates[row],
        )
        return spread, row

    def gathered(self, emitted: "Emitted", row: Int) -> "Emitted":
        """Forecasts of the rows of a block that was `spread`, all channels of each, as those of the block itself.

        `row` are the block's rows that `spread` gave. See `Emitted` for what has an axis of channels then.
        """
        if not self.names:
            return emitted
        emitted = emitted.take(np.lexsort((emitted.row, row[emitted.row])))
        seen = self.by_series(emitted.seen)
        known = seen > 0
        fewest = np.where(known, seen, np.iinfo(np.int64).max).min(axis=1)
        return replace(
            emitted,
            row=row[emitted.row[:: self.width]],
            quantiles=np.where(known[..., None, None], self.by_series(emitted.quantiles), 0.0),
            scale=np.where(known, self.by_series(emitted.scale), np.nan),
            seen=np.where(known.any(axis=1), fewest, 0),
        )

    def apart(self, forecasts: "Forecasts") -> "Iterator[Forecasts]":
        """`forecasts` of one channel after another, each under its row's name, without those that are unknown."""
        if not self.names:
            yield forecasts
        for place, channel in enumerate(self.names):
            names = [f"{name}.{channel}" for name in forecasts.series]
            scale = forecasts.scale[:, place]
            one = replace(forecasts, series=names, quantiles=forecasts.quantiles[:, place], scale=scale)
            yield one.take(~np.isnan(scale))


def with_channel(inputs: np.ndarray, channel: Int) -> np.ndarray:
    """`inputs` `[…, n]` with the number of their `channel` behind, which spreads over theirs: `[…, n + 1]`."""
    column = np.broadcast_to(channel[..., None], (*inputs.shape[:-1], 1))
    return np.concatenate([inputs, column.astype(np.float32)], axis=-1)


def least(value: Float) -> Float:
    """The lowest of the known numbers of each value, `[n]` of `[n]` or `[n, channels]`; NaN where there is none."""
    lowest: Float = value if value.ndim == 1 else np.fmin.reduce(value, axis=1)
    return lowest
