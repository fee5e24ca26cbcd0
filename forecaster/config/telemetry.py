"""What the daemon tells besides its metrics."""

from typing import Annotated, Literal

from pydantic import Field

from forecaster.config.section import Section


class LogSettings(Section):
    """How standard error reads, and how many warnings of one reason a minute may have."""

    format: Literal["json", "text"] = "json"
    warnings_per_minute: Annotated[int, Field(ge=1)] = 20


class TracingSettings(Section):
    """Whether batches are traced, where the spans go (OTLP over HTTP), and the share of batches that are."""

    enabled: bool = False
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+(/\S*)?$")] = "http://localhost:4318/v1/traces"
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
