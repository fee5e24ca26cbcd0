"""What happened: the newest observations of the series that the page draws, as the daemon's own windows make them."""

import numpy as np

from forecaster.config import Settings
from forecaster.records import Float, Int, TickBatch
from forecaster.series import with_room
from forecaster.windows import Windows


class Observed:
    """The last `length` observations of each series: event times in epoch milliseconds, ascending, and values."""

    def __init__(self, settings: Settings, length: int) -> None:
        channels, stream = settings.input.channels, settings.stream
        if stream.step is not None and stream.max_gap is not None:  # to fill more leaves nothing of what was before
            stream = stream.model_copy(update={"max_gap": min(stream.max_gap, length * stream.step)})
        self._windows, self._length = Windows(stream, length, channels=channels), length
        self._time_ms = np.zeros((0, length), np.int64)
        self._value = np.zeros((0, length, max(1, len(channels))))
        self._count = np.zeros(0, np.int64)  # since the series began, or began anew
        self._slot: dict[str, int] = {}

    def add(self, partition: int, ticks: TickBatch) -> None:
        """Take the ticks of one partition, in the order of their records."""
        ticks = ticks.take(self._windows.grid.is_open(ticks.time_ms))
        where = np.full(len(ticks), partition)
        _, block = self._windows.admit(where, ticks.series, ticks.time_ms, ticks.value)
        self._grow()
        time_ms = self._windows.grid.origin_ms(block.index)
        rows = block.value.reshape(len(block), self._value.shape[2])
        for slot, fresh, at_ms, row in zip(block.slot.tolist(), block.fresh, time_ms, rows, strict=True):
            if fresh:
                self._slot[self._windows.slots.names[slot]] = slot
                self._count[slot] = 0
            place = self._count[slot] % self._length
            self._time_ms[slot, place], self._value[slot, place] = at_ms, row
            self._count[slot] += 1

    def of(self, series: str) -> tuple[Int, Float]:
        """Times `[n]` and values `[n, channels]` of a series, oldest first; NaN is a missing one."""
        slot = self._slot.get(series)
        if slot is None:
            return np.zeros(0, np.int64), np.zeros((0, self._value.shape[2]))
        count = int(self._count[slot])
        places = np.arange(max(0, count - self._length), count) % self._length
        return self._time_ms[slot, places], self._value[slot, places]

    def forget(self, series: str) -> None:
        """Let go of what is kept of a series."""
        slot = self._slot.pop(series, None)
        if slot is not None:
            self._windows.evict(np.array([slot]))

    def _grow(self) -> None:
        capacity = self._windows.capacity
        if capacity > len(self._count):
            self._time_ms, self._value = with_room(self._time_ms, capacity), with_room(self._value, capacity)
            self._count = with_room(self._count, capacity)


def at(times_ms: Int, values: Float, wanted_ms: Int) -> Float:
    """The `values` `[m, channels]` at each of `wanted_ms` `[n]`, NaN where there is none; `times_ms` `[m]` ascend."""
    if not len(times_ms):
        return np.full((len(wanted_ms), values.shape[1]), np.nan)
    place = np.minimum(np.searchsorted(times_ms, wanted_ms), len(times_ms) - 1)
    found: Float = np.where((times_ms[place] == wanted_ms)[:, None], values[place], np.nan)
    return found
