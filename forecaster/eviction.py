"""Which series leave after a batch: those idle longer than `idle_ttl`, and the oldest idle above `max_series`.

A series is idle for as long as its partition's event time has moved since its last tick.
"""

import numpy as np

from forecaster.config import StateSettings
from forecaster.grid import NEVER
from forecaster.records import Int
from forecaster.windows import Windows

SWEEPS = 8  # looks for idle series in the course of one idle_ttl
SPARE = 100  # the part of max_series that is freed at once, so that ten million keys cost little each
IDLE_BITS, ROUNDS_BITS = 40, 20  # of the order in which series leave: 34 years, a million observations


class Eviction:
    """Looks over the series of `windows` after each batch; whoever asks evicts them."""

    def __init__(self, state: StateSettings, windows: Windows) -> None:
        self._state, self._windows = state, windows
        self._swept_ms = np.zeros(0, np.int64)

    def idle(self) -> Int:
        """Slots of the series that are idle too long: their next tick would start them anew anyway.

        They hold nothing back: it was released when they became so.
        """
        event_time, ttl_ms = self._windows.event_time, self._state.idle_ttl
        now_ms = event_time.partition_watermark
        if ttl_ms is None:
            return np.zeros(0, np.int64)
        more = np.full(len(now_ms) - len(self._swept_ms), NEVER)
        swept_ms = np.minimum(np.append(self._swept_ms, more), now_ms)  # a partition may have come back
        due = now_ms - swept_ms > ttl_ms // SWEEPS
        self._swept_ms = np.where(due, now_ms, swept_ms)
        if not due.any():
            return np.zeros(0, np.int64)
        slots = self._windows.slots.taken()
        slots = slots[due[event_time.partition[slots]]]
        return slots[event_time.ended(event_time.touched_ms[slots], now_ms[event_time.partition[slots]])]

    def surplus(self) -> Int:
        """Slots of the oldest idle series above the limit, and some to spare; of equally idle ones the shortest.

        Those that hold something back come last.
        """
        excess = len(self._windows.slots) - self._state.max_series
        if excess <= 0:
            return np.zeros(0, np.int64)
        slots = self._windows.slots.taken()
        leave = min(len(slots), excess + self._state.max_series // SPARE)
        oldest = np.argpartition(self._order(slots), len(slots) - leave)[len(slots) - leave :]
        return slots[oldest]

    def _order(self, slots: Int) -> Int:
        """A number for each of `slots`: the highest leave first."""
        event_time = self._windows.event_time
        idle_ms = np.clip(event_time.idle_ms(slots), 0, 2**IDLE_BITS - 1)
        rounds = np.minimum(self._windows.rounds(slots), 2**ROUNDS_BITS - 1)
        holds = np.zeros(self._windows.capacity, bool)
        holds[event_time.held["slot"]] = True
        order: Int = (idle_ms << ROUNDS_BITS) - rounds
        order[holds[slots]] -= 2 ** (IDLE_BITS + ROUNDS_BITS)
        return order
