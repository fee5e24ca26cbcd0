"""Event time: which ticks are late or duplicate, and when an observation is complete.

Every tick *opens* an item (an observation, or a bar that further ticks join) at a grid index.
The item *closes* at the first record whose event time makes it complete:

* the series' own event time less `allowed_lateness` has reached it, or
* the partition's event time less `allowed_lateness` moves past it while it is open. An item that
  opens behind the partition's event time waits for its own series: a slow sensor loses nothing, or
* the series *ends*: the partition's event time has moved on by more than `idle_ttl` since its last
  tick. Its next tick starts it anew, whether or not its state has been thrown away by then.

All are properties of the record order alone, so poll boundaries never change what comes out.
"""

from dataclasses import dataclass, replace

import numpy as np

from forecaster.arrivals import Arrivals
from forecaster.bars import bar_value, join_bars
from forecaster.features.recurrences import first_at_least, running_max
from forecaster.grid import NEVER, OPEN, Grid, item_type
from forecaster.records import Bool, Float, Int

ACCEPTED, LATE, DUPLICATE = range(3)


@dataclass(frozen=True, slots=True)
class Observations:
    """Closed items, ordered by slot, then by the order in which the series takes them.

    `previous` is the series' newest index before the row (`NEVER` where the series starts) and
    `trigger` the position in the batch of the tick that completed it. `value` is as that of the ticks, `[m]` or
    `[m, channels]`. `covariates` are rows, None where there are none.
    """

    slot: Int
    index: Int
    previous: Int
    value: Float
    trigger: Int
    covariates: Float | None = None


