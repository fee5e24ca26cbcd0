"""`workers = 2` on a real Apache Kafka: one daemon to those who watch it, two members to the group."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration.daemon import Daemon, Stream, forecaster
from integration.helpers import produce, read_topic, wait_until
from integration.test_run import assert_equal_forecasts, bundle, published, sine_ticks
from integration.undisturbed import undisturbed
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from otlp import collector

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SERIES = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("model") / "drawn", 1_000)


def make_stream(kafka: str, folder: Path, model: Path, *, workers: int, topics: bool = True) -> Stream:
    """A worker that dies before its first checkpoint is replayed from the log's start, however slow this machine is."""
    stream = '[stream]\nstep = "1s"\nrebuild_span = "1h"'
    toml = f'workers = {workers}\n{stream}\n[model]\nbundle = "{model}"\n'
    return Stream(kafka, folder, toml, partitions=4, topics=topics)


def events(daemon: Daemon, name: str) -> list[dict]:
    lines = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def newest_pid(daemon: Daemon, worker: int) -> int:
    return [event["pid"] for event in events(daemon, "worker_started") if event["worker"] == worker][-1]


def counted(daemon: Daemon) -> float:
    return daemon.metric("forecaster_forecasts_total")


def wait_counted(daemon: Daemon, number: int) -> None:
    wait_until(lambda: counted(daemon) >= number, 90, what=f"{number} forecasts in the sum of all workers")


def kill(daemon: Daemon, worker: int) -> None:
    os.kill(newest_pid(daemon, worker), signal.SIGKILL)


def wait_restarted(daemon: Daemon, times: int) -> None:
    restarts = "forecaster_worker_restarts_total"
    wait_until(lambda: daemon.metric(restarts) == times, 30, what="the restart")
    wait_until(daemon.is_ready, 120, what="readiness of both workers")


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[ExportTraceServiceRequest]]:
    """What daemons that are started meanwhile tell a collector."""
    with collector() as (endpoint, taken):
        monkeypatch.setenv("FORECASTER_TRACING__ENABLED", "true")
        monkeypatch.setenv("FORECASTER_TRACING__ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
        yield taken


def traced(ticks: list[dict]) -> list[dict]:
    """`ticks` with the contexts of their producers, a trace for each thousand, and one that is none in between."""
    contexts = [f"00-{1 + n // 1_000:032x}-{7:016x}-01" if n % 50 else "00-junk" for n in range(len(ticks))]
    return [tick | {"headers": [("traceparent", text.encode())]} for tick, text in zip(ticks, contexts, strict=True)]


def assert_traced(spans: list[ExportTraceServiceRequest], forecasts: list, producers: int) -> None:
    """Both workers told of their batches; these link every producer, and forecasts carry the batch they are of."""
    workers, batches = set(), []
    for of in (one for request in spans for one in request.resource_spans):
        workers |= {item.value.string_value for item in of.resource.attributes if item.key == "service.instance.id"}
        batches += [span for scope in of.scope_spans for span in scope.spans if not span.parent_span_id]
    assert {worker.rpartition("/")[2] for worker in workers} == {"0", "1"}
    linked = {int.from_bytes(link.trace_id) for batch in batches for link in batch.links}
    assert linked == set(range(1, 1 + producers))
    carried = Counter(dict(forecast.headers)["traceparent"].decode().split("-")[1] for forecast in forecasts)
    for batch in batches:
        made = {item.key: item.value.int_value for item in batch.attributes}.get("forecaster.forecasts", 0)
        assert carried[batch.trace_id.hex()] == (0 if batch.status.code == Status.STATUS_CODE_ERROR else made)


def test_a_worker_killed_in_mid_stream_loses_and_doubles_nothing_and_the_sums_stay_right(kafka, tmp_path, model, spans):
    stream = make_stream(kafka, tmp_path, model, workers=2)
    all_ = traced(sine_ticks(SERIES, range(2_000)))
    quiet, more = all_[: 200 * SERIES], all_[: 400 * SERIES]
    produce(kafka, stream.input, quiet)
    with stream.daemon() as daemon:
        wait_counted(daemon, len(quiet))
        assert_sums(daemon, len(quiet))
        threads = {variables(newest_pid(daemon, worker))["TF_NUM_INTRAOP_THREADS"] for worker in range(2)}
        assert threads == {str(max(1, len(os.sched_getaffinity(0)) // 2))}

        kill(daemon, 0)  # nothing has been counted since its last report
        wait_restarted(daemon, 1)
        produce(kafka, stream.input, more[len(quiet) :])
        wait_counted(daemon, len(more))
        assert_sums(daemon, len(more))

        with ThreadPoolExecutor() as pool:
            produced = pool.submit(produce, kafka, stream.input, all_[len(more) :])
            wait_counted(daemon, len(more) + 1)
            before = counted(daemon)
            kill(daemon, 1)
            assert len(read_topic(kafka, stream.output)) < len(all_), "killed when all was done"
            produced.result()
        wait_restarted(daemon, 2)
        assert before <= counted(daemon)
        wait_until(lambda: len(read_topic(kafka, stream.output)) >= len(all_), 120, what="all forecasts")
        assert counted(daemon) <= len(all_)
        pids = [event["pid"] for event in events(daemon, "worker_started")]
        assert daemon.terminate() == 0
    assert len(pids) == 4
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert_equal_forecasts(published(stream), undisturbed(stream, all_))
    assert_traced(spans, read_topic(kafka, stream.output), len(all_) // 1_000)


def assert_sums(daemon: Daemon, ticks: int) -> None:
    """Every tick counted once, in each metric that counts ticks; gauges of what there is, not of how many show it."""
    assert daemon.outcomes() == {"forecast": ticks}
    assert counted(daemon) == daemon.metric("forecaster_tick_to_forecast_seconds_count") == ticks
    replayed = daemon.metric("forecaster_replayed_records_total")
    assert daemon.metric("forecaster_batch_size_sum") == ticks + replayed
    wait_until(lambda: daemon.metric("forecaster_series") == SERIES, 10, what="each series, once")
    assert daemon.metric("forecaster_model_info") == 1
    lag = "forecaster_consumer_lag_records"
    wait_until(lambda: daemon.get("/metrics").count(f"\n{lag}{{") == 4, 10, what="the lag of each partition, once")
    wait_until(lambda: daemon.metric(lag) == 0, 10, what="no lag")
    assert {event["worker"] for event in events(daemon, "running")} == {0, 1}


def variables(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/environ").read_text()
    return dict(line.split("=", 1) for line in text.split("\0") if "=" in line)


def test_what_every_worker_is_refused_for_is_said_once(kafka, tmp_path, model) -> None:
    stream = make_stream(kafka, tmp_path, model, workers=2, topics=False)
    stream.config.write_text(stream.config.read_text().replace("[topics]", "[topics]\ncreate = false"))
    done = forecaster("run", "--config", str(stream.config))
    assert done.returncode == 2, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert line.startswith("forecaster: topics.input")
