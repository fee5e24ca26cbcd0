"""The live page."""

from typing import Annotated

from pydantic import Field

from forecaster.config.durations import PositiveDuration
from forecaster.config.section import Section


class WebSettings(Section):
    """Where the live page is served, and what bounds it; port 0 picks a free one. It asks nobody who they are."""

    enabled: bool = False
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    max_series: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    max_viewers: Annotated[int, Field(ge=1, le=10_000)] = 200
    records_per_second: Annotated[int, Field(ge=100, le=1_000_000)] = 2_000
    requests_per_second: Annotated[int, Field(ge=1, le=100_000)] = 50
    stale_after: PositiveDuration = 300_000
