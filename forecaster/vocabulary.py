"""Codes as numbers, so that they travel where values do: text in a tick, an id in every array."""

from collections.abc import Sequence

import numpy as np

from forecaster.records import Float

UNKNOWN = 0  # the id of every code that a vocabulary has not
Code = str | int | None  # as a tick has it; None is a missing observation


class Vocabulary:
    """The codes that a model knows, with ids from 1 on in their order."""

    def __init__(self, codes: Sequence[str]) -> None:
        self.codes = tuple(codes)
        self._ids: dict[Code, int] = {code: number for number, code in enumerate(self.codes, 1)}

    def ids(self, values: Sequence[Code]) -> Float:
        """The id of each value `[n]`, NaN where it is missing. A whole number is the code that its digits spell."""
        texts = (str(value) if type(value) is int else value for value in values)
        return np.fromiter((np.nan if text is None else self._ids.get(text, UNKNOWN) for text in texts), np.float64)


class CodeBook:
    """Codes and their labels, numbered as they appear: what a recording's values are until a vocabulary is made."""

    def __init__(self) -> None:
        self._ids: dict[tuple[str, str | None], int] = {}

    @property
    def codes(self) -> list[str]:
        """The code of each number."""
        return [code for code, _ in self._ids]

    @property
    def labels(self) -> list[str | None]:
        """The label that stood beside the code of each number, None where none did."""
        return [label for _, label in self._ids]

    def ids(self, values: Sequence[Code], labels: Sequence[Code] | None = None) -> Float:
        """The number of each value `[n]` with its label, NaN where the value is missing."""
        known = self._ids
        beside = [None] * len(values) if labels is None else [None if one is None else str(one) for one in labels]
        pairs = zip(values, beside, strict=True)
        numbers = (
            np.nan if value is None else known.setdefault((str(value), label), len(known)) for value, label in pairs
        )
        return np.fromiter(numbers, np.float64, len(values))
