"""Settings: one frozen tree from a TOML file and FORECASTER_… environment variables."""

import os
import re
import tomllib
from itertools import permutations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from forecaster.errors import ConfigError

PER_MS = {"s": 0.001, "ms": 1.0, "us": 1_000.0, "ns": 1_000_000.0}  # of each `input.time_unit`
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


def _parse_step(text: object) -> int | None:
    return None if text == "tick" else parse_duration(text)


def _ordered_quantiles(levels: tuple[float, ...]) -> tuple[float, ...]:
    if 0.5 not in levels:
        raise ValueError("must contain 0.5, which is the published point")
    if list(levels) != sorted(set(levels)):
        raise ValueError("must ascend without repeats")
    return levels


def check_segments(segment_length: int, context_length: int, horizon: int) -> None:
    """Raise `ValueError` where `segment_length` does not cut both a window and a horizon into whole segments."""
    if context_length % segment_length or horizon % segment_length:
        raise ValueError(
            f"segment_length: {segment_length} must divide the context_length, {context_length}, "
            f"and the horizon, {horizon}"
        )


NetworkKind = Literal["carried", "segment"]
Precision = Literal["float32", "bfloat16", "float16"]
Duration = Annotated[int, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
PositiveDuration = Annotated[Duration, AfterValidator(_positive)]
Level = Annotated[float, Field(gt=0, lt=1)]
Quantiles = Annotated[tuple[Level, ...], AfterValidator(_ordered_quantiles)]
Units = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)]
FieldPath = Annotated[str, Field(pattern=r'^[^."\\\x00-\x1f]+(\.[^."\\\x00-\x1f]+)*$')]


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class KafkaSettings(Section):
    """How to reach the broker, and the consumer group."""

    bootstrap_servers: Annotated[str, Field(min_length=1)] = "localhost:9092"
    client: Literal["kafka-python", "librdkafka"] = "kafka-python"
    group_id: Annotated[str, Field(min_length=1)] = "forecaster"
    auto_offset_reset: Literal["earliest", "latest"] = "earliest"
    max_poll_records: Annotated[int, Field(ge=1, le=100_000)] = 5_000
    session_timeout: PositiveDuration = 45_000
    group_instance_id: Annotated[str | None, Field(min_length=1)] = None
    transactional_id: Annotated[str | None, Field(min_length=1)] = None
    worker_index: Annotated[int, Field(ge=0)] = 0
    transaction_timeout: PositiveDuration = 10_000
    lost_offsets: Literal["continue", "stop"] = "continue"
    stuck_timeout: PositiveDuration = 60_000
    startup_timeout: PositiveDuration = 60_000
    delivery_timeout: PositiveDuration = 60_000
    shutdown_timeout: PositiveDuration = 30_000
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    ssl_ca_file: Path | None = None
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None


class TopicSettings(Section):
    """Topic names; a missing one is created with `partitions` when `create` is on."""

    input: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "ticks"
    output: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts"
    dead_letter: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts.dlq"
    state: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")] = "forecasts.state"
    dead_letters_per_minute: Annotated[int | None, Field(ge=0)] = None
    create: bool = True
    partitions: Annotated[int, Field(ge=1, le=10_000)] = 4
    replication_factor: Annotated[int, Field(ge=-1, le=10)] = -1

    @model_validator(mode="after")
    def _distinct(self) -> "TopicSettings":
        names = [self.input, self.output, self.dead_letter, self.state]
        if len(set(names)) != len(names):
            raise ValueError("input, output, dead_letter and state must be four different topics")
        return self


class InputSettings(Section):
    """Where a record holds its series, time and value; a field may be a path such as "data.p"."""

    format: Literal["json"] = "json"
    series_field: FieldPath = "series"
    time_field: FieldPath = "ts"
    value_field: FieldPath = "value"
    time_unit: Literal["s", "ms", "us", "ns"] = "ms"
    value_format: Literal["number", "numeric_string"] = "number"

    @model_validator(mode="after")
    def _apart(self) -> "InputSettings":
        paths = [f"{path}." for path in (self.series_field, self.time_field, self.value_field)]
        if any(one.startswith(other) for one, other in permutations(paths, 2)):
            raise ValueError("series_field, time_field and value_field must be three fields, none inside another")
        return self


class StreamSettings(Section):
    """Event time: the grid, bars, lateness and gaps. Durations are milliseconds once parsed."""

    step: Annotated[
        int | None,
        BeforeValidator(_parse_step),
        PlainSerializer(lambda ms: "tick" if ms is None else format_duration(ms)),
    ] = 1_000
    bar: Literal["last", "mean", "sum", "count", "min", "max", "ohlc-mean"] | None = None
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


