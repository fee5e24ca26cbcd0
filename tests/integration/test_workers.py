"""`workers = 2` on a real Apache Kafka: one daemon to those who watch it, two members to the group."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from integration.daemon import Daemon, Stream, forecaster
from integration.helpers import produce, read_topic, wait_until
from integration.test_run import assert_equal_forecasts, bundle, published, sine_ticks
from integration.undisturbed import undisturbed

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


def test_a_worker_killed_in_mid_stream_loses_and_doubles_nothing_and_the_sums_stay_right(kafka, tmp_path, model):
    stream = make_stream(kafka, tmp_path, model, workers=2)
    quiet, more, all_ = (sine_ticks(SERIES, range(rounds)) for rounds in (200, 400, 2_000))
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
