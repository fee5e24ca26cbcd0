"""Settings: one frozen tree from a TOML file and FORECASTER_… environment variables."""

from forecaster.config.durations import format_duration, parse_duration
from forecaster.config.kafka import KafkaSettings, TopicSettings
from forecaster.config.load import load_settings
from forecaster.config.model import (
    CODED,
    Aggregate,
    AttentionKind,
    CellKind,
    ModelSettings,
    NetworkKind,
    Precision,
    Quantiles,
    SamplingSettings,
    ShortWindows,
    Task,
    TrainingSettings,
    check_segments,
)
from forecaster.config.sessions import SessionSettings
from forecaster.config.settings import MetricsSettings, Settings
from forecaster.config.stream import InputSettings, StateSettings, StreamSettings
from forecaster.config.telemetry import LogSettings, TracingSettings
from forecaster.config.web import WebSettings

__all__ = [
    "CODED",
    "Aggregate",
    "AttentionKind",
    "CellKind",
    "InputSettings",
    "KafkaSettings",
    "LogSettings",
    "MetricsSettings",
    "ModelSettings",
    "NetworkKind",
    "Precision",
    "Quantiles",
    "SamplingSettings",
    "SessionSettings",
    "Settings",
    "ShortWindows",
    "StateSettings",
    "StreamSettings",
    "Task",
    "TopicSettings",
    "TracingSettings",
    "TrainingSettings",
    "WebSettings",
    "check_segments",
    "format_duration",
    "load_settings",
    "parse_duration",
]
