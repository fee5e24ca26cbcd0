"""What the daemon exports, by the declarations: every metric, its type, its labels, and the samples it has."""

from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import Metric

from forecaster.telemetry.metrics import ColumnHistogram, Metrics, PageMetrics, PartitionGauge, SupervisorMetrics
from forecaster.workers.totals import Totals

SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


class Exported(NamedTuple):
    """One metric as a reader of /metrics names it."""

    name: str
    type: str
    labels: tuple[str, ...]
    help: str

    def samples(self) -> dict[str, set[str]]:
        """Labels by the name of each sample."""
        names = [self.name] if self.type == "counter" else [self.name + suffix for suffix in SUFFIXES[self.type]]
        return {name: {*self.labels, *(("le",) if name.endswith("_bucket") else ())} for name in names}


def exported() -> list[Exported]:
    """Every metric of a daemon of one worker, of several, or with a page, in the order of the declarations."""
    metrics, supervisor, page = Metrics(), SupervisorMetrics(Totals()), PageMetrics(CollectorRegistry())
    labels = labels_of(metrics) | labels_of(supervisor) | labels_of(page)
    return [
        Exported(family.name + ("_total" if family.type == "counter" else ""), family.type, labels.get(family.name, ()),
                 family.documentation)
        for family in [*families(metrics.registry), *families(supervisor.registry), *families(page.registry)]
    ]  # fmt: skip


def families(registry: CollectorRegistry) -> list[Metric]:
    """All families, also those that have no sample yet."""
    return [family for collector in list(registry._collector_to_names) for family in collector.collect()]


def labels_of(owner: object) -> dict[str, tuple[str, ...]]:
    """Labels by the name of the family, of those that have any."""
    found = {}
    for metric in vars(owner).values():
        declared = metric._gauge if isinstance(metric, PartitionGauge) else metric
        if isinstance(declared, Counter | Gauge | Histogram):
            found[declared._name] = tuple(declared._labelnames)
        assert not isinstance(metric, ColumnHistogram) or metric._name not in found
    return found
