"""Forecasts of multivariate series as JSON: one message a tick, with an object for each channel."""

from collections.abc import Sequence

import numpy as np
import orjson

from forecaster.config import Aggregate
from forecaster.formats.forecast_json import Envelope, Forecasts, horizon_members, quantile_columns, quantile_members
from forecaster.records import Message


class ChannelsEncoder:
    """Encodes each channel as `ForecastEncoder` does a series, null where it has had no value: kind "multivariate"."""

    def __init__(
        self,
        envelope: Envelope,
        channels: Sequence[str],
        horizon: int,
        levels: tuple[float, ...],
        aggregate: Aggregate | None = None,
    ) -> None:
        self._envelope, self._width, self._middle = envelope, len(channels), levels.index(0.5)
        self._channel = b'{"point":[%%b],"quantiles":{%b}}' % quantile_members(levels)
        members = b",".join(b"%b:%%b" % orjson.dumps(name).replace(b"%", b"%%") for name in channels)
        body = b'%b,"channels":{%b}' % (horizon_members(horizon, aggregate), members)
        self._template = envelope.template("multivariate", body)

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""
        if not len(forecasts):
            return []
        scale = forecasts.scale.ravel()
        known = ~np.isnan(scale)
        quantiles = forecasts.quantiles.reshape(-1, *forecasts.quantiles.shape[2:])
        columns = quantile_columns(quantiles, np.where(known, scale, 1.0))
        texts = list(map(self._channel.__mod__, zip(columns[self._middle], *columns, strict=True)))
        for place in np.flatnonzero(~known).tolist():
            texts[place] = b"null"
        by_channel = (texts[place :: self._width] for place in range(self._width))
        return self._envelope.messages(self._template, forecasts, *by_channel)
