"""The regular grid of a stream, and an item on it: an observation, or a bar, while it is open."""

from dataclasses import dataclass

import numpy as np

from forecaster.records import Int

NEVER = np.int64(-(2**62))
OPEN = np.int64(2**62)

# An item while it is open; the columns after `born` are what any kind of bar can be made of.
ITEM = np.dtype(
    [(name, "i8") for name in ("slot", "index", "born", "count", "first_ms", "last_ms")]
    + [(name, "f8") for name in ("sum", "low", "high", "first", "last")]
)


def item_type(covariates: int = 0) -> np.dtype:
    """An item with a row of so many numbers of covariates: those of the tick that makes its last value."""
    return np.dtype([*ITEM.descr, ("covariates", "f8", (covariates,))]) if covariates else ITEM


@dataclass(frozen=True, slots=True)
class Grid:
    """The regular grid of a stream: `step_ms` None makes every event a step at its own time."""

    step_ms: int | None
    bar: str | None = None

    def index(self, time_ms: Int) -> Int:
        """Grid index of event times: the bar that holds them, else the nearest grid point."""
        if self.step_ms is None:
            return time_ms
        return (time_ms if self.bar else time_ms + self.step_ms // 2) // self.step_ms

    def complete(self, watermark_ms: Int) -> Int:
        """Highest index that is complete once event time has reached `watermark_ms`."""
        return self.index(watermark_ms) - (1 if self.bar else 0)

    def origin_ms(self, index: Int) -> Int:
        """Event time at which the observation at `index` is known: a bar's end, else its grid point."""
        if self.step_ms is None:
            return index
        return (index + 1 if self.bar else index) * self.step_ms
