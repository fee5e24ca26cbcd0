"""Every metric of the daemon, declared once. Base units, bounded labels, never a series id."""

from collections.abc import Iterable, Iterator, Mapping

import numpy as np
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

from forecaster.kafka.client import Incident, Lag
from forecaster.records import Float

disable_created_metrics()  # type: ignore[no-untyped-call]

OUTCOMES = ("forecast", "superseded", "aggregated", "late", "duplicate", "rejected")
SECONDS = (
    0.001, 0.002, 0.003, 0.005, 0.007, 0.01, 0.015, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.5, 0.7,
    1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0,
)  # fmt: skip
STAGE_SECONDS = (0.0001, 0.0002, 0.0005, *(bound for bound in SECONDS if bound <= 10))
# Gauges that several workers show of the same thing, or whose sum says nothing: the largest is shown. The others are
# amounts, and the workers' sum is one too.
SHOWN_AS_IS = {
    "forecaster_consumer_lag_records",
    "forecaster_consumer_lag_seconds",
    "forecaster_model_info",
    "forecaster_model_trained_until_timestamp_seconds",
    "forecaster_checkpoint_timestamp_seconds",
    "forecaster_checkpoint_interval_seconds",
    "process_start_time_seconds",
    "process_max_fds",
}
BATCH_SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000)


