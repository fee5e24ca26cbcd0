"""The value of a multivariate tick: an object with a number for each channel. What else it holds is not looked at."""

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import msgspec


class ChannelValues:
    """Reads a `number` for each of the `channels`; one that is not there or null is missing, in a null value all."""

    def __init__(self, channels: Sequence[str], number: Any) -> None:
        self.channels = channels
        fields: list[tuple[str, Any, Any]] = [
            (f"c{place}", number, msgspec.field(name=name, default=None)) for place, name in enumerate(channels)
        ]
        self.kind: Any = msgspec.defstruct("Values", fields, kw_only=True) | None
        self._row = attrgetter(*(name for name, _, _ in fields))
        self._missing = (None,) * len(channels)

    def flat(self, values: Iterable[Any]) -> list[Any]:
        """The channels of every value, one after another."""
        row, missing = self._row, self._missing
        return list(chain.from_iterable(missing if value is None else row(value) for value in values))
