"""The regular grid of a stream, and an item on it: an observation, or a bar, while it is open."""

from dataclasses import dataclass

import numpy as np

from forecaster.calendar.sessions import Sessions, all_sessions
from forecaster.config import StreamSettings
from forecaster.records import Bool, Int

NEVER = np.int64(-(2**62))
OPEN = np.int64(2**62)


def item_type(covariates: int = 0, channels: tuple[int, ...] = ()) -> np.dtype:
    """An item while it is open; what any kind of bar can be made of stands behind `born`, in the shape `channels`.

    It may have a row of so many numbers of covariates: those of the tick that makes its last value.
    """
    columns: list[tuple[str, str, tuple[int, ...]]] = [(name, "i8", ()) for name in ("slot", "index", "born")]
    columns += [(name, "i8", channels) for name in ("count", "first_ms", "last_ms")]
    columns += [(name, "f8", channels) for name in ("sum", "low", "high", "first", "last")]
    return np.dtype([*columns, ("covariates", "f8", (covariates,))] if covariates else columns)


@dataclass(frozen=True, slots=True)
class Grid:
    """The regular grid of a stream: `step_ms` None makes every event a step at its own time.

    It counts in time of its own: open time where there are `sessions`, else event time itself.
    """

    step_ms: int | None
    bar: str | None = None
    sessions: Sessions | None = None

    @classmethod
    def of(cls, stream: StreamSettings) -> "Grid":
        """The grid of a configured stream."""
        if not stream.sessions.hours:
            return cls(stream.step, stream.bar)
        step_ms = stream.step or 1
        rounding = 0 if stream.bar else step_ms // 2
        return cls(stream.step, stream.bar, all_sessions(stream.sessions, stream.time_zone, step_ms, rounding))

    def is_open(self, time_ms: Int) -> Bool:
        """Which event times can be taken."""
        return np.ones(len(time_ms), bool) if self.sessions is None else self.sessions.is_open(time_ms)

    def own_ms(self, time_ms: Int) -> Int:
        """The grid's own time at event times."""
        return time_ms if self.sessions is None else self.sessions.open_ms(time_ms)

    def index(self, own_ms: Int) -> Int:
        """Grid index at the grid's own times: the bar that holds them, else the nearest grid point."""
        if self.step_ms is None:
            return own_ms
        return (own_ms if self.bar else own_ms + self.step_ms // 2) // self.step_ms

    def complete(self, watermark_ms: Int) -> Int:
        """Highest index that is complete once the grid's own time has reached `watermark_ms`."""
        return self.index(watermark_ms) - (1 if self.bar else 0)

    def origin_ms(self, index: Int) -> Int:
        """Event time at which the observation at `index` is known: a bar's end, else its grid point."""
        own_ms = index if self.step_ms is None else (index + 1 if self.bar else index) * self.step_ms
        return self._event_ms(own_ms)

    def ahead_ms(self, origin_ms: Int, horizon: int) -> Int:
        """Event times at which the next `horizon` steps after each of `origin_ms` `[n]` are known: `[n, horizon]`."""
        return self._event_ms(self.own_ms(origin_ms)[:, None] + np.arange(1, horizon + 1) * (self.step_ms or 1))

    def _event_ms(self, own_ms: Int) -> Int:
        if self.sessions is None:
            return own_ms
        return self.sessions.end_time_ms(own_ms) if self.bar else self.sessions.time_ms(own_ms)
