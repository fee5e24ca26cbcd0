"""Forecasts as JSON, schema version 1: whole batches of numbers are formatted at once."""

from dataclasses import dataclass
from itertools import repeat

import numpy as np
import orjson

from forecaster.config import Aggregate
from forecaster.records import Bool, Float, Int, Message

DIGITS = 6  # of the scale that are published: a tenth of the tolerance at which results are equal


@dataclass(frozen=True, slots=True)
class Forecasts:
    """Forecasts of one batch as columns: `quantiles` is `[n, outputs, levels]`, `scale` `[n]`.

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

    def __len__(self) -> int:
        return len(self.series)

    @classmethod
    def none(cls) -> "Forecasts":
        """No forecast at all."""
        whole, real = np.zeros(0, np.int64), np.zeros(0)
        return cls([], whole, np.zeros((0, 0, 0)), real, np.zeros(0, bool), whole, whole, whole, whole)


class ForecastEncoder:
    """Encodes forecasts of one model for one output topic."""

    def __init__(
        self,
        model: str,
        step_ms: int | None,
        horizon: int,
        levels: tuple[float, ...],
        input_topic: str,
        topic: str,
        aggregate: Aggregate | None = None,
    ) -> None:
        self._topic = topic
        self._levels = levels
        quantiles = b",".join(b"%b:[%%b]" % orjson.dumps(str(level)) for level in levels)
        self._template = (
            b'{"schema_version":1,"kind":"forecast","series":%%b,"origin":%%d,"step_ms":%b,"horizon":%d,%b'
            b'"point":[%%b],"quantiles":{%b},"model":%b,"maturity":"%%b",'
            b'"source":{"topic":%b,"partition":%%d,"offset":%%d,"index":%%d}}'
        ) % (
            orjson.dumps(step_ms),
            horizon,
            b'"aggregate":"%b",' % aggregate.encode() if aggregate else b"",
            quantiles,
            orjson.dumps(model).replace(b"%", b"%%"),
            orjson.dumps(input_topic),
        )

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""
        if not len(forecasts):
            return []
        rounded = round_to_scale(forecasts.quantiles, forecasts.scale)
        count, outputs, levels = rounded.shape
        texts = _rows(rounded.swapaxes(1, 2).reshape(count * levels, outputs))
        columns = [texts[level::levels] for level in range(levels)]
        names = forecasts.series
        rows = zip(
            map(orjson.dumps, names),
            forecasts.origin_ms.tolist(),
            columns[self._levels.index(0.5)],
            *columns,
            np.where(forecasts.ready, b"ready", b"warming").tolist(),
            forecasts.partition.tolist(),
            forecasts.offset.tolist(),
            forecasts.index.tolist(),
            strict=True,
        )
        template, topic = self._template, self._topic
        messages = zip(repeat(topic), map(str.encode, names), map(template.__mod__, rows), repeat(()), repeat(None))
        return list(map(Message._make, messages))


def round_to_scale(quantiles: Float, scale: Float) -> Float:
    """`quantiles` to the decimal place of a millionth of `scale` `[n]`; monotone, so nothing crosses."""
    places = np.clip(DIGITS - np.floor(np.log10(scale)), 0, 300)
    unit = (10.0**places)[:, None, None]
    rounded: Float = np.rint(quantiles * unit) / unit
    return rounded


def _rows(numbers: Float) -> list[bytes]:
    """Each row of `numbers` `[n, outputs]` as JSON without its brackets."""
    text = orjson.dumps(np.ascontiguousarray(numbers), option=orjson.OPT_SERIALIZE_NUMPY)
    return text[2:-2].split(b"],[")
