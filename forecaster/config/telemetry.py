"""What the daemon tells besides its metrics."""

from typing import Annotated, Literal

from pydantic import Field

from forecaster.config.section import Section


class LogSettings(Section):
    """How standard error reads ([logs](operations.md#logs))."""

    format: Literal["json", "text"] = "json"
    """an object a line, or `"text"` for eyes"""
    warnings_per_minute: Annotated[int, Field(ge=1)] = 20
    """of one reason; how many more there were is told after that minute. Errors are never withheld"""


class TracingSettings(Section):
    """Whether batches are traced, and where the spans go ([what a trace has](operations.md#traces))."""

    enabled: bool = False
    """a trace of each batch (`pip install "forecaster[otel]"`)"""
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/\S*)?$")] = "http://localhost:4318/v1/traces"
    """where the spans are sent, OTLP over HTTP; a token goes into `OTEL_EXPORTER_OTLP_HEADERS`"""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """the share of batches that are traced"""
