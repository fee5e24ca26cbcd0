"""The live page."""

from typing import Annotated

from pydantic import Field

from forecaster.config.durations import PositiveDuration
from forecaster.config.section import Section

HostName = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+$", max_length=253)]


class WebSettings(Section):
    """Where [the live page](live-page.md) is served, and what bounds it."""

    enabled: bool = False
    """serve the live page (`pip install "forecaster[web]"`)"""
    host: str = "127.0.0.1"
    """it asks nobody who they are: before `"0.0.0.0"`, put something in front that does"""
    hosts: tuple[HostName, ...] | None = None
    """names by which browsers may call the page, such as `["forecaster.example.com"]`, beside its addresses and
    `localhost`, which always may; if not set, none while `host` is a loopback address, and any otherwise"""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """0 takes a free one, which the log names"""
    max_series: Annotated[int, Field(ge=1, le=100_000)] = 2_000
    """series that are drawn, counted by their channels; all others can be searched for, and are drawn once somebody
    looks"""
    max_viewers: Annotated[int, Field(ge=1, le=10_000)] = 200
    """open pages; one more is told to come back later"""
    records_per_second: Annotated[int, Field(ge=100, le=1_000_000)] = 2_000
    """of each of the two topics that the page reads at most; what is more it skips"""
    requests_per_second: Annotated[int, Field(ge=1, le=100_000)] = 50
    """of one client in the long run, twice as many at once"""
    stale_after: PositiveDuration = 300_000
    """a series without a tick and a forecast for so long is listed as stale"""
