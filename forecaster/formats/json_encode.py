"""Ticks as JSON in the configured input format: what `produce` and `replay` feed to the decoder."""

import math
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import orjson

from forecaster.config.stream import PER_MS, InputSettings


class JsonTickEncoder:
    """Writes ticks with the field paths, time unit and value format that the decoder reads."""

    def __init__(self, settings: InputSettings) -> None:
        tree: dict[str, Any] = {}
        fields = {"series": settings.series_field, "time": settings.time_field, "value": settings.value_field}
        self._covariates = [f"covariate{n}" for n in range(len(settings.covariates))]
        fields |= dict(zip(self._covariates, settings.covariates, strict=True))
        for name, path in fields.items():
            *parents, last = path.split(".")
            node = tree
            for parent in parents:
                node = node.setdefault(parent, {})
            node[last] = f"%({name})b"
        self._template = orjson.dumps(tree).replace(b"%", b"%%")
        for name in fields:
            self._template = self._template.replace(b'"%%%%(%b)b"' % name.encode(), b"%%(%b)b" % name.encode())
        self._per_ms = PER_MS[settings.time_unit]
        self._channels = settings.channels
        self._text = settings.value_format == "numeric_string"

    def encode(
        self,
        series: str,
        time_ms: int,
        value: float | str | list[float],
        covariates: Sequence[float | Sequence[float]] = (),
    ) -> bytes:
        """One tick; a NaN becomes null, a code is text, the numbers of the channels an object.

        There may be a number or a list for each of the covariates.
        """
        given = zip_longest(self._covariates, covariates)
        time = time_ms * int(self._per_ms) if self._per_ms >= 1 else time_ms / 1000
        content = {"series": series, "time": time, "value": self._member(value), **dict(given)}
        return self._template % {name.encode(): orjson.dumps(part) for name, part in content.items()}

    def _member(self, value: float | str | list[float]) -> object:
        if isinstance(value, list):
            return dict(zip(self._channels, map(self._member, value), strict=True))
        as_text = self._text and isinstance(value, float) and not math.isnan(value)
        return repr(value) if as_text else value
