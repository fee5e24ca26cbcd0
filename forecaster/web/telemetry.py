"""What an operator reads off the daemon's metrics: rates and percentiles, from two scrapes or more."""

import urllib.request
from collections import deque
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from forecaster.errors import ForecasterError

RATE_SECONDS = 5.0
SHOWN = (
    "forecaster_ticks_total",
    "forecaster_consumer_lag_records",
    "forecaster_tick_to_forecast_seconds_bucket",
    "forecaster_series ",
    "forecaster_model_info",
)
Buckets = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Scrape:
    """The metrics that are shown. `latency` is the histogram: (upper bound in seconds, cumulative count)."""

    ticks: float
    lag_records: float
    latency: Buckets
    series: float = 0.0
    model: str = ""


def scrape(address: str) -> Scrape:
    """The daemon's metrics now."""
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=5) as answer:  # noqa: S310  # our own daemon
            text = answer.read().decode()
    except OSError as error:
        raise ForecasterError(f"{address}/metrics does not answer: {error}") from error
    return parse(text)


def parse(text: str) -> Scrape:
    """The metrics in the text of a scrape."""
    ticks = lag = series = 0.0
    model, latency = "", []
    shown = "\n".join(line for line in text.splitlines() if line.startswith(SHOWN))  # parsing is slow
    for family in text_string_to_metric_families(shown + "\n"):
        for sample in family.samples:
            if sample.name == "forecaster_ticks_total":
                ticks += sample.value
            elif sample.name == "forecaster_consumer_lag_records":
                lag += sample.value
            elif sample.name == "forecaster_tick_to_forecast_seconds_bucket":
                latency.append((float(sample.labels["le"]), sample.value))
            elif sample.name == "forecaster_series":
                series += sample.value
            elif sample.name == "forecaster_model_info":
                model = f"{sample.labels['name']}@{sample.labels['version']}"
    return Scrape(ticks, lag, tuple(sorted(latency)), series, model)


def since(now: Buckets, before: Buckets) -> Buckets:
    """The histogram of what was observed between two scrapes."""
    earlier = dict(before)
    return tuple((bound, count - earlier.get(bound, 0.0)) for bound, count in now)


def percentile(buckets: Buckets, share: float) -> float | None:
    """The value below which `share` of the observations lie, as Prometheus interpolates it; None without any.

    Linear within a bucket; in the last one, which has no end, its lower bound.
    """
    total = buckets[-1][1] if buckets else 0.0
    if total <= 0:
        return None
    low, below = 0.0, 0.0
    for bound, count in buckets:
        if count >= share * total and count > below:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (share * total - below) / (count - below)
        low, below = bound, count
    return low


class Rate:
    """How fast a counter grows, over the last `RATE_SECONDS` or, where they are further apart, two updates."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, float]] = deque()

    def update(self, now: float, count: float) -> float:
        """Growth per second, `now` in seconds of any clock."""
        self._points.append((now, count))
        while len(self._points) > 2 and now - self._points[1][0] >= RATE_SECONDS:
            self._points.popleft()
        then, earlier = self._points[0]
        return (count - earlier) / (now - then) if now > then else 0.0
