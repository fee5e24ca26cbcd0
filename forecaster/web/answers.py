"""What the output topic says of a series: the newest answer, fans of the past, and how well those did."""

import re
from collections import deque
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec
import numpy as np
import orjson
from msgspec import Meta

from forecaster.config.durations import LONGEST_MS
from forecaster.formats.json_ticks import END_OF_TIME_MS
from forecaster.records import Float, Int
from forecaster.web.observed import at

LEVEL = r"0\.[0-9]{1,17}"
DRAWN = ("forecast", "paths")  # kinds that are fans
TOLD = ("class", "symbols")  # kinds that are probabilities
FEWEST_FANS, MOST_FANS = 2, 24  # of the past that are kept of a series
MOST_POINTS = 400  # of a fan that are sent: a longer horizon is thinned


class Head(msgspec.Struct, frozen=True):
    """What messages of every kind have in common."""

    kind: str
    series: str
    origin: Annotated[int, Meta(ge=0, lt=END_OF_TIME_MS)]
    model: str = ""
    maturity: str = ""
    step_ms: Annotated[int, Meta(ge=1, le=LONGEST_MS)] | None = None
    horizon: Annotated[int, Meta(ge=1, le=10_000)] = 1
    times: tuple[int, ...] = ()

    @property
    def even_step_ms(self) -> int | None:
        """Milliseconds from each step to the next; None where closed hours lie between: then steps are counted."""
        return None if self.times else self.step_ms


class Fan(msgspec.Struct, frozen=True):
    """What is drawn of a forecast: its quantiles by level, a number a step, or one with an `aggregate`."""

    point: list[float]
    quantiles: dict[str, list[float]]
    aggregate: str | None = None


class Chances(msgspec.Struct, frozen=True):
    """What is told of an answer about codes: probabilities by label, or by the code that comes next."""

    next: dict[str, float] = {}
    probabilities: dict[str, float] = {}


read_head = msgspec.json.Decoder(Head).decode
_decode_fan = msgspec.json.Decoder(Fan).decode
_read_chances = msgspec.json.Decoder(Chances).decode


@dataclass(slots=True)
class Past:
    """A fan of the past; `errors` are the mean absolute ones of it and of the last value, once its steps are over."""

    head: Head
    value: bytes
    errors: tuple[float, float] | None = None


class Answers:
    """The answers of one series. Fans of the past do not overlap: one begins where the last one has ended."""

    def __init__(self, length: int) -> None:
        self.head: Head | None = None
        self.version = 0
        self.ratio: float | None = None  # of the error of past fans to that of their last values, where there is one
        self._length, self._value = length, b""
        self._past: deque[Past] = deque(maxlen=MOST_FANS)

    def add(self, head: Head, value: bytes, times_ms: Int, values: Float) -> None:
        """Take an answer, `value` as it was published; the others are what has been observed of the series."""
        self.head, self._value, self.version = head, value, self.version + 1
        if head.kind not in DRAWN:
            return
        past = self._past
        if past and head.origin < past[-1].head.origin:
            past.clear()  # the series has started anew
        if past and not _ended(past[-1].head, head, times_ms):
            return
        for one in past:
            one.errors = one.errors or _errors(one, times_ms, values)
        self.ratio = _ratio([one.errors for one in past if one.errors is not None])
        past.append(Past(head, value))
        while len(past) > max(FEWEST_FANS, self._length // max(1, head.horizon)):
            past.popleft()

    def shown(self) -> dict[str, Any]:
        """All that the page shows of them, as JSON."""
        head = self.head
        if head is None:
            return {}
        told = {"kind": head.kind, "origin": head.origin, "step_ms": head.even_step_ms, "horizon": head.horizon}
        told |= {"model": head.model, "maturity": head.maturity, "ratio": self.ratio}
        told |= {"scored": sum(one.errors is not None for one in self._past)}
        try:
            if head.kind in DRAWN:
                told |= {"fan": _points(head, self._value)}
                told |= {"past": [_points(one.head, one.value) for one in self._past if one.head.origin < head.origin]}
            if head.kind in TOLD:
                chances = _read_chances(self._value)
                told |= {"chances": chances.probabilities or chances.next}
        except msgspec.DecodeError:
            told |= {"fan": None, "past": []}
        return told


def _errors(past: Past, times_ms: Int, values: Float) -> tuple[float, float] | None:
    """The errors of a fan and of the last value; None where less than half of its steps were observed."""
    try:
        fan = _read_fan(past.head, past.value)
    except msgspec.DecodeError:
        return None
    if fan.aggregate:
        return None
    actual, last = _after(past.head, times_ms, values), at(times_ms, values, np.array([past.head.origin]))[0]
    known = ~np.isnan(actual)
    if 2 * known.sum() < len(actual) or np.isnan(last):
        return None
    model, naive = np.abs(np.array([fan.point, [last] * len(actual)]) - actual)[:, known].mean(axis=1)
    return float(model), float(naive)


def _ratio(errors: list[tuple[float, float]]) -> float | None:
    model, naive = (sum(column) for column in zip(*errors, strict=True)) if errors else (0.0, 0.0)
    return model / naive if naive > 0 else None


def _ended(past: Head, now: Head, times_ms: Int) -> bool:
    """Whether the last step of `past` is over at the origin of `now`; without a grid, observations are counted."""
    if past.even_step_ms is not None:
        return now.origin - past.origin >= past.horizon * past.even_step_ms
    return len(times_ms) - int(np.searchsorted(times_ms, past.origin, "right")) >= past.horizon


def _after(head: Head, times_ms: Int, values: Float) -> Float:
    """What came at each step of a forecast, NaN where nothing did."""
    if head.even_step_ms is not None:
        return at(times_ms, values, head.origin + head.even_step_ms * np.arange(1, head.horizon + 1))
    first = int(np.searchsorted(times_ms, head.origin, "right"))
    found: Float = np.full(head.horizon, np.nan)
    came = values[first : first + head.horizon]
    found[: len(came)] = came
    return found


def _read_fan(head: Head, value: bytes) -> Fan:
    """Raises `msgspec.DecodeError` for what is no whole fan, whoever has put it into the topic."""
    fan = _decode_fan(value)
    steps = 1 if fan.aggregate else head.horizon
    if {len(numbers) for numbers in (fan.point, *fan.quantiles.values())} != {steps} or "0.5" not in fan.quantiles:
        raise msgspec.ValidationError("not a number of each quantile for each step")
    if not all(re.fullmatch(LEVEL, level) for level in fan.quantiles):
        raise msgspec.ValidationError("a level is between 0 and 1")
    return fan


def _points(head: Head, value: bytes) -> dict[str, Any]:
    """A fan as columns: `step` numbers the steps ahead, `bands` has a row for each quantile, lowest first."""
    fan = _read_fan(head, value)
    levels = sorted(fan.quantiles, key=float)
    stride = -(-len(fan.point) // MOST_POINTS)
    chosen = range(len(fan.point) - 1, -1, -stride)[::-1]  # the last step among them
    steps = [n + 1 for n in chosen]
    bands = [[fan.quantiles[level][n] for n in chosen] for level in levels]
    if fan.aggregate:  # one number for all steps
        steps, bands = [1, head.horizon], [band * 2 for band in bands]
    return {"origin": head.origin, "levels": levels, "step": steps, "bands": bands, "aggregate": fan.aggregate}


def as_json(tree: dict[str, Any]) -> bytes:
    """`tree` on one line; NaN becomes null."""
    return orjson.dumps(tree, option=orjson.OPT_SERIALIZE_NUMPY)
