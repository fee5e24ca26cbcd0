"""What comes in: where a record holds a tick, event time, and what is kept of the series."""

from itertools import permutations
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, model_validator

from forecaster.config.durations import Duration, PositiveDuration, format_duration, parse_duration
from forecaster.config.section import Section
from forecaster.config.sessions import SessionSettings

PER_MS = {"s": 0.001, "ms": 1.0, "us": 1_000.0, "ns": 1_000_000.0}  # of each `input.time_unit`
MOST_CHANNELS = 1_024
ChannelName = Annotated[str, Field(pattern=r'^[^"\\\x00-\x1f]+$', max_length=256)]
FieldPath = Annotated[str, Field(pattern=r'^[^."\\\x00-\x1f]+(\.[^."\\\x00-\x1f]+)*$')]


def _parse_step(text: object) -> int | None:
    return None if text == "tick" else parse_duration(text)


def _different_channels(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(names) == 1 or len(names) > MOST_CHANNELS:
        raise ValueError(f"names 2 to {MOST_CHANNELS} channels, or none where a value is one number")
    if len(set(names)) != len(names):
        raise ValueError("no two channels have one name")
    return names


def _format_step(milliseconds: int | None) -> str:
    return "tick" if milliseconds is None else format_duration(milliseconds)


def _known_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f'{name!r} is no time zone that this machine knows: write it as "Europe/London"') from None
    return name


TimeZone = Annotated[str, AfterValidator(_known_zone)]


class InputSettings(Section):
    """Where a record holds its series, time and value, and covariates; a field may be a path such as `"data.p"`."""

    format: Literal["json"] = "json"
    """an object a record, or an array of them"""
    series_field: FieldPath = "series"
    """a field may be a path, such as `"data.p"`; without a series the record's key is it"""
    time_field: FieldPath = "ts"
    """a number, or RFC 3339 text with a zone"""
    value_field: FieldPath = "value"
    """a finite number, or a code where `model.task` takes codes, or `null` for a missing observation"""
    channels: Annotated[tuple[ChannelName, ...], AfterValidator(_different_channels)] = ()
    """
    2 to 1,024 names: a value is an object with a number in each of these fields, a multivariate series; must be the
    bundle's ([channels](models/channels.md))
    """
    label_field: FieldPath | None = None
    """with `model.task = "classify"`, what `train` and `backtest` learn and score a tick by; serving does not read
    it"""
    past_covariates: tuple[FieldPath, ...] = ()
    """fields with a number each that the network sees of each tick beside its value; must be the bundle's
    ([covariates](models/covariates.md))"""
    known_covariates: tuple[FieldPath, ...] = ()
    """fields with a list each: what it is at the tick's own step, then at each step of the horizon; must be the
    bundle's"""
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    """of numeric times"""
    value_format: Literal["number", "numeric_string"] = "number"
    """or `"numeric_string"`, for feeds that send prices as text"""

    @model_validator(mode="after")
    def _apart(self) -> "InputSettings":
        fields = self.series_field, self.time_field, self.value_field, self.label_field, *self.covariates
        paths = [f"{path}." for path in fields if path is not None]
        if any(one.startswith(other) for one, other in permutations(paths, 2)):
            raise ValueError(
                "series_field, time_field, value_field, label_field and covariates: no two equal, none inside another"
            )
        return self

    @property
    def covariates(self) -> tuple[str, ...]:
        """All of them, past ones first."""
        return self.past_covariates + self.known_covariates


class StreamSettings(Section):
    """Event time: the grid, bars, lateness and gaps ([how events are taken](events.md))."""

    step: Annotated[int | None, BeforeValidator(_parse_step), PlainSerializer(_format_step)] = 1_000
    """grid spacing; `"tick"` takes each event as a step"""
    bar: Literal["last", "mean", "sum", "count", "min", "max", "ohlc-mean"] | None = None
    """one observation of all ticks in a step"""
    time_zone: TimeZone = "UTC"
    """IANA name, such as `"Europe/London"`: seasons and sessions follow the clock on the wall there ([time zones and \
sessions](models/calendar.md)); must be the bundle's"""
    sessions: SessionSettings = SessionSettings()
    allowed_lateness: Duration = 0
    """how long observations are held back to be put in order"""
    max_gap: Duration | None = None
    """longest gap filled with missing steps: one context if not set"""
    max_future: PositiveDuration = 3_600_000
    """a tick further ahead of its record's time is a dead letter"""
    late_restart: Annotated[int, Field(ge=1)] = 100
    """late ticks in a row that restart a series"""
    rebuild_span: Duration | None = None
    """record time replayed at a start: the longest span of any feature if not set"""

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
    """What is kept of the series, and for how long ([how series end](events.md#how-series-end))."""

    checkpoint_interval: Duration = 60_000
    """how often each partition's state is written to the state topic; `"0s"` never"""
    max_series: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1_000_000
    """series of one process; above it the oldest idle ones are forgotten after each batch"""
    idle_ttl: PositiveDuration | None = None
    """a series idle for longer in event time ends; must exceed `stream.allowed_lateness` and one step"""
    series_in_two_partitions: Literal["warn", "refuse"] = "warn"
    """or `"refuse"`: dead-letter the ticks of a series that another partition of this process has already"""
    window_type: Literal["float32", "float16"] = "float32"
    """or `"float16"`, half the memory of the windows, for a carried network, which reads them only to make its
    state anew"""
