"""Every setting, as one frozen tree."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from forecaster.config.durations import UNIT_MS, format_duration
from forecaster.config.kafka import KafkaSettings, TopicSettings
from forecaster.config.model import ModelSettings, TrainingSettings
from forecaster.config.section import Section
from forecaster.config.stream import InputSettings, StateSettings, StreamSettings
from forecaster.config.telemetry import LogSettings, TracingSettings
from forecaster.config.web import WebSettings


class MetricsSettings(Section):
    """Where metrics and probes are served."""

    host: str = "0.0.0.0"  # noqa: S104  # Prometheus and the probes come from outside
    """address to listen at"""
    port: Annotated[int, Field(ge=0, le=65535)] = 9108
    """`/metrics`, `/startupz`, `/readyz`, `/livez`; 0 takes a free one"""
    tls_cert_file: Path | None = None
    """PEM file of a certificate: everything above is served over TLS then"""
    tls_key_file: Path | None = None
    """PEM file of its key"""
    tls_client_ca_file: Path | None = None
    """PEM file of the authorities that sign clients' certificates: `/metrics` is for those who show one, the probes
    for all"""

    @model_validator(mode="after")
    def _tls_whole(self) -> "MetricsSettings":
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file: a certificate goes with its key, set both")
        if self.tls_client_ca_file is not None and self.tls_cert_file is None:
            raise ValueError("tls_client_ca_file: there is no tls_cert_file")
        return self


class Settings(BaseSettings):
    """Every setting; `load_settings` is the way to make one."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="FORECASTER_", env_nested_delimiter="__", env_file=None
    )

    delivery: Literal["exactly_once", "at_least_once"] = "exactly_once"
    """forecasts, dead letters, state and offsets of a batch in one transaction; with `"at_least_once"` offsets are
    committed after the forecasts are acknowledged ([what is promised](delivery.md))"""
    emit: Literal["every", "latest"] = "every"
    """forecast at each observation, or with `"latest"` only at the newest of each series in a batch"""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """processes of this daemon, each a member of the group with partitions of its own ([several
    workers](workers.md))"""
    kafka: KafkaSettings = KafkaSettings()
    topics: TopicSettings = TopicSettings()
    input: InputSettings = InputSettings()
    stream: StreamSettings = StreamSettings()
    state: StateSettings = StateSettings()
    model: ModelSettings = ModelSettings()
    training: TrainingSettings = TrainingSettings()
    metrics: MetricsSettings = MetricsSettings()
    logs: LogSettings = LogSettings()
    tracing: TracingSettings = TracingSettings()
    web: WebSettings = WebSettings()

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        if self.stream.step is None and self.model.seasons:
            raise ValueError('model.seasons needs a stream.step with a duration, not "tick"')
        week_ms = UNIT_MS["w"]
        if self.stream.sessions.hours and any(week_ms % season for season in self.model.seasons or ()):
            raise ValueError("model.seasons: with stream.sessions each must divide a week, as 1h, 1d and 1w do")
        if self.model.network != "carried" and any(len(units) > 1 for units in self.training.sizes):
            raise ValueError(f'training.sizes: model.network = "{self.model.network}" has one recurrent layer')
        if self.model.coded and self.input.value_format != "number":
            raise ValueError(
                f'input.value_format: the values of model.task = "{self.model.task}" are codes, not numbers'
            )
        if self.input.channels and self.input.covariates:
            raise ValueError("input.channels: a multivariate series has no covariates: leave out one or the other")
        if self.input.channels and (self.model.network, self.model.task) != ("carried", "forecast"):
            model = self.model
            raise ValueError(
                f'input.channels: a multivariate series has model.task = "forecast" and model.network = "carried", '
                f'not "{model.task}" and "{model.network}"'
            )
        if self.model.coded and self.stream.bar not in {None, "last"}:
            raise ValueError(f'stream.bar: a bar of codes is the "last" one, there is no {self.stream.bar!r} of them')
        held_ms = self.stream.allowed_lateness + (self.stream.step or 0)
        if self.state.idle_ttl is not None and self.state.idle_ttl <= held_ms:
            raise ValueError(
                f"state.idle_ttl: must be longer than stream.allowed_lateness and one step, {format_duration(held_ms)}"
            )
        return self

    @model_validator(mode="after")
    def _covariates(self) -> "Settings":
        named = {name: getattr(self.input, name) for name in ("past_covariates", "known_covariates")}
        setting = next((f"input.{name}" for name, fields in named.items() if fields), None)
        if setting is None:
            return self
        if self.model.task != "forecast" or self.model.network != "carried":
            raise ValueError(f'{setting}: only model.task = "forecast" with model.network = "carried" takes covariates')
        if self.stream.bar is not None and self.input.known_covariates:
            raise ValueError("input.known_covariates: goes without stream.bar: its ticks tell of different horizons")
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
