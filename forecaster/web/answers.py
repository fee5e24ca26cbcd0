"""What the output topic says of a series: the newest answer, fans of the past, and how well those did."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from forecaster.records import Bool, Float, Int
from forecaster.web.fans import TOLD, UNREADABLE, FanReader, Head, chances, columns
from forecaster.web.observed import at

FEWEST_FANS, MOST_FANS = 2, 24  # of the past that are kept of a series


@dataclass(slots=True)
class Past:
    """A fan of the past; `errors` `[2, channels]` are its mean absolute ones and the last value's, once it is over.

    NaN is a channel that has none, None that no channel has one yet.
    """

    head: Head
    value: bytes
    errors: Float | None = None


class Answers:
    """The answers of one series. Fans of the past do not overlap: one begins where the last one has ended."""

    def __init__(self, reader: FanReader, length: int) -> None:
        self.head: Head | None = None
        self.version = 0  # grows whenever there is something new to show
        self._reader, self._length, self._value = reader, length, b""
        self._ratios = np.full(reader.width, np.nan)  # of the error of past fans to that of their last values
        self._past: deque[Past] = deque(maxlen=MOST_FANS)

    def add(self, head: Head, value: bytes, times_ms: Int, values: Float) -> None:
        """Take an answer, `value` as it was published; `times_ms` `[n]` and `values` `[n, channels]` were observed."""
        self.head, self._value = head, value
        if head.kind not in self._reader.kinds:
            return
        past = self._past
        if past and head.origin < past[-1].head.origin:
            past.clear()  # the series has started anew
        if past and not _ended(past[-1].head, head, times_ms):
            return
        for one in past:
            one.errors = self._errors(one, times_ms, values) if one.errors is None else one.errors
        self._ratios = _ratios([one.errors for one in past if one.errors is not None], self._reader.width)
        past.append(Past(head, value))
        while len(past) > max(FEWEST_FANS, self._length // max(1, head.horizon)):
            past.popleft()

    def worst(self) -> list[tuple[float, int]]:
        """The worst ratio and the place of its channel; empty where there is none."""
        if np.isnan(self._ratios).all():
            return []
        place = int(np.nanargmax(self._ratios))
        return [(float(self._ratios[place]), place)]

    def shown(self, place: int) -> dict[str, Any]:
        """All that the page shows of the channel at `place`, as JSON."""
        head = self.head
        if head is None:
            return {}
        step_ms = None if head.times else head.step_ms  # closed hours lie between some steps
        told = {"kind": head.kind, "origin": head.origin, "step_ms": step_ms, "horizon": head.horizon}
        told |= {"model": head.model, "maturity": head.maturity}
        scored = sum(one.errors is not None and not np.isnan(one.errors[0, place]) for one in self._past)
        told |= {"ratio": float(self._ratios[place]), "scored": scored}
        try:
            if head.kind in self._reader.kinds:
                told |= {"fan": self._columns(head, self._value, place)}
                earlier = (one for one in self._past if one.head.origin < head.origin)
                fans = (self._columns(one.head, one.value, place) for one in earlier)
                told |= {"past": [fan for fan in fans if fan]}
            if head.kind in TOLD:
                told |= {"chances": chances(self._value)}
        except UNREADABLE:
            told |= {"fan": None, "past": []}
        return told

    def _columns(self, head: Head, value: bytes, place: int) -> dict[str, Any]:
        fan = self._reader.fan(head, value, place)
        return {} if fan is None else columns(head, fan)

    def _errors(self, past: Past, times_ms: Int, values: Float) -> Float | None:
        """The errors of a fan, for the channels of which at least half of its steps were observed."""
        actual, last = _after(past.head, times_ms, values), at(times_ms, values, np.array([past.head.origin]))
        known = ~np.isnan(actual)
        scored: Bool = (2 * known.sum(axis=0) >= len(actual)) & ~np.isnan(last[0])
        if past.head.aggregate or not scored.any():
            return None
        try:
            point = self._reader.points(past.head, past.value)
        except UNREADABLE:
            return None
        off = np.where(known, np.abs(np.stack([point, np.broadcast_to(last, actual.shape)]) - actual), 0.0)
        return np.where(scored, off.sum(axis=1) / np.maximum(1, known.sum(axis=0)), np.nan)


def _ratios(errors: list[Float], width: int) -> Float:
    """By channel; NaN without any, or where the last value was never wrong, as that of a constant channel."""
    model, naive = np.nansum(np.array(errors).reshape(-1, 2, width), axis=0)
    ratios: Float = np.divide(model, naive, out=np.full(width, np.nan), where=naive > 0)
    return ratios


def _ended(past: Head, now: Head, times_ms: Int) -> bool:
    """Whether the last step of `past` is over at the origin of `now`; without a grid, observations are counted."""
    if past.over_ms is not None:
        return now.origin >= past.over_ms
    return len(times_ms) - int(np.searchsorted(times_ms, past.origin, "right")) >= past.horizon


def _after(head: Head, times_ms: Int, values: Float) -> Float:
    """What came at each step of a forecast `[horizon, channels]`, NaN where nothing did."""
    if (ahead_ms := head.ahead_ms) is not None:
        return at(times_ms, values, ahead_ms)
    first = int(np.searchsorted(times_ms, head.origin, "right"))
    found = np.full((head.horizon, values.shape[1]), np.nan)
    came = values[first : first + head.horizon]
    found[: len(came)] = came
    return found


def as_json(tree: dict[str, Any]) -> bytes:
    """`tree` on one line; NaN becomes null."""
    return orjson.dumps(tree, option=orjson.OPT_SERIALIZE_NUMPY)