class ModelSettings(Section):
    """The bundle to serve; the rest is what `train` builds (and `run` holds a bundle against)."""

    bundle: Path | None = None
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = "gru"
    horizon: Annotated[int, Field(ge=1, le=10_000)] = 24
    quantiles: Quantiles = (0.1, 0.5, 0.9)
    context_length: Annotated[int, Field(ge=2, le=1_000_000)] = 336
    seasons: tuple[PositiveDuration, ...] | None = None
    transform: Literal["none", "log"] = "none"
    network: NetworkKind = "carried"
    segment_length: Annotated[int | None, Field(ge=1)] = None
    units: Units = (64,)
    precision: Precision = "float32"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5

    @model_validator(mode="after")
    def _segments(self) -> "ModelSettings":
        if self.network == "carried":
            if self.segment_length is not None:
                raise ValueError('segment_length: only network = "segment" has segments')
            return self
        if len(self.units) > 1:
            raise ValueError(f'units: network = "segment" has one GRU layer, not {len(self.units)}')
        check_segments(self.segment_length or 1, self.context_length, self.horizon)
        return self


class TrainingSettings(Section):
    """How `train` splits by time and fits."""

    train_fraction: Level = 0.7
    validation_fraction: Level = 0.15
    epochs: Annotated[int, Field(ge=1)] = 20
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    patience: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    sizes: tuple[Units, ...] = ()
    caution: Annotated[float, Field(ge=0, le=10)] = 2.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _fractions(self) -> "TrainingSettings":
        if self.train_fraction + self.validation_fraction > 1:
            raise ValueError("train_fraction and validation_fraction must not exceed 1 together")
        return self


class MetricsSettings(Section):
    """Where /metrics, /livez and /readyz are served; port 0 picks a free one."""

    host: str = "0.0.0.0"  # noqa: S104  # Prometheus and the probes come from outside
    port: Annotated[int, Field(ge=0, le=65535)] = 9108


class Settings(BaseSettings):
    """Every setting; `load_settings` is the way to make one."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FORECASTER_", env_nested_delimiter="__", env_file=None
    )

    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    emit: Literal["every", "latest"] = "every"
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    input: InputSettings = InputSettings()
    stream: StreamSettings = StreamSettings()
    state: StateSettings = StateSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    metrics: MetricsSettings = MetricsSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.stream.step is None and self.model.seasons:
            raise ValueError('model.seasons needs a stream.step with a duration, not "tick"')
        if self.model.network == "segment" and any(len(units) > 1 for units in self.training.sizes):
            raise ValueError('training.sizes: model.network = "segment" has one GRU layer')
        held_ms = self.stream.allowed_lateness + (self.stream.step or 0)
        if self.state.idle_ttl is not None and self.state.idle_ttl <= held_ms:
            raise ValueError(
                f"state.idle_ttl: must be longer than stream.allowed_lateness and one step, {format_duration(held_ms)}"
            )
        return self

    @model_validator(mode="after")
    def _transactions_end_in_time(self) -> "Settings":
        kafka = self.kafka
        if self.delivery == "exactly_once" and kafka.transaction_timeout >= kafka.session_timeout:
            raise ValueError(
                f"kafka.transaction_timeout ({format_duration(kafka.transaction_timeout)}) must be shorter than "
                f"kafka.session_timeout ({format_duration(kafka.session_timeout)}): what a lost worker left open must "
                "be ended before another one takes over"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file: both are sources, the file's content comes as init arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None) -> Settings:
    """Settings from the TOML file at `path` and the environment, which wins.

    Raises `ConfigError` with one line that names the file and the setting at fault.
    """
    place = str(path) if path else "environment"
    try:
        tree = tomllib.loads(path.read_text("utf-8")) if path else {}
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place}: not valid TOML: {error}") from error
    for key in tree.keys() - Settings.model_fields.keys():  # some would be arguments of pydantic-settings itself
        raise ConfigError(f"{place}: {_one_line(key)}: unknown setting")
    _check_environment()
    try:
        return Settings(**tree)
    except ValidationError as error:
        raise ConfigError(f"{place}: {_first_fault(error)}") from None
    except SettingsError as error:
        section = re.findall(r'field "(\w+)"', str(error))[0]
        raise ConfigError(f"environment: {section}: a list or section in a variable must be JSON") from None


def _check_environment() -> None:
    """Refuse a variable of a section that does not exist; one without a section may be Kubernetes' own."""
    for name in os.environ:
        section, nested, _ = name.lower().removeprefix("forecaster_").partition("__")
        if name.lower().startswith("forecaster_") and nested and section not in Settings.model_fields:
            raise ConfigError(f"environment: {_one_line(name)}: unknown setting")


def _one_line(key: str) -> str:
    """`key` with line ends and other control characters escaped."""
    return repr(key)[1:-1]


def _first_fault(error: ValidationError) -> str:
    """The first fault of `error` as `section.setting: what is wrong`, and how many more there are."""
    faults = error.errors(include_url=False, include_input=False)
    setting = _one_line(".".join(str(part) for part in faults[0]["loc"])) or "settings"
    text = faults[0]["msg"].removeprefix("Value error, ")
    if faults[0]["type"] == "extra_forbidden":
        text = "unknown setting"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{setting}: {text}{more}"
