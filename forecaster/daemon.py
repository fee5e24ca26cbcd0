"""The lifecycle of `forecaster run`: start, loop, drain."""

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Protocol

import numpy as np
from prometheus_client import CollectorRegistry

from forecaster.bundle.manifest import Manifest, configured_bundle, read_bundle
from forecaster.checkpoint.reader import Reader
from forecaster.checkpointing import Checkpoints
from forecaster.config import Settings
from forecaster.errors import BrokerUnavailableError, RetryableError
from forecaster.kafka.client import Client
from forecaster.memory import settle
from forecaster.poison import PoisonLimit
from forecaster.records import RecordBatch
from forecaster.telemetry.logs import RareWarning, event
from forecaster.telemetry.metrics import Metrics
from forecaster.telemetry.traces import NoTraces, Stages, Traces
from forecaster.web.endpoints import Probe

if TYPE_CHECKING:  # they import TensorFlow, for which the checks of a start need not wait
    from forecaster.pipeline import Output, Pipeline

POLL_MS = 200
BUSY_POLL_MS = 10  # while there is more of a checkpoint to write
LAG_EVERY_S = 1.0
LONGEST_BACKOFF_S = 5.0

Clock = Callable[[], float]
MakeReader = Callable[[int], Reader]


class Exposed(Protocol):
    """Where metrics and probes are shown: the port of an endpoint, None for a worker that reports to its supervisor."""

    @property
    def port(self) -> int | None: ...


Expose = Callable[[CollectorRegistry, Mapping[str, Probe]], AbstractContextManager[Exposed]]