class EventTime:
    """Newest index, watermark and open items of every slot, and the event time of each partition.

    `touched_ms` is the event time of the partition at the series' last tick, so that a series that
    runs behind its partition is not idle.
    """

    def __init__(
        self,
        grid: Grid,
        allowed_lateness_ms: int,
        late_restart: int,
        idle_ttl_ms: int | None = None,
        covariates: int = 0,
        channels: tuple[int, ...] = (),
    ) -> None:
        self.grid = grid
        self.allowed_lateness_ms = allowed_lateness_ms
        self.late_restart = late_restart
        self.idle_ttl_ms = idle_ttl_ms
        # whether a tick completes its own observation, and nothing else does
        self._at_once = not grid.bar and allowed_lateness_ms == 0 and idle_ttl_ms is None
        self.partition = np.zeros(0, np.int64)
        self.newest = np.zeros(0, np.int64)
        self.watermark = np.zeros(0, np.int64)
        self.late_run = np.zeros(0, np.int64)
        self.touched_ms = np.zeros(0, np.int64)
        self.partition_watermark = np.zeros(0, np.int64)
        self.item, self._covariates = item_type(covariates, channels), covariates
        self.held = np.zeros(0, self.item)
        self.late_restarts = 0
        self.idle_restarts = 0

    def arrays(self) -> dict[str, np.ndarray]:
        """What each slot has by name; the items it holds open are in `held`."""
        names = "newest", "watermark", "late_run", "touched_ms"
        return {name: getattr(self, name) for name in names}

    def held_of(self, slots: Int) -> np.ndarray:
        """A copy of the items that `slots` hold open; their `slot` is the row in `slots`."""
        row = np.full(len(self.newest), -1)
        row[slots] = np.arange(len(slots))
        held: np.ndarray = self.held[row[self.held["slot"]] >= 0]
        held["slot"] = row[held["slot"]]
        return held

    def of_partition(self, partition: int) -> int:
        """Event time of `partition` in epoch milliseconds, `NEVER` before its first record."""
        known = self.partition_watermark
        return int(known[partition] if partition < len(known) else NEVER)

    def set_partition(self, partition: int, watermark_ms: int) -> None:
        """Make `watermark_ms` the event time of `partition`."""
        more = max(0, partition + 1 - len(self.partition_watermark))
        self.partition_watermark = np.append(self.partition_watermark, np.full(more, NEVER))
        self.partition_watermark[partition] = watermark_ms

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`."""
        more = capacity - len(self.newest)
        self.partition = np.append(self.partition, np.zeros(more, np.int64))
        self.newest = np.append(self.newest, np.full(more, NEVER))
        self.watermark = np.append(self.watermark, np.full(more, NEVER))
        self.late_run = np.append(self.late_run, np.zeros(more, np.int64))
        self.touched_ms = np.append(self.touched_ms, np.full(more, NEVER))

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state of a series never seen."""
        self.newest[slots] = self.watermark[slots] = self.touched_ms[slots] = NEVER
        self.late_run[slots] = 0
        self.held = self.held[~np.isin(self.held["slot"], slots)]

    def idle_ms(self, slots: Int) -> Int:
        """How far the event time of their partition has moved since the last tick of each of `slots`."""
        return self.partition_watermark[self.partition[slots]] - self.touched_ms[slots]

    def forget_partition(self, partition: int) -> None:
        """Return the event time of `partition` to the state before its first record."""
        if partition < len(self.partition_watermark):
            self.partition_watermark[partition] = NEVER

    def admit(self, slot: Int, time_ms: Int, value: Float, covariates: Float | None = None) -> tuple[Int, Observations]:
        """Outcome of each tick (`ACCEPTED`, `LATE`, `DUPLICATE`) and the observations they complete.

        All arguments are `[n]` in record order, grouped by partition; `value` may be `[n, channels]`, `covariates` are
        rows `[n, width]`, all missing if not given.
        """
        outcome = np.zeros(len(slot), np.int64)
        if covariates is None and self._covariates:
            covariates = np.full((len(slot), self._covariates), np.nan)
        batch = Arrivals(self, slot, time_ms, value, covariates)
        if self._at_once and (observations := self._one_each(batch, outcome)) is not None:
            return outcome, observations
        closed: list[Observations] = []
        todo = np.argsort(slot, kind="stable")
        while len(todo):
            todo, observations = self._pass(batch, todo, outcome, first=not closed)
            closed.append(observations)
        self.partition_watermark = batch.partition_watermark()
        return outcome, _merge(closed, value[:0])

    def _one_each(self, batch: Arrivals, outcome: Int) -> Observations | None:
        """What `_pass` does where no series has two ticks or a late one, in a fraction of the time; else None.

        That is what a live stream brings, many times a second.
        """
        order = np.argsort(batch.slot, kind="stable")
        slot, index = batch.slot[order], batch.index[order]
        newest = self.newest[slot]
        if len(self.held) or (slot[1:] == slot[:-1]).any() or (index < newest).any():
            return None
        new = np.ones(len(slot), bool) if self.grid.step_ms is None else index > newest
        outcome[order[~new]] = DUPLICATE
        self.touched_ms[slot] = batch.event_time[order]
        self.watermark[slot] = np.maximum(self.watermark[slot], batch.time_ms[order])
        self.late_run[slot] = 0
        self.newest[slot] = index
        self.partition_watermark = batch.partition_watermark()
        taken = order[new]
        covariates = None if batch.covariates is None else batch.covariates[taken]
        return Observations(slot[new], index[new], newest[new], batch.value[taken], taken, covariates)

    def _pass(self, batch: Arrivals, order: Int, outcome: Int, *, first: bool) -> tuple[Int, Observations]:
        """Take the ticks at positions `order` (by slot) up to the first restart of each series.

        Returns the ticks from the restarts on, for another pass, and the observations closed.
        """
        slot = batch.slot[order]
        idle = self._touch(batch, order)
        touched = np.isin(self.held["slot"], slot)
        if first:
            touched |= batch.passed(self.held)
        held = self.held[touched]
        items = np.concatenate([held, batch.items(order)])
        close = batch.close_positions(items, order)
        late, duplicate = self._judge(batch, order, items, close)
        late_run = self._late_run(slot, late)
        restarts, row = _first_hits(slot, idle | (late_run >= self.late_restart))
        cut = _look_up(slot, restarts, row, len(order))
        now = np.arange(len(order)) < cut
        outcome[order[now & late]] = LATE
        outcome[order[now & duplicate]] = DUPLICATE
        close = np.minimum(close, _look_up(items["slot"], restarts, order[row], OPEN))

        keep = np.concatenate([np.ones(len(held), bool), now & ~late & ~duplicate])
        self.held = self.held[~touched]
        observations = self._close(items[keep], close[keep], outcome)
        taken = order[now]
        np.maximum.at(self.watermark, batch.slot[taken], batch.time_ms[taken])
        self.late_run[batch.slot[taken]] = late_run[now]  # of equal slots the last one stays
        if len(restarts):
            ended = int(idle[row].sum())
            self.idle_restarts += ended
            self.late_restarts += len(restarts) - ended
            self.forget(restarts)
        return order[~now], observations

    def _touch(self, batch: Arrivals, order: Int) -> Bool:
        """Note the event time at the last tick of each series before it has been idle too long, if ever.

        Returns which of the ticks at `order` come that late.
        """
        slot, now_ms = batch.slot[order], batch.event_time[order]
        before_ms = np.where(slot == np.roll(slot, 1), np.roll(now_ms, 1), self.touched_ms[slot])
        before_ms[:1] = self.touched_ms[slot[:1]]
        idle = self.ended(before_ms, now_ms)
        ended, row = _first_hits(slot, idle)
        taken = np.arange(len(order)) < _look_up(slot, ended, row, len(order))
        self.touched_ms[slot[taken]] = now_ms[taken]  # of equal slots the last one stays
        return idle

    def ended(self, touched_ms: Int, now_ms: Int) -> Bool:
        """Which series, last touched at `touched_ms`, have been idle too long by `now_ms`; both `[n]`."""
        if self.idle_ttl_ms is None:
            return np.zeros(len(touched_ms), bool)
        ended: Bool = (touched_ms > NEVER) & (now_ms - touched_ms > self.idle_ttl_ms)
        return ended

    def _judge(self, batch: Arrivals, order: Int, items: np.ndarray, close: Int) -> tuple[Bool, Bool]:
        """Which of the ticks at `order` are behind, and which on, the series' newest closed step."""
        by_close = np.lexsort((close, items["slot"]))
        event_slot, slot = items["slot"][by_close], batch.slot[order]
        reached = running_max(np.maximum(items["index"][by_close], self.newest[event_slot]), event_slot)
        low, high = np.searchsorted(event_slot, slot, "left"), np.searchsorted(event_slot, slot, "right")
        before = first_at_least(close[by_close], low, high, order)
        newest = np.where(before > low, reached[before - 1], self.newest[slot])
        late, same = batch.index[order] < newest, batch.index[order] == newest
        if self.grid.bar:
            return late | same, np.zeros(len(order), bool)
        return late, same & (self.grid.step_ms is not None)

    def _late_run(self, slot: Int, late: Bool) -> Int:
        """How many ticks in a row, each included, have come late."""
        row = np.arange(len(slot))
        on_time = running_max(np.where(late, -1, row), slot)
        return np.where(on_time >= 0, row - on_time, row - np.searchsorted(slot, slot) + 1 + self.late_run[slot])

    def _close(self, items: np.ndarray, close: Int, outcome: Int) -> Observations:
        """Take the completed items out and hold the others back."""
        order = np.lexsort((items["born"], items["index"], items["slot"]))
        items, close = items[order], close[order]
        if self.grid.step_ms is not None:
            items, close = self._join(items, close, outcome)
        # an item that completes takes all older ones of its series along: they stay in order
        close = -running_max(-close[::-1], items["slot"][::-1])[::-1]
        done = close < OPEN
        still_open = items[~done]
        still_open["born"] = -1
        self.held = np.concatenate([self.held, still_open])

        slot, index = items["slot"][done], items["index"][done]
        first = np.ones(len(slot), bool)
        first[1:] = slot[1:] != slot[:-1]
        previous = np.where(first, self.newest[slot], np.roll(index, 1))
        np.maximum.at(self.newest, slot, index)
        covariates = items["covariates"][done] if self._covariates else None
        return Observations(slot, index, previous, bar_value(items[done], self.grid.bar), close[done], covariates)

    def _join(self, items: np.ndarray, close: Int, outcome: Int) -> tuple[np.ndarray, Int]:
        """One item per (slot, index): a bar takes every tick; a point the first, the rest are duplicates."""
        first = np.ones(len(items), bool)
        first[1:] = (items["slot"][1:] != items["slot"][:-1]) | (items["index"][1:] != items["index"][:-1])
        if self.grid.bar:
            return join_bars(items, np.flatnonzero(first)), close[first]
        outcome[items["born"][~first]] = DUPLICATE
        return items[first], close[first]


def _first_hits(slot: Int, hit: Bool) -> tuple[Int, Int]:
    """The slots, ascending, that have a row where `hit` is set, and the first such row of each; `slot` ascends."""
    rows = np.flatnonzero(hit)
    slots, first = np.unique(slot[rows], return_index=True)
    return slots, rows[first]


def _look_up(slot: Int, known: Int, value: Int, otherwise: int | np.int64) -> Int:
    """For each of `slot` the `value` of its place in `known`, ascending, or `otherwise` where it has none."""
    place = np.searchsorted(known, slot)
    found = np.append(known, -1)[place] == slot
    return np.where(found, np.append(value, otherwise)[place], otherwise)


def _merge(parts: list[Observations], no_value: Float) -> Observations:
    """One table by slot, each series' rows in the order in which it takes them."""
    if len(parts) == 1:
        return parts[0]
    none = np.zeros(0, np.int64)
    whole = [Observations(none, none, none, no_value, none), *parts]
    columns = [
        np.concatenate([getattr(part, name) for part in whole])
        for name in ("slot", "index", "previous", "value", "trigger")
    ]
    order = np.argsort(columns[0], kind="stable")
    rows = [part.covariates for part in parts if part.covariates is not None]
    merged = Observations(*(column[order] for column in columns))
    return replace(merged, covariates=np.concatenate(rows)[order]) if rows else merged
