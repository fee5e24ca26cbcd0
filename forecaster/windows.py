"""From ticks to the block of new observations: slots, event time, gaps, and the sliding windows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from forecaster.channels import Channels
from forecaster.config import StateSettings, StreamSettings
from forecaster.event_time import EventTime, Observations
from forecaster.grid import NEVER, Grid
from forecaster.records import Bool, Float, Int
from forecaster.rings import RINGS, Rings
from forecaster.series import Slots, copied, with_room

CHUNK = 1024
BATCH_ROOM = 8 * CHUNK  # above the limit of series, for the new ones of a batch: they come before the old ones leave


@dataclass(frozen=True, slots=True)
class Block:
    """New observations by slot, each series' rows in time order; `m` rows.

    `value` is `[m]`, or `[m, channels]` of multivariate series until `Channels` spreads them, NaN where the observation
    is missing. `trigger` is the position of the tick that completed it, −1 for a step filled into a gap. `fresh` marks
    the first row of a series that starts or starts anew: its state is forgotten before the row. `covariates` are rows
    `[m, width]`, None where there are none.
    """

    slot: Int
    index: Int
    value: Float
    trigger: Int
    fresh: Bool
    covariates: Float | None = None

    def __len__(self) -> int:
        return len(self.slot)

    def runs(self) -> tuple[Int, Int]:
        """First row and length of each run: rows of one series without a restart between."""
        starts = self.fresh.copy()
        starts[:1] = True
        starts[1:] |= self.slot[1:] != self.slot[:-1]
        first = np.flatnonzero(starts)
        return first, np.diff(np.append(first, len(self)))

    def waves(self) -> Iterator[tuple[Int, Int]]:
        """Runs (first rows, lengths) such that within a wave each series has at most one."""
        first, length = self.runs()
        slot = self.slot[first]
        order = np.arange(len(first)) - np.searchsorted(slot, slot)
        for wave in range(int(order.max(initial=-1)) + 1):
            yield first[order == wave], length[order == wave]


class Windows:
    """Event time, slots and the last `context_length` observations of every series, a ring for each of its channels.

    Without `state` no series ever ends for being idle. Ticks bring rows of so many numbers of `covariates`, of which
    the first `kept` are kept beside each observation.
    """

    def __init__(
        self,
        stream: StreamSettings,
        context_length: int,
        state: StateSettings | None = None,
        covariates: int = 0,
        kept: int = 0,
        channels: tuple[str, ...] = (),
    ) -> None:
        self.grid = Grid.of(stream)
        self.slots = Slots()
        self.channels = Channels(channels)
        idle_ttl_ms = state.idle_ttl if state else None
        held = stream.allowed_lateness, stream.late_restart, idle_ttl_ms, covariates, self.channels.shape
        self.event_time = EventTime(self.grid, *held)
        self._max_series = state.max_series if state else None
        self.rings = Rings(context_length, state.window_type if state else "float32", kept)
        gap_ms = stream.gap_limit_ms(context_length)
        self._longest_gap = None if gap_ms is None else gap_ms // (stream.step or 1)
        self.changed = np.zeros(0, bool)  # slots whose state has moved since a checkpoint cleared them
        self._used = 0  # rows that have ever belonged to a series
        self.filled = 0
        self.gap_restarts = 0
        self.closed_bars = 0

    @property
    def capacity(self) -> int:
        """Series that the state arrays have room for."""
        return len(self.changed)

    def admit(
        self, partition: Int, series: list[str], time_ms: Int, value: Float, covariates: Float | None = None
    ) -> tuple[Int, Block]:
        """Outcome of each tick (of `event_time`) and the block of observations they complete.

        All arguments are `[n]` in record order, grouped by partition, none of them in closed hours; `value` is
        `[n, channels]` where there are any, `covariates` are rows `[n, width]`.
        """
        slot = self.slots.assign(partition, series)
        self.grow()
        self.event_time.partition[slot] = partition
        outcome, observations = self.event_time.admit(slot, self.grid.own_ms(time_ms), value, covariates)
        self.changed[slot] = self.changed[observations.slot] = True
        self.closed_bars += len(observations.slot) if self.grid.bar else 0
        return outcome, self._fill(observations)

    def rows(self, slots: Int) -> dict[str, np.ndarray]:
        """A copy of the state of `slots` by name, slots first."""
        times = {name: copied(array, slots) for name, array in self.event_time.arrays().items()}
        rings = self.rings.rows(self.channels.rows(slots))
        return {name: self.channels.by_series(array) for name, array in rings.items()} | times

    def put(self, slots: Int, rows: Mapping[str, np.ndarray]) -> None:
        """Make `rows`, as `rows` gave them, the state of `slots`."""
        rings = {name: self.channels.by_row(rows[name]) for name in RINGS if name in rows}
        self.rings.put(self.channels.rows(slots), rings)
        for name, array in self.event_time.arrays().items():
            array[slots] = rows[name]

    def grow(self, more: int = 0) -> None:
        """Make room for every slot that is assigned, and for `more`."""
        used = len(self.slots.names)
        need = max(used, len(self.slots) + more)
        if need > self.capacity:
            roomy = max(self.capacity * 3 // 2, CHUNK)
            if self._max_series is not None:
                roomy = min(roomy, self._max_series + BATCH_ROOM)
            rows = max(roomy, -(-need // CHUNK) * CHUNK)
            self.rings.grow(rows * self.channels.width)
            self.changed = with_room(self.changed, rows)
            self.event_time.grow(rows)
        self.rings.forget(slice(self._used * self.channels.width, used * self.channels.width))
        self._used = max(used, self._used)

    def _fill(self, seen: Observations) -> Block:
        """Missing steps in gaps up to the limit; beyond it, or at its start, the series is fresh."""
        fresh = seen.previous == NEVER
        gap = np.where(fresh, 0, seen.index - seen.previous - (self.grid.step_ms is not None))
        if self._longest_gap is not None:
            too_long = gap > self._longest_gap
            self.gap_restarts += int(too_long.sum())
            fresh |= too_long
        missing = np.where(fresh | (self.grid.step_ms is None), 0, gap)
        self.filled += int(missing.sum())

        row = np.repeat(np.arange(len(missing)), missing + 1)
        behind = np.cumsum(missing + 1)[row] - 1 - np.arange(len(row))
        real = behind == 0
        value, given = seen.value[row], seen.covariates
        value[~real] = np.nan
        return Block(
            slot=seen.slot[row],
            index=seen.index[row] - behind,
            value=value,
            trigger=np.where(real, seen.trigger[row], -1),
            fresh=fresh[row] & real,
            covariates=None if given is None else np.where(real[:, None], given[row], np.nan),
        )

    def forget(self, slots: Int) -> None:
        """Empty the rings of `slots`; their event time goes on."""
        self.rings.forget(self.channels.rows(slots))

    def rounds(self, slots: Int) -> Int:
        """How many observations each of `slots` has had."""
        return self.rings.rounds[slots * self.channels.width]

    def evict(self, slots: Int) -> int:
        """Forget the series of single `slots`; returns how many observations (or open bars) they held back."""
        held = int(np.isin(self.event_time.held["slot"], slots).sum())
        self.slots.evict(self.event_time.partition[slots], slots)
        self.forget(slots)
        self.event_time.forget(slots)
        return held

    def drop(self, partition: int) -> Int:
        """Forget all series of `partition`; returns their slots."""
        slots = self.slots.drop(partition)
        self.forget(slots)
        self.event_time.forget(slots)
        self.event_time.forget_partition(partition)
        return slots
