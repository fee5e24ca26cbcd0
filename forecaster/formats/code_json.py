"""Answers about streams of codes as JSON: the code that comes next with continuations, or the class of a stream."""

from collections.abc import Sequence

import numpy as np
import orjson

from forecaster.formats.forecast_json import Envelope, Forecasts
from forecaster.records import Message

NEXT = 10  # of the codes to come next are published: the likeliest
DIGITS = 6  # of a probability


class SymbolsEncoder:
    """Encodes next-code probabilities and sampled paths, in the `codes` of the vocabulary: kind "symbols"."""

    def __init__(self, envelope: Envelope, horizon: int, codes: Sequence[str]) -> None:
        self._envelope = envelope
        self._template = envelope.template("symbols", b'"horizon":%d,"next":{%%b},"paths":[%%b]' % horizon)
        self._texts = [orjson.dumps(code) for code in codes]

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""
        if forecasts.probabilities is None or forecasts.paths is None:
            return []
        likeliest = np.argsort(-forecasts.probabilities, axis=1, kind="stable")[:, :NEXT]
        chances = np.round(np.take_along_axis(forecasts.probabilities, likeliest, 1).astype(np.float64), DIGITS)
        following = map(self._members, likeliest.tolist(), chances.tolist())
        paths = map(self._paths, (forecasts.paths.swapaxes(1, 2) - 1).tolist())
        return self._envelope.messages(self._template, forecasts, following, paths)

    def _members(self, places: list[int], chances: list[float]) -> bytes:
        texts = self._texts
        return b",".join(b"%b:%b" % (texts[n], orjson.dumps(chance)) for n, chance in zip(places, chances, strict=True))

    def _paths(self, paths: list[list[int]]) -> bytes:
        of = self._texts.__getitem__
        return b",".join(b"[%b]" % b",".join(map(of, path)) for path in paths)


class ClassEncoder:
    """Encodes the probability of each of the `labels`, and the likeliest of them: kind "class"."""

    def __init__(self, envelope: Envelope, labels: Sequence[str]) -> None:
        self._envelope = envelope
        members = b",".join(b"%b:%%b" % orjson.dumps(label).replace(b"%", b"%%") for label in labels)
        self._template = envelope.template("class", b'"class":%%b,"probabilities":{%b}' % members)
        self._texts = [orjson.dumps(label) for label in labels]

    def encode(self, forecasts: Forecasts) -> list[Message]:
        """One message a forecast, keyed by its series."""
        if forecasts.probabilities is None:
            return []
        best = map(self._texts.__getitem__, forecasts.probabilities.argmax(axis=1).tolist())
        chances = np.round(forecasts.probabilities.astype(np.float64), DIGITS)
        columns = (map(orjson.dumps, column) for column in chances.T.tolist())
        return self._envelope.messages(self._template, forecasts, best, *columns)
