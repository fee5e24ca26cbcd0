"""Event time against a slow tick-by-tick reference, and by examples drawn as timelines."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.event_time import ACCEPTED, DUPLICATE, LATE, EventTime
from forecaster.grid import NEVER, Grid

KINDS = [(10, None), (10, "mean"), (10, "last"), (10, "ohlc-mean"), (10, "count"), (None, None)]


class Reference:
    """The same rules, one tick at a time."""

    def __init__(self, grid, lateness, restart, idle_ttl=None):
        self.grid, self.lateness, self.restart, self.idle_ttl = grid, lateness, restart, idle_ttl
        self.series = {}
        self.partition = {}
        self.closed = []

    def complete(self, watermark):
        return int(self.grid.complete(np.int64(watermark - self.lateness)))

    def start(self):
        return {"newest": None, "watermark": int(NEVER), "late": 0, "open": [], "touched": None}

    def end_idle(self, partition, now, position):
        """What a series holds back is released once it is idle too long; returns those that are."""
        idle = []
        for slot, state in self.series.items():
            touched = state["touched"]
            if PARTITION[slot] == partition and None not in (touched, self.idle_ttl) and now - touched > self.idle_ttl:
                self.close(slot, lambda _: True, position)
                idle.append(slot)
        return idle

    def close(self, slot, test, position):
        state = self.series[slot]
        reached = [item["index"] for item in state["open"] if test(item)]
        if not reached:
            return
        done = sorted((i for i in state["open"] if i["index"] <= max(reached)), key=lambda i: (i["index"], i["born"]))
        state["open"] = [i for i in state["open"] if i["index"] > max(reached)]
        for item in done:
            self.closed.append((slot, item["index"], state["newest"], position, self.value(item["ticks"])))
            state["newest"] = item["index"]

    def value(self, ticks):
        known = [(t, n, v) for n, (t, v) in enumerate(ticks) if not np.isnan(v)]
        values = [v for _, _, v in known]
        if not values:
            return np.nan
        first, last = min(known)[2], max(known)[2]
        return {
            None: values[0],
            "mean": np.mean(values),
            "last": last,
            "count": len(values),
            "ohlc-mean": (first + max(values) + min(values) + last) / 4,
        }[self.grid.bar]

    def tick(self, position, slot, partition, time, value):
        state = self.series.setdefault(slot, self.start())
        before = self.partition.get(partition, int(NEVER))
        after = self.partition[partition] = max(before, time)
        index = int(self.grid.index(np.int64(time)))
        if slot in self.end_idle(partition, after, position):
            state.update(self.start())
        state["touched"] = after
        outcome = self.judge(state, index)
        if outcome == LATE:
            state["late"] += 1
            if state["late"] >= self.restart:
                self.close(slot, lambda _: True, position)
                state.update(self.start() | {"touched": after})
                outcome = ACCEPTED
        else:
            state["late"] = 0
        if outcome == ACCEPTED:
            same = [i for i in state["open"] if i["index"] == index and self.grid.step_ms]
            if same:
                same[0]["ticks"].append((time, value))
            else:
                state["open"].append({"index": index, "born": position, "ticks": [(time, value)]})
        state["watermark"] = max(state["watermark"], time)
        self.close(slot, lambda i: self.complete(state["watermark"]) >= i["index"], position)
        for other in [s for s in self.series if PARTITION[s] == partition]:
            self.close(
                other,
                lambda i: i["born"] != position and self.complete(before) < i["index"] <= self.complete(after),
                position,
            )
        return outcome

    def judge(self, state, index):
        newest = state["newest"]
        if newest is not None and index < newest:
            return LATE
        on_newest = newest is not None and index == newest
        if self.grid.bar:
            return LATE if on_newest else ACCEPTED
        if self.grid.step_ms is None:
            return ACCEPTED
        held = any(i["index"] == index for i in state["open"])
        return DUPLICATE if on_newest or held else ACCEPTED


PARTITION = {0: 0, 1: 0, 2: 0, 3: 1, 4: 1}


def make(grid, lateness, restart, idle_ttl=None):
    state = EventTime(grid, lateness, restart, idle_ttl)
    state.grow(len(PARTITION))
    state.partition[:] = list(PARTITION.values())
    return state


def run(state, ticks, cuts):
    """All closed items as (slot, index, previous, global trigger, value), and all outcomes."""
    closed, outcomes = [], []
    for low, high in pairwise([0, *cuts, len(ticks)]):
        # the records of a poll come grouped by partition; that is what a cut does to the order
        part = sorted(range(low, high), key=lambda n: PARTITION[ticks[n][0]])
        if not part:
            continue
        slot, time, value = (np.array(column) for column in zip(*(ticks[n] for n in part), strict=True))
        outcome, seen = state.admit(slot.astype(int), time.astype(int), value.astype(float))
        outcomes += zip(part, outcome.tolist(), strict=True)
        for row in range(len(seen.slot)):
            previous = None if seen.previous[row] == NEVER else int(seen.previous[row])
            closed.append(
                (int(seen.slot[row]), int(seen.index[row]), previous, part[seen.trigger[row]], float(seen.value[row]))
            )
    return closed, [o for _, o in sorted(outcomes)]


def by_slot(closed):
    rows = {}
    for slot, *rest, value in closed:
        rows.setdefault(slot, []).append((*rest, None if np.isnan(value) else round(value, 9)))
    return rows


tick = st.tuples(
    st.sampled_from(list(PARTITION)),
    st.integers(0, 400),
    st.one_of(st.just(np.nan), st.integers(-50, 50).map(float)),
)


@given(
    ticks=st.lists(tick, max_size=60),
    drift=st.integers(0, 20),
    cuts=st.one_of(st.lists(st.integers(0, 60), max_size=6), st.just(range(60))),
    kind=st.sampled_from(KINDS),
    lateness=st.sampled_from([0, 7, 25, 100]),
    restart=st.integers(1, 6),
    idle_ttl=st.sampled_from([None, None, 1, 30, 120, 400]),
)
@settings(max_examples=1_000, deadline=None)
def test_any_stream_cut_anywhere_gives_what_the_tick_by_tick_rules_give(
    ticks, drift, cuts, kind, lateness, restart, idle_ttl
):
    ticks = [(slot, time + n * drift, value) for n, (slot, time, value) in enumerate(ticks)]
    grid = Grid(*kind)
    reference = Reference(grid, lateness, restart, idle_ttl)
    expected = [reference.tick(n, slot, PARTITION[slot], time, value) for n, (slot, time, value) in enumerate(ticks)]
    closed, outcomes = run(make(grid, lateness, restart, idle_ttl), ticks, sorted({c for c in cuts if c < len(ticks)}))
    assert outcomes == expected
    assert by_slot(closed) == by_slot(reference.closed)


@given(st.permutations(range(0, 100, 10)), st.sampled_from(KINDS[:4]))
def test_arrival_order_within_the_allowed_lateness_does_not_change_what_the_series_takes(times, kind):
    def taken(order):
        ticks = [(0, t, float(t)) for t in order] + [(0, 1_000, 0.0)]
        closed, outcomes = run(make(Grid(*kind), 100, 50), ticks, [])
        assert LATE not in outcomes
        return [(index, previous, value) for _, index, previous, _, value in closed]

    assert taken(times) == taken(sorted(times))


def outcomes_of(times, *, kind=(10, None), lateness=0, restart=100):
    ticks = [(0, time, float(n)) for n, time in enumerate(times)]
    closed, outcomes = run(make(Grid(*kind), lateness, restart), ticks, [])
    return "".join("oLD"[o] for o in outcomes), [(index, value) for _, index, _, _, value in closed]


@pytest.mark.parametrize(
    ("times", "outcomes", "observations"),
    [
        #  t= 0  10  20                 each on its grid point
        ([0, 10, 20], "ooo", [(0, 0.0), (1, 1.0), (2, 2.0)]),
        #  4 → 0, 6 → 10                the nearest grid point
        ([4, 6], "oo", [(0, 0.0), (1, 1.0)]),
        #  20 then 10                   behind the newest step: late
        ([20, 10, 30], "oLo", [(2, 0.0), (3, 2.0)]),
        #  20 then 21                   on the newest step: the first wins
        ([20, 21, 30], "oDo", [(2, 0.0), (3, 2.0)]),
    ],
)
def test_points_take_the_nearest_step_and_the_first_tick_on_it(times, outcomes, observations):
    assert outcomes_of(times) == (outcomes, observations)


def test_a_tick_from_the_far_future_silences_a_series_no_longer_than_late_restart():
    outcomes, observations = outcomes_of([0, 10, 10_000, 20, 30, 40, 50], restart=3)
    assert outcomes == "oooLLoo"
    assert observations[-2:] == [(4, 5.0), (5, 6.0)]


def test_a_bar_behind_the_event_time_of_its_partition_waits_for_its_own_series():
    #  series 0 runs ahead to 100; series 1 is slow, and keeps all of its ticks
    ticks = [(0, 100, 1.0), (1, 11, 1.0), (1, 15, 3.0), (0, 120, 1.0), (1, 21, 5.0)]
    closed, outcomes = run(make(Grid(10, "mean"), 0, 100), ticks, [])
    assert LATE not in outcomes
    assert (1, 1, None, 4, 2.0) in closed


def test_a_batch_with_one_tick_a_series_takes_the_short_way(monkeypatch):
    state = EventTime(Grid(10), 0, 5)
    state.grow(3)
    monkeypatch.setattr(state, "_pass", None)
    for time in (10, 20):
        slot = np.array([2, 0])
        outcome, seen = state.admit(slot, np.array([time, time + 3]), np.array([1.0, 2.0]))
        assert outcome.tolist() == [ACCEPTED, ACCEPTED]
        assert seen.slot.tolist() == [0, 2]
        assert seen.value.tolist() == [2.0, 1.0]
        assert seen.trigger.tolist() == [1, 0]
    with pytest.raises(TypeError):  # a late one needs the long way
        state.admit(np.array([0]), np.array([10]), np.array([1.0]))