class Daemon:
    """One synchronous loop: poll, process, publish, commit. `clock` gives epoch seconds."""

    def __init__(
        self, pipeline: "Pipeline", client: Client, metrics: Metrics, clock: Clock, traces: Traces | None = None
    ) -> None:
        self.pipeline, self.client, self.metrics, self._clock = pipeline, client, metrics, clock
        self._traces = traces or NoTraces()
        self._stage = Stages(metrics, self._traces)
        self.checkpoints = Checkpoints(pipeline, metrics, clock)
        self.stopping = threading.Event()
        self.ready = False
        self.turned = clock()
        self.forecasts = 0
        self._lag_shown = 0.0
        self._poison = PoisonLimit(pipeline.settings.topics.dead_letters_per_minute, clock)
        self._evicted = RareWarning("series_evicted", clock)
        self._elsewhere = RareWarning("series_in_two_partitions", clock)

    def loop(self) -> None:
        """Turn until `stopping` is set. A broker failure never ends it: state is dropped and restored.

        Raises `BrokerUnavailableError` when the batch in hand could not be published while stopping, and
        `PoisonError` when it has too many dead letters to be published at all.
        """
        backoff = 0.0
        while not self.stopping.is_set():
            self.turned = self._clock()
            try:
                if self._turn():  # an empty poll shows nothing: publishing is what fails while a topic is away
                    backoff = 0.0
            except RetryableError as error:
                if self.stopping.is_set():
                    raise BrokerUnavailableError(f"stopped with output not flushed: {error}") from error
                self.metrics.failures.inc()
                self.ready = False
                event("broker_failure", logging.WARNING, error=str(error), retry_seconds=backoff)
                self.stopping.wait(backoff)
                backoff = min(LONGEST_BACKOFF_S, backoff * 2 or 0.5)
                self._reset()

    def _turn(self) -> bool:
        """Poll and what follows from it; whether anything was delivered."""
        records = self.client.poll(BUSY_POLL_MS if self.checkpoints.busy else POLL_MS)
        self._hand_over()
        delivered = False
        if len(records) or (self.checkpoints.busy and self.client.joined()):
            with self._traces.batch(records):
                delivered = self._batch(records)
        self.checkpoints.take(self.client.positions(), self.client.source())
        self.ready = self.client.joined()
        self._show()
        if not 0 <= self._clock() - self._lag_shown <= LAG_EVERY_S:  # below 0: the clock was set back
            self._lag_shown = self._clock()
            topic = self.pipeline.settings.topics.input
            self.metrics.show_lag(topic, self.client.lag())
            self.metrics.unread.set(self.client.unread())
            self.metrics.show_checkpoints(topic, self.checkpoints.whole())
        return delivered

    def _hand_over(self) -> None:
        """Drop the state of partitions that came or went, load what there is of those that came."""
        for partition in self.client.dropped():
            self.checkpoints.forget(partition)
            if series := self.pipeline.drop(partition):
                event("partition_dropped", partition=partition, series=series)
        for partition, found in self.client.restored().items():
            self.checkpoints.restored(partition, found)
            self.turned = self._clock()  # hidden state made anew takes minutes where there are very many series
        for incident in self.client.incidents():
            self.metrics.count_incident(incident)
            event(incident.kind, logging.WARNING, number=incident.number, text=incident.text)

    def _batch(self, records: RecordBatch) -> bool:
        output = self.pipeline.process(records)
        self._poison.check(records, output)
        state = self.checkpoints.next()
        acknowledged = 0.0
        delivers = bool(state) or not records.silent.all()
        if delivers:
            with self._stage("publish"):
                self.client.publish(self._traces.carried(output.messages), state)
            acknowledged = self._clock()
            with self._stage("commit"):
                self.client.commit()
            if self.pipeline.settings.delivery == "exactly_once":  # nobody sees a forecast before
                acknowledged = self._clock()
            self.checkpoints.delivered()
        self._count(records, output, acknowledged)
        return delivers

    def _count(self, records: RecordBatch, output: "Output", acknowledged: float) -> None:
        """Counts of a batch whose output the broker acknowledged at that time, and whose offsets it has."""
        metrics, windows = self.metrics, self.pipeline.windows
        metrics.batch_size.observe(len(records))
        metrics.replayed.inc(output.replayed)
        metrics.unknown_codes.inc(output.unknown_codes)
        for outcome, count in output.outcomes.items():
            metrics.ticks.labels(outcome).inc(count)
        for reason, count in output.dead_letters.items():
            metrics.dead_letters.labels(reason).inc(count)
        self._poison.add(output)
        self._count_guards(output)
        self._count_window_steps()
        waited = acknowledged - output.forecasts.trigger_ms / 1000
        metrics.tick_to_forecast.observe(np.maximum(waited, 0.0))
        metrics.filled_steps.inc(windows.filled)
        metrics.closed_bars.inc(windows.closed_bars)
        metrics.series_restarts.labels("gap").inc(windows.gap_restarts)
        metrics.series_restarts.labels("late").inc(windows.event_time.late_restarts)
        windows.filled = windows.closed_bars = windows.gap_restarts = windows.event_time.late_restarts = 0
        self._show()
        metrics.forecasts.inc(len(output.forecasts))  # last: who sees them counted sees all of their batch counted
        self.forecasts += len(output.forecasts)

    def _count_window_steps(self) -> None:
        steps = self.pipeline.inference.engine.window_steps
        for part, number in steps.items():
            self.metrics.window_steps.labels(part).inc(number)
        steps.clear()

    def _show(self) -> None:
        """Gauges of what there is: partitions come and go without a batch too."""
        metrics, windows = self.metrics, self.pipeline.windows
        metrics.series.set(len(windows.slots))
        metrics.held.set(len(windows.event_time.held))
        metrics.compiled_shapes.set(self.pipeline.inference.engine.compiled_shapes)

    def _count_guards(self, output: "Output") -> None:
        for reason, count in output.evicted.items():
            self.metrics.evicted.labels(reason).inc(count)
        self.metrics.two_partitions.inc(len(output.elsewhere))
        self._evicted.add(output.evicted["limit"], setting="state.max_series")
        for found in output.elsewhere[:1]:
            self._elsewhere.add(len(output.elsewhere), **found._asdict())

    def _reset(self) -> None:
        try:
            self.client.reset()
        except RetryableError as error:
            event("broker_still_away", logging.WARNING, error=str(error))


