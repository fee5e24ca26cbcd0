"""What is read of a message of the output topic: a fan for each channel, or the chances of codes."""

import re
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta

from forecaster.config.durations import LONGEST_MS
from forecaster.formats.json_ticks import END_OF_TIME_MS
from forecaster.records import Float, Int

LEVEL = r"0\.[0-9]{1,17}"
TOLD = ("class", "symbols")  # kinds that are probabilities
MOST_POINTS = 400  # of a fan that are sent: a longer horizon is thinned

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what whoever writes to a topic can cause

EventTime = Annotated[int, Meta(ge=0, lt=END_OF_TIME_MS)]


class Head(msgspec.Struct, frozen=True):
    """What messages of every kind have in common."""

    kind: str
    series: str
    origin: EventTime
    model: str = ""
    maturity: str = ""
    step_ms: Annotated[int, Meta(ge=1, le=LONGEST_MS)] | None = None
    horizon: Annotated[int, Meta(ge=1, le=10_000)] = 1
    times: tuple[EventTime, ...] = ()
    aggregate: str | None = None

    def __post_init__(self) -> None:
        """Refuse times that do not fit the horizon, or lie where no calendar reaches."""
        if self.times and self.kind not in TOLD and len(self.times) != self.horizon:
            raise ValueError("not a time for each step")
        if (self.over_ms or 0) >= END_OF_TIME_MS:
            raise ValueError("a step after the end of time")

    @property
    def over_ms(self) -> int | None:
        """Event time of the last step ahead; None where each event is a step."""
        if self.times:
            return self.times[-1]
        return None if self.step_ms is None else self.origin + self.horizon * self.step_ms

    @property
    def ahead_ms(self) -> Int | None:
        """Event time of each step ahead; None where each event is one."""
        if self.times:
            return np.array(self.times)
        return None if self.step_ms is None else self.origin + self.step_ms * np.arange(1, self.horizon + 1)


class Fan(msgspec.Struct, frozen=True):
    """What is drawn of a forecast: its quantiles by level, a number a step, or one with an `aggregate`."""

    point: list[float]
    quantiles: dict[str, list[float]]


class ByChannel(msgspec.Struct, frozen=True):
    """A fan for each channel, null where it has had no value."""

    channels: dict[str, msgspec.Raw]


class Chances(msgspec.Struct, frozen=True):
    """What is told of an answer about codes: probabilities by label, or by the code that comes next."""

    next: dict[str, float] = {}
    probabilities: dict[str, float] = {}


read_head = msgspec.json.Decoder(Head).decode
_read_fan = msgspec.json.Decoder(Fan | None).decode
_read_channels = msgspec.json.Decoder(ByChannel).decode
_read_chances = msgspec.json.Decoder(Chances).decode


class FanReader:
    """Reads the messages of one model, of which each has a fan for every one of its `channels`, or a single one.

    Its methods raise one of `UNREADABLE` for what is no whole fan, whoever has put it into the topic.
    """

    def __init__(self, channels: Sequence[str]) -> None:
        self._channels, self.width = channels, max(1, len(channels))
        self.kinds = ("multivariate",) if channels else ("forecast", "paths")

    def fan(self, head: Head, value: bytes, place: int) -> Fan | None:
        """The fan of the channel at `place`; None where it has had no value."""
        return _checked(head, self._parts(value)[place])

    def points(self, head: Head, value: bytes) -> Float:
        """The point forecasts `[horizon, channels]` of a message without an aggregate, NaN where there is none."""
        nothing = [np.nan] * head.horizon
        fans = [_checked(head, part) for part in self._parts(value)]
        return np.array([nothing if fan is None else fan.point for fan in fans]).T

    def _parts(self, value: bytes) -> list[bytes | msgspec.Raw]:
        if not self._channels:
            return [value]
        found = _read_channels(value).channels
        return [found.get(name, b"null") for name in self._channels]


def chances(value: bytes) -> dict[str, float]:
    """Probabilities by label or code; raises one of `UNREADABLE`."""
    read = _read_chances(value)
    return read.probabilities or read.next


def columns(head: Head, fan: Fan) -> dict[str, Any]:
    """A fan as columns: `step` numbers the steps ahead, `bands` has a row for each quantile, lowest first.

    `time_ms` are the event times of those steps, None where each event is one.
    """
    levels = sorted(fan.quantiles, key=float)
    stride = -(-len(fan.point) // MOST_POINTS)
    chosen = range(len(fan.point) - 1, -1, -stride)[::-1]  # the last step among them
    steps = [n + 1 for n in chosen]
    bands = [[fan.quantiles[level][n] for n in chosen] for level in levels]
    if head.aggregate:  # one number for all steps
        steps, bands = [1, head.horizon], [band * 2 for band in bands]
    ahead_ms = head.ahead_ms
    time_ms = None if ahead_ms is None else ahead_ms[np.array(steps) - 1]
    told = {"origin": head.origin, "levels": levels, "aggregate": head.aggregate}
    return told | {"step": steps, "time_ms": time_ms, "bands": bands}


def _checked(head: Head, part: bytes | msgspec.Raw) -> Fan | None:
    fan: Fan | None = _read_fan(part)
    if fan is None:
        return None
    steps = 1 if head.aggregate else head.horizon
    if {len(numbers) for numbers in (fan.point, *fan.quantiles.values())} != {steps} or "0.5" not in fan.quantiles:
        raise msgspec.ValidationError("not a number of each quantile for each step")
    if not all(re.fullmatch(LEVEL, level) for level in fan.quantiles):
        raise msgspec.ValidationError("a level is between 0 and 1")
    return fan
