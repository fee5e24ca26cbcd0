"""One JSON line on standard error for each event that matters; none for a tick."""

import json
import logging
import re
import sys
from collections.abc import Callable
from typing import Any

import orjson

log = logging.getLogger("forecaster")

# What a terminal or a viewer of logs takes for more than text: control characters, line ends of Unicode, marks that
# turn the direction of what follows, and halves of characters.
UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` on one line that shows what is in it; inside a JSON string it is still the same text."""
    return UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class JsonFormatter(logging.Formatter):
    """A record as one JSON object; whatever its text holds, it stays on one line. `always` are fields of each."""

    def __init__(self, **always: object) -> None:
        super().__init__()
        self._always = always

    def format(self, record: logging.LogRecord) -> str:
        """`time`, `level`, `event`, the fields of the event, and an exception if there is one."""
        line: dict[str, Any] = {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S") + f".{int(record.msecs):03d}",
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


def configure_logging(**always: object) -> None:
    """Send this package's events, and the client libraries' warnings, to standard error as JSON, each with `always`."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(**always))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    log.setLevel(logging.INFO)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of each shape of the ladder
