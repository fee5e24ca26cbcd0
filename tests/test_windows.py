"""Gaps, ring buffers, slots and blocks, against lists kept by hand."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.config import StreamSettings
from forecaster.event_time import LATE
from forecaster.series import Slots
from forecaster.windows import Block, Windows

FAST = {"max_examples": 150, "deadline": None}
CONTEXT = 5


def feed(windows, series, steps, values, partition=0):
    """Admit ticks at whole `steps` of a second; the block's rows as (series, index, value, trigger, fresh)."""
    time_ms = np.array([step * 1_000 for step in steps], np.int64)
    _, block = windows.admit(np.full(len(series), partition), series, time_ms, np.array(values, np.float64))
    for first, length in block.waves():
        restarted = block.slot[first][block.fresh[first]]
        windows.forget(restarted)
        width = int(length.max())
        cell = first[:, None] + np.arange(width)
        table = np.where(np.arange(width) < length[:, None], block.value[np.minimum(cell, len(block) - 1)], np.nan)
        windows.rings.push(block.slot[first], table, length)
    return block


def as_rows(windows, block):
    names = [windows.slots.names[slot] for slot in block.slot.tolist()]
    value = [None if np.isnan(v) else v for v in block.value.tolist()]
    return list(zip(names, block.index.tolist(), value, block.trigger.tolist(), block.fresh.tolist(), strict=True))


def test_a_gap_up_to_max_gap_is_filled_with_missing_steps_and_a_longer_one_restarts_the_series():
    #  step    0 1 . . 4         . . . 8 : three missing, one more than max_gap
    windows = Windows(StreamSettings(max_gap="2s"), CONTEXT)
    block = feed(windows, ["a"] * 4, [0, 1, 4, 8], [1, 2, 3, 4])
    assert as_rows(windows, block) == [
        ("a", 0, 1.0, 0, True),
        ("a", 1, 2.0, 1, False),
        ("a", 2, None, -1, False),
        ("a", 3, None, -1, False),
        ("a", 4, 3.0, 2, False),
        ("a", 8, 4.0, 3, True),
    ]
    assert (windows.filled, windows.gap_restarts) == (2, 1)


def test_the_default_gap_limit_is_one_context():
    windows = Windows(StreamSettings(), CONTEXT)
    block = feed(windows, ["a"] * 3, [0, CONTEXT + 1, 2 * CONTEXT + 3], [1, 2, 3])
    assert [row for row in as_rows(windows, block) if row[3] >= 0] == [
        ("a", 0, 1.0, 0, True),
        ("a", CONTEXT + 1, 2.0, 1, False),
        ("a", 2 * CONTEXT + 3, 3.0, 2, True),
    ]
    assert windows.filled == CONTEXT


def test_max_gap_of_nothing_restarts_a_series_at_the_first_missing_step():
    windows = Windows(StreamSettings(max_gap="0s"), CONTEXT)
    block = feed(windows, ["a"] * 3, [0, 1, 3], [1, 2, 3])
    assert block.fresh.tolist() == [True, False, True]


def test_with_a_step_per_tick_nothing_is_filled_and_only_a_stated_max_gap_restarts():
    for max_gap, fresh in ((None, [True, False, False]), ("3s", [True, False, True])):
        windows = Windows(StreamSettings(step="tick", max_gap=max_gap), CONTEXT)
        block = feed(windows, ["a"] * 3, [0, 3, 7], [1, 2, 3])
        assert block.fresh.tolist() == fresh
        assert (len(block), windows.filled) == (3, 0)


class ByHand:
    """The newest index and all observations since the last start, of one series."""

    def __init__(self, longest_gap):
        self.longest_gap, self.newest, self.taken = longest_gap, None, []

    def take(self, index, value):
        if self.newest is not None and index <= self.newest:
            return
        gap = 0 if self.newest is None else index - self.newest - 1
        self.taken = [] if gap > self.longest_gap else [*self.taken, *[None] * gap]
        self.taken.append(value)
        self.newest = index


moves = st.tuples(st.sampled_from("abc"), st.sampled_from([1, 1, 1, 1, 0, -2, 2, 4, 6, 20]))


@given(st.lists(moves, min_size=1, max_size=60), st.lists(st.integers(1, 60), max_size=8), st.integers(1, 7))
@settings(**FAST)
def test_a_window_is_the_tail_of_its_sequence_however_the_polls_were_cut(moved, cuts, context):
    windows = Windows(StreamSettings(max_gap="4s", late_restart=1_000), context)
    expected, clock, ticks = {name: ByHand(4) for name in "abc"}, dict.fromkeys("abc", 100), []
    for n, (name, move) in enumerate(moved):
        clock[name] += move
        ticks.append((name, clock[name], float(n)))
    bounds = [0, *sorted({cut for cut in cuts if cut < len(ticks)}), len(ticks)]
    for low, high in pairwise(bounds):
        part = ticks[low:high]
        feed(windows, [t[0] for t in part], [t[1] for t in part], [t[2] for t in part])
        for name, step, value in part:
            expected[name].take(step, value)
        for slot, name in enumerate(windows.slots.names):
            tail = [np.nan if value is None else value for value in expected[name].taken[-context:]]
            np.testing.assert_array_equal(windows.rings.window(slot), [np.nan] * (context - len(tail)) + tail)


