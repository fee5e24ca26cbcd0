"""Spans of batches over an in-memory broker: what they have, what they link, and what a lost one costs."""

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler

import builders
import pytest
from integration.helpers import wait_until
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from otlp import collector, serving
from test_daemon import START, Until, tick

from forecaster.cli.serve import make_traces
from forecaster.config import Settings
from forecaster.daemon import Daemon
from forecaster.errors import ConfigError
from forecaster.records import Message
from forecaster.telemetry.metrics import Metrics
from forecaster.telemetry.otel import MOST_LINKS, OtelTraces
from forecaster.telemetry.traces import Stages
from forecaster.testing import FakeClock, MemoryBroker

STAGES = {"decode", "admit", "features", "infer", "encode", "publish", "commit"}


class Traced:
    """A daemon over one partition, and the spans of what it has done."""

    def __init__(self, exporter: SpanExporter | None = None, **tracing: object) -> None:
        self.broker, self.exporter = MemoryBroker(FakeClock(START / 1000)), exporter or InMemorySpanExporter()
        self.metrics = Metrics()
        self.broker.create_topic("ticks", 1)
        settings = Settings(tracing={"enabled": True, **tracing})
        self.traces = OtelTraces(settings, self.metrics, None if "endpoint" in tracing else self.exporter)
        line = builders.pipeline(settings)
        line._stage = line.inference._stage = Stages(self.metrics, self.traces)
        client = Until(settings, None, "test", broker=self.broker)
        self.daemon = client.daemon = Daemon(line, client, self.metrics, FakeClock(START / 1000), self.traces)
        self.daemon.stopping.wait = lambda _=None: self.daemon.stopping.is_set()
        client.start()

    def take(self, messages: Sequence[Message]) -> None:
        """Let the daemon process them all."""
        for message in messages:
            self.broker.append(message)
        self.daemon.stopping.clear()
        self.daemon.loop()

    def spans(self) -> list[ReadableSpan]:
        """What was exported by the end."""
        self.traces.close()
        return list(self.exporter.get_finished_spans())

    def batches(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.parent is None]

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"forecaster_{name}")


def from_trace(number: int, step: int = 0, flags: str = "01") -> Message:
    """A tick whose producer traces it."""
    return tick("a", step)._replace(headers=[("traceparent", f"00-{number:032x}-{7:016x}-{flags}".encode())])


def test_a_batch_is_one_trace_and_its_stages_are_its_children() -> None:
    traced = Traced()
    traced.take([tick("a", 0), tick("b", 0), Message("ticks", b"k", b"junk")])
    spans = traced.spans()
    (batch,) = (span for span in spans if span.parent is None)
    children = [span for span in spans if span.parent is not None]
    assert {span.name for span in children} == STAGES
    assert {span.parent.span_id for span in children} == {batch.context.span_id}
    assert all(batch.start_time <= span.start_time <= span.end_time <= batch.end_time for span in children)
    assert batch.name == "process ticks"
    assert batch.attributes == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": "ticks",
        "messaging.consumer.group.name": "forecaster",
        "messaging.batch.message_count": 3,
        "forecaster.replayed": 0,
        "forecaster.links_left_out": 0,
        "forecaster.forecasts": 2,
        "forecaster.dead_letters": 1,
    }
    assert traced.metric("spans_ended_total") == traced.metric("spans_exported_total") == len(spans)


def test_a_batch_links_each_trace_of_its_producers_once() -> None:
    traced = Traced()
    traced.take([from_trace(1, 0), from_trace(2, 1), from_trace(1, 2), tick("a", 3)])
    (batch,) = traced.batches()
    assert [link.context.trace_id for link in batch.links] == [1, 2]
    assert {link.context.span_id for link in batch.links} == {7}


def test_links_are_bounded_and_those_left_out_are_counted() -> None:
    traced = Traced()
    wrong = tick("a", 999)._replace(headers=[("traceparent", b"00-\xff-junk")])
    traced.take([wrong, *(from_trace(n + 1, n) for n in range(MOST_LINKS + 20))])
    (batch,) = traced.batches()
    assert len(batch.links) == MOST_LINKS - 1  # the wrong one took a place
    assert batch.attributes["forecaster.links_left_out"] == 21 + 1
    assert batch.dropped_links == 0


def test_a_forecast_carries_the_context_of_its_batch_and_a_dead_letter_that_of_its_producer() -> None:
    traced = Traced()
    traced.take([from_trace(5), Message("ticks", b"k", b"junk", from_trace(6).headers)])
    (forecast,), (letter,) = traced.broker.records("forecasts"), traced.broker.records("forecasts.dlq")
    (batch,) = traced.batches()
    context = f"00-{batch.context.trace_id:032x}-"
    assert dict(forecast.headers)["traceparent"].decode().startswith(context)
    assert dict(letter.headers)["traceparent"] == dict(from_trace(6).headers)["traceparent"]


