"""A handler that lets one reason for warnings not flood the log: what it withholds is counted, and told."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO

MINUTE_S = 60.0


@dataclass(slots=True)
class _Minute:
    """A minute of one reason, from its first warning on: when it began, what its warnings are, how many have come."""

    began: float
    logger: str
    event: str
    count: int = 0


class WarningLimit:
    """Decides; time is an argument, in seconds. Only warnings are limited: an error tells of a loss."""

    def __init__(self, per_minute: int) -> None:
        self._most = per_minute
        self._minutes: dict[tuple[str, str, object], _Minute] = {}

    def allows(self, record: logging.LogRecord, now: float) -> bool:
        """Whether `record` is to be written; the last one of its reason in a minute gets the field `more_withheld`."""
        if record.levelno != logging.WARNING:
            return True
        fields = getattr(record, "fields", {})
        ours = hasattr(record, "fields")  # the texts of a library differ from call to call
        event = record.getMessage() if ours else f"{record.filename}:{record.lineno}"
        reason = record.name, event, fields.get("reason")
        minute = self._minutes.setdefault(reason, _Minute(now, record.name, event))
        minute.count += 1
        if minute.count == self._most:
            record.fields = {**fields, "more_withheld": "within this minute"}
        return minute.count <= self._most

    def withheld(self, now: float | None) -> list[logging.LogRecord]:
        """A warning for each reason whose minute is over and had more than were allowed; at None every minute is."""
        over = [reason for reason, minute in self._minutes.items() if now is None or _is_over(minute, now)]
        ended = [self._minutes.pop(reason) for reason in over]
        return [_told(minute, minute.count - self._most) for minute in ended if minute.count > self._most]


class LimitedHandler(logging.StreamHandler[IO[str]]):
    """Writes what a `WarningLimit` allows, and before the next line or at the end what was withheld."""

    def __init__(self, stream: IO[str], per_minute: int, clock: Callable[[], float]) -> None:
        super().__init__(stream)
        self._limit, self._clock = WarningLimit(per_minute), clock

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`; called with the handler's lock held."""
        now = self._clock()
        self._tell(now)
        if self._limit.allows(record, now):
            super().emit(record)

    def close(self) -> None:
        """Tell what is withheld still: logging closes every handler at the end of the process."""
        self.acquire()
        try:
            self._tell(None)
        finally:
            self.release()
        super().close()

    def _tell(self, now: float | None) -> None:
        for record in self._limit.withheld(now):
            super().emit(record)


def _is_over(minute: _Minute, now: float) -> bool:
    return not 0 <= now - minute.began < MINUTE_S  # below 0: the clock was set back


def _told(minute: _Minute, count: int) -> logging.LogRecord:
    fields = {"of": minute.event, "count": count}
    level = {"levelno": logging.WARNING, "levelname": "WARNING"}
    return logging.makeLogRecord({"name": minute.logger, "msg": "warnings_withheld", "fields": fields, **level})
