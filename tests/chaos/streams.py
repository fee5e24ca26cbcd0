"""What the ticks of a stream are, by name: the settings that read them, what a tick holds, and when it is open."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

STEP_MS = 1_000
HORIZON = 4
CODES = ("low", "middle", "high")
LABELS = ("calm", "rough")
CHANNELS = ("x", "y", "z")
PAST, KNOWN = ("load",), ("outdoor.t",)

BASE_MS = 1_700_000_000_000
# In New York the clock of 5 November 2023 reads from one to two o'clock twice.
FIRST_OPENING_MS = 1_699_160_400_000  # the first one o'clock
HOUR_MS, SESSION = 3_600_000, 1_800  # a session is half an hour long, in steps
BEFORE_THE_CLOSE = 300  # rounds
SESSIONS = {
    "time_zone": "America/New_York",
    "sessions": {
        "hours": [f"{hour:02}:00-{hour:02}:30" for hour in range(24)],
        "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
    },
}


def always_ms(round_: int) -> int:
    """Event time of a round where the stream never closes."""
    return BASE_MS + STEP_MS * round_


def open_ms(round_: int) -> int:
    """The same in sessions, which begin at each hour of the clock; what that repeats is closed the second time."""
    session, inside = divmod(SESSION - BEFORE_THE_CLOSE + round_, SESSION)
    return FIRST_OPENING_MS + HOUR_MS * (session + (session > 0)) + STEP_MS * inside


def _value(value: float, _: int) -> Any:
    return {"value": value}


def _code(value: float, _: int) -> Any:
    return {"value": CODES[int(value * 10) % len(CODES)]}


def _channels(value: float, round_: int) -> Any:
    """One of them is missing now and then."""
    return {"value": {"x": value, "y": None if round_ % 7 == 0 else 3 * value, "z": 1_000 - value}}


def _covaried(value: float, round_: int) -> Any:
    ahead = [round(20 + 5 * math.sin((round_ + step) / 20), 3) for step in range(HORIZON + 1)]
    return {"value": value, "load": round(math.cos(round_ / 30), 3), "outdoor": {"t": ahead}}


@dataclass(frozen=True)
class Stream:
    """Settings by section; the fields of a tick of a value in a round; the event time of a round."""

    settings: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    fields: Callable[[float, int], Any] = _value
    time_ms: Callable[[int], int] = always_ms


COVARIATES = {"past_covariates": list(PAST), "known_covariates": list(KNOWN)}
STREAMS = {
    "values": Stream(),
    "channels": Stream({"input": {"channels": list(CHANNELS)}, "stream": SESSIONS}, _channels, open_ms),
    "covariates": Stream({"input": COVARIATES, "stream": SESSIONS, "model": {"horizon": HORIZON}}, _covaried, open_ms),
    "paths": Stream({"model": {"task": "paths"}}),
    "symbols": Stream({"model": {"task": "symbols"}}, _code),
    "classes": Stream({"model": {"task": "classify"}}, _code),
    "segments": Stream(),
    "encoder-decoder": Stream({"stream": SESSIONS}, time_ms=open_ms),
}