def run(
    settings: Settings,
    make_client: Callable[[int | None, MakeReader], Client],
    make_pipeline: Callable[[Settings, Metrics, Stages], "Pipeline"],
    make_traces: Callable[[Settings, Metrics], Traces],
    expose: Expose,
    clock: Clock,
) -> None:
    """Serve until a signal: check, connect, build and warm the model, loop, drain."""
    manifest = check(settings)
    span_ms = settings.stream.rebuild_span
    if span_ms is None:
        span_ms = manifest.rebuild_span_ms()
    metrics = Metrics()
    traces = make_traces(settings, metrics)
    daemons: list[Daemon] = []
    longest_s = longest_turn_s(settings)
    probes: dict[str, Probe] = {
        "/startupz": lambda: bool(daemons),
        "/readyz": lambda: any(daemon.ready for daemon in daemons),
        "/livez": lambda: all(clock() - daemon.turned < longest_s for daemon in daemons),
    }

    metrics.ready_workers.set_function(lambda: sum(daemon.ready for daemon in daemons))

    def make_reader(partition: int) -> Reader:
        return Reader(settings.kafka.group_id, partition, daemons[0].pipeline.identity)

    client = make_client(span_ms, make_reader)
    with expose(metrics.registry, probes) as exposed, closing(traces):
        event("starting", metrics_port=exposed.port, delivery=settings.delivery, emit=settings.emit)
        try:
            client.start()
            pipeline = make_pipeline(settings, metrics, Stages(metrics, traces))
            settle()
            daemon = Daemon(pipeline, client, metrics, clock, traces)
            _stop_on_signals(daemon, settings.kafka.shutdown_timeout / 1000)
            daemons.append(daemon)
            event("running", input=settings.topics.input, output=settings.topics.output)
            with _on_a_thread(pipeline.inference.engine.compile_next):
                daemon.loop()
        finally:
            client.close()
        event("stopped", forecasts=daemon.forecasts)


@contextmanager
def _on_a_thread(compile_next: Callable[[], bool]) -> Iterator[None]:
    """Call `compile_next` until it has done everything, or what is inside ends, which waits for the call under way.

    Should it fail, serving goes on without what is not compiled: more slowly, but as before.
    """
    ended = threading.Event()

    def compile_all() -> None:
        try:
            while not ended.is_set() and compile_next():
                pass
        except Exception as error:  # noqa: BLE001  # whatever the compiler raises
            event("shape_not_compiled", logging.ERROR, error=" ".join(str(error).split()))

    thread = threading.Thread(target=compile_all, name="compile")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def longest_turn_s(settings: Settings) -> float:
    """Seconds after which a loop that has not turned hangs: every step of a turn has ended by then."""
    return 2 * settings.kafka.delivery_timeout / 1000 + 60


def check(settings: Settings) -> Manifest:
    """The manifest to serve; raises for what can be known to be wrong before anything is started."""
    manifest, _ = read_bundle(configured_bundle(settings), settings.model.public_key)
    manifest.check_stream(settings)
    return manifest.with_holidays_of(settings.stream)


def _stop_on_signals(daemon: Daemon, grace_s: float) -> None:
    """First SIGTERM or SIGINT: finish the batch and leave. A second SIGINT: leave at once."""

    def give_up() -> None:
        event("not_flushed", logging.ERROR, error=f"output not flushed within kafka.shutdown_timeout ({grace_s:g} s)")
        logging.shutdown()  # tells what the log withholds
        os._exit(1)

    def stop(number: int, _: FrameType | None) -> None:
        if daemon.stopping.is_set() and number == signal.SIGINT:
            os._exit(130)
        daemon.stopping.set()
        timer = threading.Timer(grace_s, give_up)
        timer.daemon = True
        timer.start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
