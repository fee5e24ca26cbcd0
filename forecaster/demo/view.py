"""What the demo tells while it streams: one line now and then. The live page shows the rest."""

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest forecast of a series, one step ahead, and the value that it was made at."""

    name: str
    origin_ms: int
    actual: float
    low: float
    middle: float
    high: float


@dataclass(frozen=True, slots=True)
class Frame:
    """What is known of the stream at one moment."""

    model: str
    unit: str
    elapsed_s: float
    ticks_per_second: float
    lag_records: float
    p50_s: float | None
    p99_s: float | None
    forecasts: int
    newest: Newest | None = None


def plain_line(frame: Frame) -> str:
    """The frame as one line."""
    parts = [
        f"{frame.elapsed_s:3.0f} s",
        f"{frame.forecasts:,} forecasts",
        f"{frame.ticks_per_second:.0f} ticks/s",
        f"lag {frame.lag_records:.0f}",
        f"p50 {seconds(frame.p50_s)}",
        f"p99 {seconds(frame.p99_s)}",
    ]
    if (newest := frame.newest) is not None:
        ahead = f"{newest.actual:,.0f} → {newest.middle:,.0f} [{newest.low:,.0f}, {newest.high:,.0f}] {frame.unit}"
        parts.append(f"{newest.name} {clock(newest.origin_ms)}: {ahead}")
    return " | ".join(parts)


def seconds(value: float | None) -> str:
    """A latency as a person reads it."""
    if value is None:
        return "none yet"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def clock(time_ms: int) -> str:
    """Event time, such as "Mon 26 Jun 14:30"."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%a %d %b %H:%M")
