"""Traces by OpenTelemetry, sent over OTLP/HTTP from a thread of the SDK's own; what is lost on the way is counted.

Names of attributes are those of OpenTelemetry's semantic conventions for messaging where they have one.
"""

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased
from opentelemetry.trace import INVALID_SPAN, Span, SpanKind, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from forecaster import __version__
from forecaster.config import Settings
from forecaster.records import Message, RecordBatch
from forecaster.telemetry.logs import RareWarning, event
from forecaster.telemetry.metrics import Metrics

MOST_LINKS = 128  # the SDK's own limit
REQUEST_S = 5.0  # with all tries
CLOSE_S = 2.0
GIVE_UP_S = 1.0  # to tell of what is lost
TRACEPARENT = "traceparent"  # https://www.w3.org/TR/trace-context/

_propagator = TraceContextTextMapPropagator()


class OtelTraces:
    """Implements `forecaster.telemetry.traces.Traces`; `exporter` takes the place of the one that the settings name."""

    def __init__(self, settings: Settings, metrics: Metrics, exporter: SpanExporter | None = None) -> None:
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)  # a lost span is counted, and no lost forecast
        resource = _resource(settings.kafka.worker_index)
        sampler = TraceIdRatioBased(settings.tracing.sample_ratio)
        self._provider = TracerProvider(sampler=sampler, resource=resource, shutdown_on_exit=False)
        self._exporter = exporter or OTLPSpanExporter(settings.tracing.endpoint, timeout=REQUEST_S)
        self._provider.add_span_processor(_Counted(_Told(self._exporter, metrics), metrics))
        self._tracer = self._provider.get_tracer("forecaster", __version__)
        self._topics, self._group = settings.topics, settings.kafka.group_id
        self._span: Span = INVALID_SPAN

    @contextmanager
    def batch(self, records: RecordBatch) -> Iterator[None]:
        """Implement `Traces.batch`: a trace of its own, with links to those of the producers."""
        with self._tracer.start_as_current_span(f"process {records.topic}", Context(), SpanKind.CONSUMER) as span:
            self._span = span
            if span.is_recording():
                self._describe(span, records)
            try:
                yield
            finally:
                self._span = INVALID_SPAN

    def stage(self, name: str) -> AbstractContextManager[object]:
        """Implement `Traces.stage`."""
        return self._tracer.start_as_current_span(name) if self._span.is_recording() else nullcontext()

    def carried(self, messages: Sequence[Message]) -> Sequence[Message]:
        """Implement `Traces.carried`, in the header `traceparent`; a dead letter has its producer's already."""
        if not self._span.is_recording():
            return messages
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        header, output = (TRACEPARENT, carrier[TRACEPARENT].encode()), self._topics.output
        forecasts = sum(message.topic == output for message in messages)
        self._span.set_attributes(
            {"forecaster.forecasts": forecasts, "forecaster.dead_letters": len(messages) - forecasts}
        )
        return [
            message._replace(headers=(*message.headers, header)) if message.topic == output else message
            for message in messages
        ]

    def close(self) -> None:
        """Implement `Traces.close`: what cannot be given away within `CLOSE_S` is given up."""
        last = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        last.start()
        last.join(CLOSE_S)
        if last.is_alive():
            self._exporter.shutdown()
            last.join(GIVE_UP_S)
        if last.is_alive():  # it never will tell
            event("spans_lost", logging.WARNING, setting="tracing.endpoint", error="no whole answer by the end")

    def _describe(self, span: Span, records: RecordBatch) -> None:
        contexts = producers(records)
        linked = 0
        for context in islice(contexts, MOST_LINKS):
            found = get_current_span(_propagator.extract({TRACEPARENT: context}, Context())).get_span_context()
            if found.is_valid:
                span.add_link(found)
                linked += 1
        span.set_attributes({
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.destination.name": records.topic,
            "messaging.consumer.group.name": self._group,
            "messaging.batch.message_count": len(records),
            "forecaster.replayed": int(records.silent.sum()),
            "forecaster.links_left_out": len(contexts) - linked,
        })  # fmt: skip


def _resource(worker_index: int) -> Resource:
    """What tells this worker from all others; an operator's names win over ours."""
    name = {"service.name": "forecaster", "service.version": __version__}
    instance = {"service.instance.id": f"{socket.gethostname()}/{worker_index}"}
    return Resource.create(name | instance).merge(OTELResourceDetector().detect())


class _Counted(BatchSpanProcessor):
    """Counts the spans that it is given: those that its queue drops are never exported."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        super().__init__(exporter)
        self._ended = metrics.spans_ended

    def on_end(self, span: ReadableSpan) -> None:
        self._ended.inc()
        super().on_end(span)


class _Told(SpanExporter):
    """Counts what an exporter gave away, and warns of what it could not."""

    def __init__(self, exporter: SpanExporter, metrics: Metrics) -> None:
        self._exporter, self._exported = exporter, metrics.spans_exported
        self._lost = RareWarning("spans_lost", time.monotonic)

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self._exported.inc(len(spans))
        else:
            self._lost.add(len(spans), setting="tracing.endpoint")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def producers(records: RecordBatch) -> list[str]:
    """The different contexts (`traceparent`) of the records that are not replayed, in their order."""
    rows = zip(records.headers, records.silent.tolist(), strict=True)
    new = (headers for headers, silent in rows if headers and not silent)
    values = (value for headers in new for name, value in headers if name == TRACEPARENT)
    return [value.decode("ascii", "replace") for value in dict.fromkeys(values)]
