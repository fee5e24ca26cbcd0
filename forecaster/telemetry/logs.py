"""One line on standard error for each event that matters, JSON or text; none for a tick."""

import json
import logging
import re
import sys
import time
from collections.abc import Callable
from typing import Any

import orjson

from forecaster.config import LogSettings
from forecaster.telemetry.log_limit import LimitedHandler

log = logging.getLogger("forecaster")

# What a terminal or a viewer of logs takes for more than text: control characters, line ends of Unicode, marks that
# turn the direction of what follows, letters that nobody sees, and halves of characters.
UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)


def printable(text: str) -> str:
    """`text` on one line that shows what is in it; inside a JSON string it is still the same text."""
    return UNSAFE.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass").hex()  # JSON writes a character beyond 16 bits as two
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))


class JsonFormatter(logging.Formatter):
    """A record as one JSON object; whatever its text holds, it stays on one line. `always` are fields of each."""

    def __init__(self, **always: object) -> None:
        super().__init__()
        self._always = always
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """`time`, `level`, `event`, the fields of the event, and an exception if there is one."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **self._always,
            **getattr(record, "fields", {}),
        }
        if record.name != log.name:
            line["logger"] = record.name
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        try:
            text = orjson.dumps(line, default=str).decode()
        except orjson.JSONEncodeError:  # half a character, or an integer of more than 64 bits
            text = json.dumps({name: str(value) for name, value in line.items()})
        return printable(text)


class TextFormatter(JsonFormatter):
    """The same line for eyes: time, level and event, and the fields as `name=value`, each value as JSON has it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of what cannot be taken for another one: whatever is not plain ASCII is escaped."""
        line = json.loads(super().format(record))
        moment, level, name = line.pop("time"), line.pop("level"), line.pop("event")
        if not (name.isascii() and name.isidentifier()):
            name = json.dumps(name)
        fields = [f"{key}={json.dumps(value)}" for key, value in line.items()]
        return printable(" ".join([moment, level.upper().ljust(7), name, *fields]))


def event(name: str, level: int = logging.INFO, **fields: object) -> None:
    """Log event `name` with `fields`."""
    log.log(level, name, extra={"fields": fields})


class RareWarning:
    """The warning `name` at most once every `every_s` seconds of `clock`, with all that was counted since the last."""

    def __init__(self, name: str, clock: Callable[[], float], every_s: float = 60.0) -> None:
        self._name, self._clock, self._every_s = name, clock, every_s
        self._count = 0
        self._told: float | None = None

    def add(self, count: int, **fields: object) -> None:
        """Count `count` more of it; the warning has the `fields` of the call that gives it."""
        self._count += count
        now = self._clock()
        if not count or (self._told is not None and 0 <= now - self._told < self._every_s):
            return
        event(self._name, logging.WARNING, count=self._count, **fields)
        self._count, self._told = 0, now


def configure_logging(settings: LogSettings | None = None, worker: int | None = None) -> None:
    """Send this package's events, and the client libraries' warnings, to standard error as `settings` say.

    Each line of one of several workers has its index. A second call takes the place of the first.
    """
    settings = settings or LogSettings()
    always = {} if worker is None else {"worker": worker}
    handler = LimitedHandler(sys.stderr, settings.warnings_per_minute, time.monotonic)
    handler.setFormatter((TextFormatter if settings.format == "text" else JsonFormatter)(**always))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each shape of the ladder