def test_one_block_longer_than_the_context_leaves_its_tail():
    windows = Windows(StreamSettings(), CONTEXT)
    feed(windows, ["a"] * 13, range(13), range(13))
    assert windows.rings.window(0).tolist() == [8, 9, 10, 11, 12]


def test_a_series_that_restarts_twice_in_one_batch_takes_part_in_three_waves():
    windows = Windows(StreamSettings(max_gap="1s"), CONTEXT)
    block = feed(windows, ["a", "a", "a", "b", "a"], [0, 10, 20, 0, 21], [1, 2, 3, 9, 4])
    assert [(first.tolist(), length.tolist()) for first, length in block.waves()] == [
        ([0, 4], [1, 1]),
        ([1], [1]),
        ([2], [2]),
    ]
    assert windows.rings.window(0).tolist()[-2:] == [3, 4]
    assert np.isnan(windows.rings.window(0)[:-2]).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
@settings(**FAST)
def test_waves_take_every_row_once_and_each_series_in_order(rows):
    rows.sort(key=lambda row: row[0])
    slot, fresh = np.array([row[0] for row in rows], np.int64), np.array([row[1] for row in rows], bool)
    nothing = np.zeros(len(rows), np.int64)
    block = Block(slot, nothing, nothing.astype(float), nothing, fresh)
    taken = []
    for first, length in block.waves():
        assert len(set(slot[first].tolist())) == len(first)
        for start, size in zip(first.tolist(), length.tolist(), strict=True):
            assert not fresh[start + 1 : start + size].any()
            taken += range(start, start + size)
    assert sorted(taken) == list(range(len(rows)))
    for series in set(slot.tolist()):
        of_series = [row for row in taken if slot[row] == series]
        assert of_series == sorted(of_series)


def test_slots_are_given_back_and_used_again():
    slots = Slots()
    first = slots.assign(np.array([0, 0, 1, 1, 1]), ["a", "b", "a", "c", "a"])
    assert first.tolist() == [0, 1, 2, 3, 2]
    assert sorted(slots.drop(1).tolist()) == [2, 3]
    assert slots.drop(1).tolist() == []
    again = slots.assign(np.array([0, 2, 2]), ["b", "x", "y"])
    assert again.tolist()[0] == 1
    assert sorted(again.tolist()[1:]) == [2, 3]
    assert len(slots) == 4
    assert [slots.names[slot] for slot in again] == ["b", "x", "y"]


@pytest.mark.parametrize("dropped", [0, 1])
def test_a_dropped_partition_leaves_neither_window_nor_event_time(dropped):
    windows = Windows(StreamSettings(allowed_lateness="1s", late_restart=1_000), CONTEXT)
    feed(windows, ["a", "b"], [50, 51], [1, 2], partition=0)
    feed(windows, ["a", "b"], [50, 51], [1, 2], partition=1)
    windows.drop(dropped)
    outcome, _ = windows.admit(np.full(2, dropped), ["a", "b"], np.array([1_000, 2_000]), np.array([7.0, 8.0]))
    assert LATE not in outcome
    other, _ = windows.admit(np.full(1, 1 - dropped), ["a"], np.array([1_000]), np.array([7.0]))
    assert other.tolist() == [LATE]
    assert np.isnan(windows.rings.window(windows.slots.assign(np.array([dropped]), ["b"])[0])).all()


def test_room_grows_with_the_series_and_keeps_what_was_there():
    windows = Windows(StreamSettings(), CONTEXT)
    feed(windows, ["first"], [0], [5])
    names = [f"s{n}" for n in range(3_000)]
    feed(windows, names, [1] * 3_000, range(3_000))
    assert windows.capacity >= 3_001
    assert windows.rings.window(0)[-1] == 5
    assert [windows.rings.window(slot + 1)[-1] for slot in (0, 1_500, 2_999)] == [0, 1_500, 2_999]


def test_the_same_series_in_two_partitions_is_two_series():
    windows = Windows(StreamSettings(), CONTEXT)
    feed(windows, ["a"], [0], [1], partition=0)
    feed(windows, ["a"], [0], [2], partition=1)
    assert [windows.rings.window(slot)[-1] for slot in (0, 1)] == [1, 2]
