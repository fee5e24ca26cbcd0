"""Lengths of time as settings have them: a whole number and a unit, milliseconds once parsed."""

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

UNIT_MS = {"ms": 1, "s": 1_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000}
LONGEST_MS = 365_000 * UNIT_MS["d"]  # far from where sums with an event time leave 64 bits


def parse_duration(text: object) -> int:
    """Milliseconds in `text`, a whole number and a unit such as "500ms", "15min" or "1d"."""
    match = re.fullmatch(r"(\d{1,15})\s*([a-z]+)", text) if isinstance(text, str) else None
    if match is None or match[2] not in UNIT_MS:
        units = ", ".join(UNIT_MS)
        raise ValueError(f'{text!r} is no duration: write a whole number and a unit ({units}), such as "15min"')
    milliseconds = int(match[1]) * UNIT_MS[match[2]]
    if milliseconds > LONGEST_MS:
        raise ValueError(f"{text!r} is longer than a thousand years")
    return milliseconds


def format_duration(milliseconds: int) -> str:
    """The shortest text that `parse_duration` reads back."""
    for unit, size in reversed(UNIT_MS.items()):
        if milliseconds >= size and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms"


def _positive(milliseconds: int) -> int:
    if milliseconds <= 0:
        raise ValueError("must be longer than nothing")
    return milliseconds


Duration = Annotated[int, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
