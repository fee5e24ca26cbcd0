"""The wall clock that a model's seasons are read on, and the sessions in which its stream is open.

The phase of a step is what the wall clock reads as it begins, in steps from Thursday, 1 January 1970. So a peak at
eight o'clock stays at its phase when the clocks change: the phases of an hour that the clock skips are not visited on
that day, those of an hour that it repeats twice. Under sessions the phases at which a regular week is never open are
left out, so that a season is as long as what of it is open: one session, where each day has the same one.
"""

from functools import cache
from typing import Annotated, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from forecaster.calendar.sessions import DAY_MS, EPOCH_DAY, MINUTE_MS, Sessions, all_sessions
from forecaster.calendar.time_zone import zone
from forecaster.config import SessionSettings, StreamSettings
from forecaster.config.stream import TimeZone
from forecaster.records import Int

LONGEST = 10**8  # steps: a manifest is not to decide how much memory a table takes


class Clock(BaseModel):
    """`cycles` are the seasons in steps of the wall clock, closed hours and all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    step_ms: PositiveInt | None
    time_zone: TimeZone = "UTC"
    sessions: SessionSettings = SessionSettings()
    cycles: tuple[Annotated[int, Field(ge=1, le=LONGEST)], ...] = ()

    @classmethod
    def of(cls, stream: StreamSettings, cycles: tuple[int, ...] = ()) -> Self | None:
        """That of a configured stream; None where it is always open and its clock reads UTC."""
        if stream.time_zone == "UTC" and not stream.sessions.hours:
            return None
        return cls(step_ms=stream.step, time_zone=stream.time_zone, sessions=stream.sessions, cycles=cycles)

    @property
    def seasons(self) -> tuple[int, ...]:
        """How many phases each of the `cycles` has."""
        return tuple(int(_phases(self.sessions, self._step_ms, cycle)[-1]) + 1 for cycle in self.cycles)

    @property
    def _step_ms(self) -> int:
        return self.step_ms or 1

    def _sessions(self) -> Sessions | None:
        return all_sessions(self.sessions, self.time_zone, self._step_ms, 0) if self.sessions.hours else None

    def counts_like(self, other: Self, own_ms: int) -> bool:
        """Whether both have had the same sessions up to `own_ms` of open time; later holidays may differ."""
        if self._regular() != other._regular():
            return False
        ours, theirs = self._sessions(), other._sessions()
        if ours is None or theirs is None:
            return True
        had = slice(int(np.searchsorted(ours.begin[:-1], own_ms, "right")))
        return np.array_equal(ours.start_ms[had], theirs.start_ms[had]) and np.array_equal(
            ours.end_ms[had], theirs.end_ms[had]
        )

    def _regular(self) -> Self:
        """The clock without what is known for some years alone."""
        sessions = self.sessions.model_copy(update={"holidays": (), "early_closes": ()})
        return self.model_copy(update={"sessions": sessions})

    def longest_ms(self, open_ms: int) -> int:
        """The most event time that it ever takes to be open for `open_ms`."""
        sessions = self._sessions()
        return open_ms if sessions is None else sessions.longest_ms(open_ms)

    def phase(self, index: Int, cycle: int) -> Int:
        """The phase in a `cycle` of the steps at grid `index`."""
        sessions, own_ms = self._sessions(), index * self._step_ms
        time_ms = own_ms if sessions is None else sessions.time_ms(own_ms)
        reading = zone(self.time_zone).wall_ms(time_ms) // self._step_ms
        phase: Int = _phases(self.sessions, self._step_ms, cycle)[reading % cycle]
        return phase

    def stretches(self) -> Int:
        """The grid indices, ascending, at which a session begins or the clock has been changed."""
        sessions, changes_ms = self._sessions(), zone(self.time_zone).at_ms
        begins_ms = np.zeros(1, np.int64) if sessions is None else sessions.begin[:-1]
        own_ms = changes_ms if sessions is None else sessions.open_ms(changes_ms)
        first: Int = np.unique(-(-np.append(begins_ms, own_ms) // self._step_ms))
        return first


@cache
def _phases(sessions: SessionSettings, step_ms: int, cycle: int) -> Int:
    """The phase at each reading of the wall clock in a `cycle`; where no week is ever open, the one before."""
    if not sessions.hours:
        return np.arange(cycle)
    opened, monday_ms = np.zeros(cycle, bool), -EPOCH_DAY * DAY_MS
    for start, end in sessions.week():
        steps = -(-(end - start) * MINUTE_MS // step_ms)
        opened[((monday_ms + start * MINUTE_MS) // step_ms + np.arange(min(steps, cycle))) % cycle] = True
    phase: Int = np.maximum(np.cumsum(opened) - 1, 0)
    return phase
