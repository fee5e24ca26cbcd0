"""When a stream is open: hours of the week on the wall clock of `stream.time_zone`, and the days that differ."""

import re
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, PlainSerializer, model_validator

from forecaster.config.section import Section

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY = 24 * 60  # minutes


def _minutes(text: str) -> int:
    match = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text)
    if match is None:
        raise ValueError(f'{text!r} is no time of day: write it as "09:30"')
    return int(match[1]) * 60 + int(match[2])


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _parse_hours(text: object) -> tuple[int, int]:
    opens, dash, closes = text.partition("-") if isinstance(text, str) else ("", "", "")
    if not dash:
        raise ValueError(f'{text!r} are no hours: write them as "09:30-16:00"')
    return _minutes(opens.strip()), _minutes(closes.strip())


def _parse_early(text: object) -> tuple[date, int]:
    day, _, closes = text.partition(" ") if isinstance(text, str) else ("", "", "")
    try:
        return date.fromisoformat(day), _minutes(closes.strip())
    except ValueError:
        raise ValueError(f'{text!r} is no early close: write it as "2026-11-27 13:00"') from None


def _format_hours(hours: tuple[int, int]) -> str:
    return "-".join(map(_clock, hours))


def _format_early(early: tuple[date, int]) -> str:
    return f"{early[0]} {_clock(early[1])}"


Hours = Annotated[tuple[int, int], BeforeValidator(_parse_hours), PlainSerializer(_format_hours)]
EarlyClose = Annotated[tuple[date, int], BeforeValidator(_parse_early), PlainSerializer(_format_early)]


class SessionSettings(Section):
    """When a stream is open, on the clock of `stream.time_zone` ([sessions](models/calendar.md#sessions))."""

    hours: Annotated[tuple[Hours, ...], Field(max_length=24)] = ()
    """such as `["09:30-16:00"]`, several with breaks between; one that closes at or before the time it opens does so \
on the next day, and belongs to the day it opens on; without any the stream is always open; must be the bundle's"""
    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEK[:5]
    """days on which sessions open; must be the bundle's"""
    holidays: Annotated[tuple[date, ...], Field(max_length=10_000)] = ()
    """dates on which none opens; they are known for the years that are listed"""
    early_closes: Annotated[tuple[EarlyClose, ...], Field(max_length=10_000)] = ()
    """dates with the time at which their sessions are over, such as `["2026-11-27 13:00"]`"""

    def week(self) -> list[tuple[int, int]]:
        """Opening and closing of each session of a regular week, in minutes from Monday 00:00, ascending."""
        starts = sorted(DAY * WEEK.index(day) + opens for day in set(self.days) for opens, _ in self.hours)
        return [(start, start + self._length[start % DAY]) for start in starts]

    @property
    def _length(self) -> dict[int, int]:
        return {opens: (closes - opens) % DAY or DAY for opens, closes in self.hours}

    @model_validator(mode="after")
    def _apart(self) -> "SessionSettings":
        if not self.hours and (self.holidays or self.early_closes):
            raise ValueError(
                "hours: not set: without them there are no sessions for holidays and early_closes to change"
            )
        week = self.week()
        if len({opens for opens, _ in self.hours}) < len(self.hours) or any(
            end > start for (_, end), (start, _) in pairwise([*week, *((a + 7 * DAY, b) for a, b in week[:1])])
        ):
            raise ValueError("hours: two sessions overlap")
        return self
