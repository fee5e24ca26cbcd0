"""Forecasts as JSON, schema version 1: whole batches of numbers are formatted at once."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import compress, repeat
from typing import Any, NamedTuple, Protocol

import numpy as np
import orjson

from forecaster.config import Aggregate
from forecaster.records import Bool, Float, Int, Message

DIGITS = 6  # of the scale that are published: a tenth of the tolerance at which results are equal


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Forecasts of one batch as columns: `quantiles` is `[n, outputs, levels]`, `scale` `[n]`.

    Of multivariate series both have an axis of channels behind the first; `scale` is NaN for an unknown one.
    By the model's task there are `paths` `[n, horizon, paths]` and `probabilities` `[n, labels or codes]`.
    `partition`, `offset` and `index` name the input tick that triggered each one, `trigger_ms`
    is that record's time.
    """

    series: list[str]
    origin_ms: Int
    quantiles: Float
    scale: Float
    ready: Bool
    trigger_ms: Int
    partition: Int
    offset: Int
    index: Int
    paths: np.ndarray | None = None
    probabilities: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.series)

    @classmethod
    def none(cls) -> "Forecasts":
        """No forecast at all."""
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        return cls([], whole, np.zeros((0, 0, 0)), real, np.zeros(0, bool), whole, whole, whole, whole)

    def take(self, keep: Bool) -> "Forecasts":
        """The forecasts where `keep` `[n]` is set."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)[1:]}
        taken: dict[str, Any] = {name: array if array is None else array[keep] for name, array in columns.items()}
        return Forecasts(list(compress(self.series, keep.tolist())), **taken)


class Encoder(Protocol):
    """Forecasts of a task to bytes."""

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""


class Envelope(NamedTuple):
    """What the messages of every kind have in common: who forecasts, from where to where.

    Where there are closed hours, `ahead_ms` tells the event times `[n, horizon]` of the steps after origins `[n]`.
    """

    model: str
    step_ms: int | None
    input_topic: str
    topic: str
    ahead_ms: Callable[[Int], Int] | None = None

    def template(self, kind: str, body: bytes) -> bytes:
        """A message of `kind`; `body` is a template of the members that this kind has."""
        return (
            b'{"schema_version":1,"kind":"%b","series":%%b,"origin":%%d,"step_ms":%b,%b%b,"model":%b,"maturity":"%%b",'
            b'"source":{"topic":%b,"partition":%%d,"offset":%%d,"index":%%d}}'
        ) % (
            kind.encode(),
            orjson.dumps(self.step_ms),
            b"" if self.ahead_ms is None else b'"times":[%b],',
            body,
            orjson.dumps(self.model).replace(b"%", b"%%"),
            orjson.dumps(self.input_topic),
        )

    def messages(self, template: bytes, forecasts: Forecasts, *columns: Iterable[object]) -> list[Message]:
        """One message a forecast, keyed by its series; `columns` fill the body, an item a forecast."""
        names = forecasts.series
        times = () if self.ahead_ms is None else (number_rows(self.ahead_ms(forecasts.origin_ms)),)
        rows = zip(
            map(orjson.dumps, names),
            forecasts.origin_ms.tolist(),
            *times,
            *columns,
            np.where(forecasts.ready, b"ready", b"warming").tolist(),
            forecasts.partition.tolist(),
            forecasts.offset.tolist(),
            forecasts.index.tolist(),
            strict=True,
        )
        texts = map(template.__mod__, rows)
        messages = zip(repeat(self.topic), map(str.encode, names), texts, repeat(()), repeat(None))
        return list(map(Message._make, messages))


class ForecastEncoder:
    """Encodes forecasts of one model for one output topic."""

    def __init__(
        self, envelope: Envelope, horizon: int, levels: tuple[float, ...], aggregate: Aggregate | None = None
    ) -> None:
        self._levels, self._envelope = levels, envelope
        body = b'%b,"point":[%%b],"quantiles":{%b}' % (horizon_members(horizon, aggregate), quantile_members(levels))
        self._template = envelope.template("forecast", body)

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""
        if not len(forecasts):
            return []
        columns = quantile_columns(forecasts.quantiles, forecasts.scale)
        point = columns[self._levels.index(0.5)]
        return self._envelope.messages(self._template, forecasts, point, *columns)


def horizon_members(horizon: int, aggregate: Aggregate | None) -> bytes:
    """The members that say of which steps a forecast is."""
    return b'"horizon":%d' % horizon + (b',"aggregate":"%b"' % aggregate.encode() if aggregate else b"")


def quantile_members(levels: Sequence[float]) -> bytes:
    """The members of `quantiles` as a template."""
    return b",".join(b"%b:[%%b]" % orjson.dumps(str(level)) for level in levels)


def quantile_columns(quantiles: Float, scale: Float) -> list[list[bytes]]:
    """The numbers of each level of `quantiles` `[n, outputs, levels]`, rounded, an item a forecast."""
    rounded = round_to_scale(quantiles, scale)
    count, outputs, levels = rounded.shape
    texts = number_rows(rounded.swapaxes(1, 2).reshape(count * levels, outputs))
    return [texts[level::levels] for level in range(levels)]


def round_to_scale(quantiles: Float, scale: Float) -> Float:
    """`quantiles` to the decimal place of a millionth of `scale` `[n]`; monotone, so nothing crosses."""
    places = np.clip(DIGITS - np.floor(np.log10(scale)), 0, 300)
    unit = (10.0**places)[:, None, None]
    rounded: Float = np.rint(quantiles * unit) / unit
    return rounded


def number_rows(numbers: Float | Int) -> list[bytes]:
    """Each row of `numbers` `[n, outputs]` as JSON without its brackets."""
    text = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].split(b"],[")
