"""Which row of the state arrays belongs to which series: one dictionary a partition."""

from collections import Counter
from collections.abc import Iterator
from itertools import filterfalse, pairwise
from typing import NamedTuple

import numpy as np

from forecaster.records import Int


class Elsewhere(NamedTuple):
    """A series that is new to `partition` while partition `owner` has it."""

    series: str
    partition: int
    owner: int


class Slots:
    """Assigns slots to series, and takes them back when a partition or a series leaves."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._slot_of: dict[int, dict[str, int]] = {}
        self._free: list[int] = []
        self.begun: Counter[int] = Counter()  # series that each partition has ever begun with

    def __len__(self) -> int:
        return sum(len(table) for table in self._slot_of.values())

    def assign(self, partition: Int, series: list[str]) -> Int:
        """The slot of each tick; `partition` is `[n]`, grouped. A series in two partitions has two."""
        slots = np.empty(len(series), np.int64)
        for owner, low, high in _groups(partition):
            table, names = self._slot_of.setdefault(owner, {}), series[low:high]
            for name in dict.fromkeys(filterfalse(table.__contains__, names)):
                table[name] = self._take(name)
                self.begun[owner] += 1
            slots[low:high] = list(map(table.__getitem__, names))
        return slots

    def elsewhere(self, partition: Int, series: list[str]) -> list[Elsewhere]:
        """The series of a batch that are new to their partition while another one has them.

        Where a batch is the first to bring a series, from two partitions, the first of them has it.
        """
        groups = list(_groups(partition))
        if len(self._slot_of.keys() | {owner for owner, _, _ in groups}) < 2:
            return []
        found: dict[tuple[int, str], int] = {}
        claimed: dict[int, dict[str, int]] = {}
        for newcomer, low, high in groups:
            known = self._slot_of.get(newcomer, {})
            new = dict.fromkeys(filterfalse(known.__contains__, series[low:high]), newcomer)
            if not new:
                continue
            for owner, table in (*self._slot_of.items(), *claimed.items()):
                if not table.keys().isdisjoint(new.keys()):  # looks along the shorter one
                    found = {(newcomer, name): owner for name in new if name in table} | found
            claimed[newcomer] = new
        return [Elsewhere(name, newcomer, owner) for (newcomer, name), owner in found.items()]

    def _take(self, name: str) -> int:
        if self._free:
            slot = self._free.pop()
            self.names[slot] = name
            return slot
        self.names.append(name)
        return len(self.names) - 1

    def of(self, partition: int) -> Int:
        """The slots of `partition`."""
        table = self._slot_of.get(partition, {})
        return np.fromiter(table.values(), np.int64, len(table))

    def evict(self, partition: Int, slots: Int) -> None:
        """Take back single `slots`, each of its `partition`, to be used again."""
        for owner, slot in zip(partition.tolist(), slots.tolist(), strict=True):
            del self._slot_of[owner][self.names[slot]]
            self.names[slot] = ""
        self._free += slots.tolist()

    def taken(self) -> Int:
        """Every slot that a series has."""
        free = np.zeros(len(self.names), bool)
        free[self._free] = True
        return np.flatnonzero(~free)

    def drop(self, partition: int) -> Int:
        """Take back the slots of `partition`, to be used again."""
        slots = list(self._slot_of.pop(partition, {}).values())
        for slot in slots:
            self.names[slot] = ""
        self._free += slots
        return np.array(slots, np.int64)


def _groups(partition: Int) -> Iterator[tuple[int, int, int]]:
    """Each partition of a batch with its rows: from one up to another."""
    bounds = np.flatnonzero(np.diff(partition, prepend=-1, append=-1))
    for low, high in pairwise(bounds.tolist()):
        yield int(partition[low]), low, high


def copied(array: np.ndarray, rows: Int) -> np.ndarray:
    """A copy of `rows` of `array`."""
    if len(rows) and (np.diff(rows) == 1).all():
        return array[rows[0] : rows[-1] + 1].copy()  # several times as fast
    taken: np.ndarray = array[rows]
    return taken


def with_room(array: np.ndarray, capacity: int) -> np.ndarray:
    """State `array`, slots first, with room for slots below `capacity`: zeros, no memory until they are written."""
    roomy = np.zeros((capacity, *array.shape[1:]), array.dtype)
    roomy[: len(array)] = array
    return roomy
