"""Sampled paths of values as JSON, with their quantiles at each step."""

from collections.abc import Sequence

from forecaster.formats.forecast_json import (
    Envelope,
    Forecasts,
    number_rows,
    quantile_columns,
    quantile_members,
    round_to_scale,
)
from forecaster.records import Message


class PathsEncoder:
    """Encodes the quantiles as `ForecastEncoder` does, and all paths: kind "paths"."""

    def __init__(self, envelope: Envelope, horizon: int, levels: Sequence[float]) -> None:
        self._envelope, self._middle = envelope, list(levels).index(0.5)
        body = b'"horizon":%d,"point":[%%b],"quantiles":{%b},"paths":[[%%b]]' % (horizon, quantile_members(levels))
        self._template = envelope.template("paths", body)

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""
        if forecasts.paths is None:
            return []
        columns = quantile_columns(forecasts.quantiles, forecasts.scale)
        rounded = round_to_scale(forecasts.paths, forecasts.scale).swapaxes(1, 2)
        texts = number_rows(rounded.reshape(-1, rounded.shape[-1]))
        paths = [b"],[".join(texts[low : low + rounded.shape[1]]) for low in range(0, len(texts), rounded.shape[1])]
        return self._envelope.messages(self._template, forecasts, columns[self._middle], *columns, paths)
