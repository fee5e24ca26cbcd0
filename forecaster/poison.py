"""How many dead letters a minute are too many: then the input is wrong, not a record of it."""

from collections import Counter, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from forecaster.errors import PoisonError
from forecaster.records import RecordBatch

if TYPE_CHECKING:  # it imports TensorFlow
    from forecaster.pipeline import Output

MINUTE_S = 60.0


class PoisonLimit:
    """Counts the dead letters of the last minute of `clock`, in epoch seconds; no limit where it is None."""

    def __init__(self, limit: int | None, clock: Callable[[], float]) -> None:
        self._limit, self._clock = limit, clock
        self._published: deque[tuple[float, Counter[str]]] = deque()

    def check(self, records: RecordBatch, output: "Output") -> None:
        """Raise `PoisonError` where the dead letters of `output`, not published yet, would be too many."""
        if self._limit is None or not output.dead_letters:
            return
        while self._published and not 0 <= self._clock() - self._published[0][0] < MINUTE_S:  # below 0: set back
            self._published.popleft()
        reasons = sum((counts for _, counts in self._published), output.dead_letters)
        if reasons.total() <= self._limit:
            return
        row = min(row for row in output.faults if not records.silent[row])
        listed = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
        raise PoisonError(
            f"topics.dead_letters_per_minute: {reasons.total()} within a minute, more than {self._limit} ({listed}); "
            f"stopped before the batch whose first is {records.topic}/{records.partition[row]}/{records.offset[row]}"
        )

    def add(self, output: "Output") -> None:
        """Count the dead letters of `output`, which are published."""
        if self._limit is not None and output.dead_letters:
            self._published.append((self._clock(), output.dead_letters))