class ColumnHistogram(Collector):
    """A histogram that takes a whole array of observations in one call."""

    def __init__(self, name: str, documentation: str, buckets: Iterable[float], registry: CollectorRegistry) -> None:
        self._name, self._documentation = name, documentation
        self._bounds = np.array([*buckets, np.inf])
        self._counts = np.zeros(len(self._bounds), np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: Float) -> None:
        """Add `values` `[n]`."""
        bucket = np.searchsorted(self._bounds, values)
        # one new array and one store each: a scrape on another thread sees the old or the new one
        self._counts = self._counts + np.bincount(bucket, minlength=len(self._bounds))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """What a scrape sees."""
        labels = [*(str(bound) for bound in self._bounds[:-1]), "+Inf"]
        buckets = list(zip(labels, np.cumsum(self._counts).astype(float).tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._documentation, buckets=buckets, sum_value=self._sum)


class PartitionGauge:
    """A gauge of each partition that this process has; one that has left disappears."""

    def __init__(self, name: str, documentation: str, registry: CollectorRegistry) -> None:
        self._gauge = Gauge(name, documentation, ["topic", "partition"], registry=registry)
        self._shown: set[int] = set()

    def show(self, topic: str, values: Mapping[int, float]) -> None:
        """Show the partitions in `values` and no other one."""
        for partition, value in values.items():
            self._gauge.labels(topic, str(partition)).set(value)
        for partition in self._shown - values.keys():
            self._gauge.remove(topic, str(partition))
        self._shown = set(values)


class SupervisorMetrics:
    """What the supervisor of several workers adds to the sums of theirs."""

    def __init__(self, workers: Collector) -> None:
        registry = self.registry = CollectorRegistry()
        registry.register(workers)
        self.restarts = Counter(
            "forecaster_worker_restarts", "Workers started again after they had died.", registry=registry
        )


class PageMetrics:
    """What a daemon that serves the live page adds to those on `registry`."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.restarts = Counter(
            "forecaster_page_restarts",
            "Processes of the live page started again after one had died.",
            registry=registry,
        )


class Metrics:
    """All metrics of one process, on a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        # Counted last of a batch and read first of a scrape: where forecasts show, so does all else of their batch.
        self.forecasts = Counter("forecaster_forecasts", "Forecasts acknowledged by the broker.", registry=registry)
        self.ticks = Counter(
            "forecaster_ticks", "Decoded ticks by what became of them.", ["outcome"], registry=registry
        )
        for outcome in OUTCOMES:
            self.ticks.labels(outcome)
        self.tick_to_forecast = ColumnHistogram(
            "forecaster_tick_to_forecast_seconds",
            "From the timestamp of the input record to the acknowledgement of its forecast.",
            SECONDS,
            registry,
        )
        self.stage = Histogram(
            "forecaster_stage_seconds",
            "Time of one batch (features and infer: of one tile of it) in each stage.",
            ["stage"],
            buckets=STAGE_SECONDS,
            registry=registry,
        )
        self.batch_size = Histogram(
            "forecaster_batch_size", "Input records in one batch.", buckets=BATCH_SIZES, registry=registry
        )
        self.series = Gauge("forecaster_series", "Series that have state here.", registry=registry)
        self.ready_workers = Gauge(
            "forecaster_ready_workers", "Workers that hold a place in the consumer group.", registry=registry
        )
        self.unread = Gauge(
            "forecaster_unread_partitions",
            "Partitions held here but not read: without a leader, or not told yet where they begin.",
            registry=registry,
        )
        self._lag_records = PartitionGauge(
            "forecaster_consumer_lag_records", "Records between the position and the end of the partition.", registry
        )
        self._lag_seconds = PartitionGauge(
            "forecaster_consumer_lag_seconds",
            "Age of the last record taken while more are waiting, 0 at the end of the partition.",
            registry,
        )
        self._model = Gauge(
            "forecaster_model_info", "The model that is served.", ["name", "version"], registry=registry
        )
        self._trained_until = Gauge(
            "forecaster_model_trained_until_timestamp_seconds",
            "Event time of the newest observation that the model was trained or chosen by.",
            ["name", "version"],
            registry=registry,
        )
        self.checkpoint = Histogram(
            "forecaster_checkpoint_seconds", "Time to copy one checkpoint.", buckets=SECONDS, registry=registry
        )
        self.checkpoints = Counter(
            "forecaster_checkpoints", "Checkpoints written, by whether they hold all series.", ["kind"],
            registry=registry,
        )  # fmt: skip
        self._checkpoint_times = PartitionGauge(
            "forecaster_checkpoint_timestamp_seconds",
            "When the newest checkpoint of the partition was whole or found to lack nothing, or the partition began.",
            registry,
        )
        self.checkpoint_interval = Gauge(
            "forecaster_checkpoint_interval_seconds", "The setting state.checkpoint_interval; 0: there are none.",
            registry=registry,
        )  # fmt: skip
        self.checkpoint_failures = Counter(
            "forecaster_checkpoint_failures",
            "Checkpoints not made: too large, or interrupted by a failure or as their partition left.",
            ["reason"],
            registry=registry,
        )
        for reason in ("interrupted", "too_large"):
            self.checkpoint_failures.labels(reason)
        self.checkpoints_refused = Counter(
            "forecaster_checkpoints_refused", "Checkpoints that could not be used at a restore.", ["reason"],
            registry=registry,
        )  # fmt: skip
        self.restores = Counter(
            "forecaster_restores",
            "Partitions begun: from a checkpoint, one of another bundle, or by replaying input alone.",
            ["source"],
            registry=registry,
        )
        for source in ("checkpoint", "other_bundle", "replay"):
            self.restores.labels(source)
        self.lost_records = Counter(
            "forecaster_lost_records", "Input records that were deleted before they were read.", registry=registry
        )
        self.topic_recreations = Counter(
            "forecaster_topic_recreations", "Partitions whose input topic was deleted and made anew.",
            registry=registry,
        )  # fmt: skip
        self.stuck_partitions = Counter(
            "forecaster_stuck_partitions", "Partitions that were silently read no more, until connecting anew.",
            registry=registry,
        )  # fmt: skip
        self.dead_letters = Counter(
            "forecaster_dead_letters", "Records sent to the dead-letter topic.", ["reason"], registry=registry
        )
        self.unknown_codes = Counter(
            "forecaster_unknown_codes", "Ticks with a code that the model's vocabulary has not.", registry=registry
        )
        self.replayed = Counter(
            "forecaster_replayed_records", "Records read again to rebuild state, not published.", registry=registry
        )
        self.filled_steps = Counter("forecaster_filled_steps", "Missing steps filled into gaps.", registry=registry)
        self.closed_bars = Counter("forecaster_closed_bars", "Bars completed.", registry=registry)
        self.series_restarts = Counter(
            "forecaster_series_restarts",
            "Series started anew after a gap or after a run of late ticks.",
            ["reason"],
            registry=registry,
        )
        for reason in ("gap", "late"):
            self.series_restarts.labels(reason)
        self.evicted = Counter(
            "forecaster_series_evicted",
            "Series forgotten above the limit, or idle for longer than they are kept.",
            ["reason"],
            registry=registry,
        )
        for reason in ("limit", "idle"):
            self.evicted.labels(reason)
        self.two_partitions = Counter(
            "forecaster_series_in_two_partitions",
            "Series found in a second partition; where they are refused, once for each batch that brings one.",
            registry=registry,
        )
        self.held = Gauge(
            "forecaster_held_observations", "Open bars, and observations held back to be put in order.",
            registry=registry,
        )  # fmt: skip
        self.compiled_shapes = Gauge(
            "forecaster_compiled_shapes",
            "Shapes compiled so far; flat a few seconds after the start.",
            registry=registry,
        )
        self.window_steps = Counter(
            "forecaster_window_steps",
            "Steps in the calls of a network over windows: seen of a series, or padding of rows and lengths.",
            ["part"],
            registry=registry,
        )
        self.failures = Counter(
            "forecaster_broker_failures", "Batches given up and restored after a broker failure.", registry=registry
        )

        self.spans_ended = Counter(
            "forecaster_spans_ended", "Spans of sampled batches that were to be exported.", registry=registry
        )
        self.spans_exported = Counter(
            "forecaster_spans_exported", "Spans that the endpoint has taken; fewer than ended ones were lost.",
            registry=registry,
        )  # fmt: skip

    def count_incident(self, incident: Incident) -> None:
        """Count what a client noticed."""
        if incident.kind == "checkpoint_refused":
            counter = self.checkpoints_refused.labels(incident.reason)
        else:
            counter = {
                "lost_records": self.lost_records,
                "topic_recreated": self.topic_recreations,
                "stuck_partition": self.stuck_partitions,
            }[incident.kind]
        counter.inc(incident.number)

    def show_lag(self, topic: str, lag: Mapping[int, Lag]) -> None:
        """Show the lag of the partitions in `lag`."""
        self._lag_records.show(topic, {partition: behind.records for partition, behind in lag.items()})
        self._lag_seconds.show(topic, {partition: behind.seconds for partition, behind in lag.items()})

    def show_checkpoints(self, topic: str, whole: Mapping[int, float]) -> None:
        """Show by partition since when (epoch seconds) its newest checkpoint is `whole`."""
        self._checkpoint_times.show(topic, whole)

    def show_model(self, name: str, version: str, trained_until_ms: int | None) -> None:
        """Show the model that is served, and up to which event time it knows the world, where its bundle tells."""
        self._model.labels(name, version).set(1)
        if trained_until_ms is not None:
            self._trained_until.labels(name, version).set(trained_until_ms / 1_000)
