"""What comes in: where a record holds a tick, event time, and what is kept of the series."""

from itertools import permutations
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from forecaster.config.durations import Duration, PositiveDuration, format_duration, parse_duration
from forecaster.config.section import Section
from forecaster.config.sessions import SessionSettings

PER_MS = {"s": 0.001, "ms": 1.0, "us": 1_000.0, "ns": 1_000_000.0}  # of each `input.time_unit`
FieldPath = Annotated[str, Field(pattern=r'^[^."\\\x00-\x1f]+(\.[^."\\\x00-\x1f]+)*$')]


def _parse_step(text: object) -> int | None:
    return None if text == "tick" else parse_duration(text)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f'{name!r} is no time zone that this machine knows: write it as "Europe/London"') from None
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class InputSettings(Section):
    """Where a record holds its series, time and value; a field may be a path such as "data.p"."""

    format: Literal["json"] = "json"
    series_field: FieldPath = "series"
    time_field: FieldPath = "ts"
    value_field: FieldPath = "value"
    label_field: FieldPath | None = None
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    value_format: Literal["number", "numeric_string"] = "number"

    @model_validator(mode="after")
    def _apart(self) -> "InputSettings":
        fields = self.series_field, self.time_field, self.value_field, self.label_field
        paths = [f"{path}." for path in fields if path is not None]
        if any(one.startswith(other) for one, other in permutations(paths, 2)):
            raise ValueError("series_field, time_field, value_field and label_field: no two equal, none inside another")
        return self


class StreamSettings(Section):
    """Event time: the grid, bars, lateness and gaps. Durations are milliseconds once parsed."""

    step: Annotated[
        int | None,
        BeforeValidator(_parse_step),
        PlainSerializer(lambda ms: "tick" if ms is None else format_duration(ms)),
    ] = 1_000
    bar: Literal["last", "mean", "sum", "count", "min", "max", "ohlc-mean"] | None = None
    time_zone: TimeZone = "UTC"
    sessions: SessionSettings = SessionSettings()
    allowed_lateness: Duration = 0
    max_gap: Duration | None = None
    max_future: PositiveDuration = 3_600_000
    late_restart: Annotated[int, Field(ge=1)] = 100
    rebuild_span: Duration | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "StreamSettings":
        if self.step == 0:
            raise ValueError("step must be longer than nothing")
        if self.step is None and self.bar is not None:
            raise ValueError('bar needs a step with a duration, not "tick"')
        if self.step is None and self.time_zone != "UTC" and not self.sessions.hours:
            raise ValueError('time_zone: events that are steps of their own (step = "tick") have no time of day')
        return self

    def gap_limit_ms(self, context_length: int) -> int | None:
        """Longest gap that is filled with missing steps: `max_gap`, or one context by default.

        With `step = "tick"` and no `max_gap` a silence never restarts a series: None.
        """
        if self.max_gap is not None:
            return self.max_gap
        return None if self.step is None else context_length * self.step


class StateSettings(Section):
    """What is kept of the series, for how long, and how often it is written to the state topic ("0s": never)."""

    checkpoint_interval: Duration = 60_000
    max_series: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    idle_ttl: PositiveDuration | None = None
    series_in_two_partitions: Literal["warn", "refuse"] = "warn"
    window_type: Literal["float32", "float16"] = "float32"
