"""Which row of the state arrays belongs to which series: one dictionary a partition."""

from collections import Counter
from itertools import pairwise

import numpy as np

from forecaster.records import Int


class Slots:
    """Assigns slots to series, and takes them back when a partition leaves."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._slot_of: dict[int, dict[str, int]] = {}
        self._free: list[int] = []
        self.taken: Counter[int] = Counter()  # series that each partition has ever begun with

    def __len__(self) -> int:
        return sum(len(table) for table in self._slot_of.values())

    def assign(self, partition: Int, series: list[str]) -> Int:
        """The slot of each tick; `partition` is `[n]`, grouped. A series in two partitions has two."""
        slots = np.empty(len(series), np.int64)
        bounds = np.flatnonzero(np.diff(partition, prepend=-1, append=-1))
        for low, high in pairwise(bounds.tolist()):
            owner = int(partition[low])
            table = self._slot_of.setdefault(owner, {})
            for name in dict.fromkeys(series[low:high]):
                if name not in table:
                    table[name] = self._take(name)
                    self.taken[owner] += 1
            slots[low:high] = [table[name] for name in series[low:high]]
        return slots

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

    def drop(self, partition: int) -> Int:
        """Take back the slots of `partition`, to be used again."""
        slots = list(self._slot_of.pop(partition, {}).values())
        self._free += slots
        return np.array(slots, np.int64)
