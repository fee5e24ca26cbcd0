"""The ticks that event time leaves out of the training data, and the first of each kind."""

from datetime import UTC, datetime

import numpy as np

from forecaster.channels import least
from forecaster.errors import ConfigError
from forecaster.event_time import DUPLICATE, LATE
from forecaster.grid import Grid
from forecaster.recording import Recording
from forecaster.records import Bool, Int

NOT_POSITIVE, CLOSED = 100, 101  # beside the outcomes of event time
CAUSES = {
    LATE: ("late", "behind a newer step of their series"),
    DUPLICATE: ("duplicate", "their step has a tick already, the first wins"),
    NOT_POSITIVE: ("not above 0", 'model.transform = "log" needs values above 0'),
    CLOSED: ("closed", "in closed hours of stream.sessions"),
}
HELD_BACK = "one is complete once its series has a tick stream.allowed_lateness later, with stream.bar a step more"


class LeftOut:
    """Counts ticks by outcome as the parts of a recording pass through event time."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(CAUSES, 0)
        self._first: dict[int, tuple[str, int]] = {}  # series and time of the first tick of each cause

    def positive(self, part: Recording) -> Recording:
        """`part` without the ticks that have no logarithm, which serving refuses too."""
        return self._without(part, least(part.value) <= 0, NOT_POSITIVE)

    def open(self, part: Recording, grid: Grid) -> Recording:
        """`part` without the ticks in closed hours, which serving refuses too."""
        return self._without(part, ~grid.is_open(part.time_ms), CLOSED)

    def _without(self, part: Recording, refused: Bool, cause: int) -> Recording:
        self.add(part, np.where(refused, cause, 0))
        return part.where(~refused) if refused.any() else part

    def add(self, part: Recording, outcome: Int) -> None:
        """Take the ticks of `part` and the outcome of each."""
        for cause in CAUSES:
            rows = np.flatnonzero(outcome == cause)
            self.counts[cause] += len(rows)
            if len(rows) and cause not in self._first:
                self._first[cause] = part.names[part.series[rows[0]]], int(part.time_ms[rows[0]])

    def lines(self) -> list[str]:
        """One for each cause that left ticks out."""
        return [self._line(cause) for cause in self._first]

    def nothing_complete(self) -> ConfigError:
        """What to raise where no observation has come of all ticks."""
        return ConfigError(f"the input completes no observation: {'; '.join(self.lines()) or HELD_BACK}")

    def _line(self, cause: int) -> str:
        name, why = CAUSES[cause]
        series, time_ms = self._first[cause]
        when = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
        ticks = "1 tick" if self.counts[cause] == 1 else f"{self.counts[cause]} ticks"
        return f"{name}: {ticks} left out ({why}), the first of series {series!r} at {when}"
