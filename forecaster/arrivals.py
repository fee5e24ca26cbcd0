"""The ticks of one poll batch in the light of their partition's event time: what each of them completes."""

from typing import TYPE_CHECKING

import numpy as np

from forecaster.features.recurrences import first_at_least, running_max
from forecaster.grid import NEVER, OPEN
from forecaster.records import Bool, Float, Int

if TYPE_CHECKING:  # it uses this one
    from forecaster.event_time import EventTime


class Arrivals:
    """The ticks of one poll batch, with the partition's event time at each of them."""

    def __init__(
        self, state: "EventTime", slot: Int, time_ms: Int, value: Float, covariates: Float | None = None
    ) -> None:
        self.slot, self.time_ms, self.value, self.covariates = slot, time_ms, value, covariates
        self.index = state.grid.index(time_ms)
        self._state = state
        partition = state.partition[slot]
        partitions = max(len(state.partition_watermark), int(partition.max(initial=-1)) + 1)
        more = partitions - len(state.partition_watermark)
        self._before = np.append(state.partition_watermark, np.full(more, NEVER))
        self.event_time = running_max(np.maximum(time_ms, self._before[partition]), partition)
        self._complete = self._grid_complete(self.event_time)
        # the rows of each partition; empty for one that has no record in this batch
        self._low, self._high = np.zeros(partitions, np.int64), np.zeros(partitions, np.int64)
        bounds = np.flatnonzero(np.diff(partition, prepend=-1, append=-1))
        self._low[partition[bounds[:-1]]], self._high[partition[bounds[:-1]]] = bounds[:-1], bounds[1:]

    def _grid_complete(self, watermark_ms: Int) -> Int:
        return self._state.grid.complete(watermark_ms - self._state.allowed_lateness_ms)

    def partition_watermark(self) -> Int:
        """Event time of every partition after this batch."""
        after, present = self._before.copy(), self._high > self._low
        after[present] = self.event_time[self._high[present] - 1]
        return after

    def items(self, positions: Int) -> np.ndarray:
        """The ticks at `positions` as items of one tick each."""
        items: np.ndarray = np.zeros(len(positions), self._state.item)
        value = self.value[positions]
        time_ms = self.time_ms[positions] if value.ndim == 1 else self.time_ms[positions, None]
        known = ~np.isnan(value)
        items["slot"], items["index"], items["born"] = self.slot[positions], self.index[positions], positions
        items["count"], items["sum"] = known, np.where(known, value, 0.0)
        items["low"], items["high"] = np.where(known, value, np.inf), np.where(known, value, -np.inf)
        items["first"] = items["last"] = value
        items["first_ms"], items["last_ms"] = np.where(known, time_ms, OPEN), np.where(known, time_ms, NEVER)
        if self.covariates is not None:
            items["covariates"] = self.covariates[positions]
        return items

    def passed(self, held: np.ndarray) -> Bool:
        """Which held items the partition's event time has passed by the end of this batch."""
        after, slot = self.partition_watermark()[self._state.partition[held["slot"]]], held["slot"]
        passed: Bool = self._grid_complete(after) >= held["index"]
        return passed | self._state.ended(self._state.touched_ms[slot], after)

    def close_positions(self, items: np.ndarray, order: Int) -> Int:
        """Position of the tick that completes each item, `OPEN` where none of this batch does.

        `order` are the positions of the ticks that count, by slot; held items have `born` −1.
        """
        slot = self.slot[order]
        own = self._grid_complete(running_max(np.maximum(self.time_ms[order], self._state.watermark[slot]), slot))
        row_of = np.zeros(len(self.slot), np.int64)
        row_of[order] = np.arange(len(order))
        new = items["born"] >= 0
        low = np.where(new, row_of[items["born"]], np.searchsorted(slot, items["slot"]))
        high = np.searchsorted(slot, items["slot"], "right")
        row = first_at_least(own, low, high, items["index"])
        close = np.where(row < high, np.append(order, OPEN)[row], OPEN)

        partition = self._state.partition[items["slot"]]
        start = np.where(new, items["born"], self._low[partition])
        end = self._high[partition]
        row = first_at_least(self._complete, start, end, items["index"])
        before = np.where(new, self._complete[items["born"]], self._grid_complete(self._before)[partition])
        crossed = (before < items["index"]) & (row < end)
        close = np.where(crossed, np.minimum(close, row), close)
        if self._state.idle_ttl_ms is None:
            return close
        ends_ms = self._state.touched_ms[items["slot"]] + self._state.idle_ttl_ms
        row = first_at_least(self.event_time, start, end, ends_ms + 1)
        return np.where(row < end, np.minimum(close, row), close)
