"""A real daemon that is killed, and what its successor makes of the checkpoints in the state topic."""

import json
import signal
from pathlib import Path

import pytest
from integration.daemon import Daemon, Stream
from integration.helpers import create_topics, produce, read_topic, wait_until
from integration.test_run import assert_equal_forecasts, bundle, published, sine_ticks
from integration.undisturbed import undisturbed

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

SERIES = 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("model") / "second", 1_000)


def stream_of(kafka: str, folder: Path, model: Path, interval: str = "1s") -> Stream:
    toml = f'[state]\ncheckpoint_interval = "{interval}"\n[stream]\nstep = "1s"\n[model]\nbundle = "{model}"\n'
    return Stream(kafka, folder, toml)


def forecasts(daemon: Daemon) -> float:
    return daemon.metric("forecaster_forecasts_total")


def events(daemon: Daemon, name: str) -> list[dict]:
    found = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
    return [event for event in found if event["event"] == name]


def checkpoint_behind(daemon: Daemon, stream: Stream, rounds: int) -> None:
    """Feed `rounds` bit by bit until two checkpoints of both partitions are whole, then the rest of them."""
    fed = 0

    def feed(more: int) -> None:
        nonlocal fed
        produce(stream.bootstrap, stream.input, sine_ticks(SERIES, range(fed, min(fed + more, rounds))))
        fed = min(fed + more, rounds)

    def whole() -> bool:
        assert fed < rounds, "there must be something behind the checkpoint"
        feed(5)
        return daemon.metric("forecaster_checkpoints_total") >= 4

    wait_until(whole, 60, what="two checkpoints of both partitions")
    feed(rounds)
    wait_until(lambda: forecasts(daemon) >= SERIES * rounds, 60, what="all forecasts")


def kill(daemon: Daemon) -> None:
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()


def test_a_killed_daemon_goes_on_from_its_checkpoint_with_the_forecasts_of_one_that_never_died(
    kafka, tmp_path, model
) -> None:
    stream = stream_of(kafka, tmp_path, model)
    with stream.daemon() as daemon:
        checkpoint_behind(daemon, stream, 800)
        kill(daemon)
    produce(kafka, stream.input, sine_ticks(SERIES, range(800, 850)))
    with stream.daemon() as daemon:
        wait_until(lambda: forecasts(daemon) >= SERIES * 50, 60, what="the rest of the forecasts")
        assert daemon.metric("forecaster_restores_total", source="checkpoint") == 2
        assert daemon.metric("forecaster_replayed_records_total") < SERIES * 800
        assert daemon.terminate() == 0
    assert_equal_forecasts(published(stream), undisturbed(stream, sine_ticks(SERIES, range(850))))


def test_a_checkpoint_that_cannot_be_used_is_counted_named_and_made_up_for_by_replaying(kafka, tmp_path, model) -> None:
    stream = stream_of(kafka, tmp_path, model)
    with stream.daemon() as daemon:
        checkpoint_behind(daemon, stream, 800)
        kill(daemon)
    manifests = [record.key for record in read_topic(kafka, stream.state) if record.key[-2:] in (b"m0", b"m1")]
    partition = {key: int(key.split(b"/")[1]) for key in manifests}
    produce(kafka, stream.state, [{"key": k, "value": b"spoilt", "partition": n} for k, n in partition.items()])
    produce(kafka, stream.input, sine_ticks(SERIES, range(800, 810)))
    with stream.daemon() as daemon:
        wait_until(lambda: forecasts(daemon) >= SERIES * 10, 60, what="the rest of the forecasts")
        assert daemon.metric("forecaster_restores_total", source="replay") == 2
        assert daemon.metric("forecaster_checkpoints_refused_total", reason="corrupt") == len(partition)
        assert all("sha256" in event["text"] for event in events(daemon, "checkpoint_refused"))
        assert daemon.metric("forecaster_replayed_records_total") == SERIES * 800
        assert daemon.terminate() == 0
    assert len(published(stream)) == SERIES * 810


def test_without_an_interval_there_are_no_checkpoints_and_no_state_topic(kafka, tmp_path, model) -> None:
    stream = stream_of(kafka, tmp_path, model, interval="0s")
    produce(kafka, stream.input, sine_ticks(SERIES, range(20)))
    with stream.daemon() as daemon:
        wait_until(lambda: forecasts(daemon) >= SERIES * 20, 60, what="all forecasts")
        assert daemon.metric("forecaster_checkpoints_total") == 0
        kill(daemon)
    create_topics(kafka, {stream.state: 1})  # would fail if it were there


def test_a_state_topic_that_is_not_compacted_is_refused(kafka, tmp_path, model) -> None:
    stream = stream_of(kafka, tmp_path, model)
    create_topics(kafka, {stream.state: 1})
    with pytest.raises(AssertionError, match=r"(?s)ended with 2: .*topics\.state = .*cleanup\.policy"), stream.daemon():
        pass
