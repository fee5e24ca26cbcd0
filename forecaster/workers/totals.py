"""The metrics of several workers as those of one."""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator

from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from forecaster.telemetry.metrics import SHOWN_AS_IS


class Totals(Collector):
    """Sums over all workers, in which those that have ended still count; fed and scraped on any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: dict[int, str] = {}
        self._ended: list[Metric] = []

    def tell(self, worker: int, text: str) -> None:
        """Take the metrics of `worker`, in the text format of Prometheus, in place of its last ones."""
        with self._lock:
            self._running[worker] = text

    def keep(self, worker: int) -> None:
        """`worker` has ended: its counts stay, its gauges go."""
        with self._lock:
            last = text_string_to_metric_families(self._running.pop(worker, ""))
            self._ended = summed([*self._ended, *(family for family in last if family.type != "gauge")])

    def collect(self) -> Iterator[Metric]:
        """What a scrape sees."""
        with self._lock:
            ended, texts = self._ended, list(self._running.values())
        running = (family for text in texts for family in text_string_to_metric_families(text))
        yield from summed([*ended, *running])


def summed(families: Iterable[Metric]) -> list[Metric]:
    """One family of each name: samples of the same labels are added up, or the largest is shown where a sum is none."""
    merged: dict[str, Metric] = {}
    values: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = defaultdict(dict)
    for family in families:
        merged.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        found = values[family.name]
        for name, labels, value, *_ in family.samples:
            key = name, tuple(labels.items())
            if family.name in SHOWN_AS_IS:
                found[key] = max(value, found.get(key, value))
            else:
                found[key] = value + found.get(key, 0.0)
    for name, family in merged.items():
        for (sample, pairs), value in values[name].items():
            family.add_sample(sample, dict(pairs), value)
    return list(merged.values())