def test_of_batches_that_are_not_sampled_nothing_is_told_and_forecasts_are_as_without_traces() -> None:
    traced = Traced(sample_ratio=0.0)
    traced.take([from_trace(1, step) for step in range(5)])
    assert traced.spans() == []
    assert [list(record.headers) for record in traced.broker.records("forecasts")] == [[]] * 5


def test_a_batch_that_was_given_up_says_why() -> None:
    traced = Traced()
    traced.daemon.client.fail_next("publish")
    traced.take([tick("a", 0)])
    failed, done = traced.batches()
    assert failed.status.status_code is StatusCode.ERROR
    assert [event.name for event in failed.events] == ["exception"]
    assert done.status.status_code is StatusCode.UNSET
    assert len(traced.broker.records("forecasts")) == 1


class Hanging(SpanExporter):
    """An endpoint that takes a span and never answers."""

    def __init__(self) -> None:
        self.asked, self.over = threading.Event(), threading.Event()

    def export(self, _: Sequence[ReadableSpan]) -> SpanExportResult:
        self.asked.set()
        self.over.wait(60)
        return SpanExportResult.FAILURE

    def shutdown(self) -> None:
        self.over.set()


def test_an_endpoint_that_hangs_holds_neither_the_stream_nor_the_stop_and_its_loss_is_counted() -> None:
    hanging = Hanging()
    traced = Traced(hanging)
    for step in range(400):
        traced.take([tick("a", step)])
    assert hanging.asked.wait(30)
    assert len(traced.broker.records("forecasts")) == 400
    began = time.monotonic()
    traced.traces.close()
    assert time.monotonic() - began < 10
    assert traced.metric("spans_ended_total") >= 400 * len(STAGES)
    assert traced.metric("spans_exported_total") == 0


def test_an_endpoint_that_answers_a_byte_at_a_time_does_not_hold_the_stop(caplog: pytest.LogCaptureFixture) -> None:
    over = threading.Event()

    class Dripping(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            while not over.wait(0.2):
                self.wfile.write(b"H")

        def log_message(self, *_: object) -> None: ...

    with serving(Dripping) as endpoint:
        traced = Traced(endpoint=endpoint)
        traced.take([tick("a", 0)])
        began = time.monotonic()
        traced.traces.close()
        over.set()
    assert time.monotonic() - began < 10
    assert "spans_lost" in caplog.messages


def test_an_operator_names_the_service_and_workers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "prices")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test,service.name=other")
    traces = OtelTraces(Settings(kafka={"worker_index": 3}), Metrics(), InMemorySpanExporter())
    found = traces._provider.resource.attributes
    traces.close()
    assert (found["service.name"], found["deployment.environment"]) == ("prices", "test")
    assert found["service.instance.id"].endswith("/3")


def test_without_an_endpoint_the_stream_goes_on_and_the_loss_is_told(caplog: pytest.LogCaptureFixture) -> None:
    traced = Traced(endpoint="http://127.0.0.1:9/v1/traces")  # where nobody listens
    traced.take([tick("a", 0)])
    began = time.monotonic()
    traced.traces.close()
    assert time.monotonic() - began < 10
    assert len(traced.broker.records("forecasts")) == 1
    assert traced.metric("spans_exported_total") == 0
    (lost,) = (record for record in caplog.records if record.getMessage() == "spans_lost")
    assert lost.fields == {"count": traced.metric("spans_ended_total"), "setting": "tracing.endpoint"}


def test_a_collector_gets_the_spans_over_http() -> None:
    with collector() as (endpoint, taken):
        traced = Traced(endpoint=endpoint)
        traced.take([from_trace(9)])
        traced.traces.close()
        wait_until(lambda: taken, 10, what="a request")
    (spans,) = taken[0].resource_spans
    assert "forecaster" in {attribute.value.string_value for attribute in spans.resource.attributes}
    found = {span.name: span for scope in spans.scope_spans for span in scope.spans}
    assert found.keys() == {"process ticks", *STAGES}
    assert found["process ticks"].links[0].trace_id == (9).to_bytes(16)
    assert found["infer"].parent_span_id == found["process ticks"].span_id


def test_without_traces_opentelemetry_is_not_even_imported() -> None:
    code = "import sys, forecaster.cli.main, forecaster.daemon; print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"


def test_traces_without_the_extra_end_in_a_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "forecaster.telemetry.otel")
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    with pytest.raises(ConfigError, match=r"^tracing\.enabled: .*forecaster\[otel\]"):
        make_traces(Settings(tracing={"enabled": True}), Metrics())
