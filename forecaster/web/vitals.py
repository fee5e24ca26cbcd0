"""How the daemon is: its own metrics, once a second, as a person reads them."""

import threading
from collections import deque
from typing import Any

from forecaster.web.telemetry import Buckets, Rate, parse, percentile, since

SECONDS = 60  # of latencies that the percentiles are of


class Vitals:
    """Fed with the metrics in the text format of Prometheus on one thread, asked on another."""

    def __init__(self) -> None:
        self._rate = Rate()
        self._latency: deque[Buckets] = deque(maxlen=SECONDS)
        self._lock = threading.Lock()
        self._figures: dict[str, Any] = {}

    def tell(self, text: str, now: float) -> None:
        """Take the metrics as they are at `now`, in seconds of any clock."""
        seen = parse(text)
        self._latency.append(seen.latency)
        recent = since(seen.latency, self._latency[0])
        figures = {
            "model": seen.model,
            "series": int(seen.series),
            "ticks_per_second": self._rate.update(now, seen.ticks),
            "lag_records": int(seen.lag_records),
            "p50_s": percentile(recent, 0.5),
            "p99_s": percentile(recent, 0.99),
        }
        with self._lock:
            self._figures = figures

    def figures(self) -> dict[str, Any]:
        """The newest; empty before there are any."""
        with self._lock:
            return self._figures
