"""The live page beside a real daemon on a real Kafka."""

import fcntl
import json
import os
import re
import signal
import subprocess
import sys
import termios
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest
from integration.daemon import Stream
from integration.helpers import produce, wait_until
from integration.kafka_broker import free_port
from integration.test_run import bundle, sine_ticks
from live_page import Stream as Events

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]
SERIES = 3
PIPE_BYTES = 2**12  # the smallest pipe: less than the metrics take


@pytest.fixture(scope="module")
def daemon(kafka, tmp_path_factory):
    """A daemon with a page that has forecast 60 ticks of each of three series."""
    folder = tmp_path_factory.mktemp("page")
    bundle(folder / "model", 1_000)
    toml = f'[model]\nbundle = "{folder}/model"\n[stream]\nstep = "1s"\n[web]\nenabled = true\n'
    toml += f"port = {free_port()}\nrequests_per_second = 10000\n"  # of one who does not wait
    stream = Stream(kafka, folder, toml)
    produce(kafka, stream.input, sine_ticks(SERIES, range(60)))
    with stream.daemon() as running:
        yield running


def address(daemon) -> str:
    return re.search(r'"event":"page","address":"([^"]+?)/"', daemon.log())[1]


class Remote:
    """The page of a daemon, as `Events` wants it."""

    def __init__(self, daemon) -> None:
        self.address = address(daemon)


def shown(daemon, series: str) -> tuple[dict, dict]:
    """The first frame of the fleet and of a series."""
    with closing(Events(Remote(daemon), f"/events?name={series}")) as events:
        return events.next()[1], events.next()[1]


def forecast(daemon, kafka: str, rounds: range) -> None:
    """Have the daemon forecast these rounds of every series, to the last one."""
    before = daemon.metric("forecaster_forecasts_total")
    produce(kafka, daemon.stream.input, sine_ticks(SERIES, rounds))
    wait_until(lambda: daemon.metric("forecaster_forecasts_total") == before + len(rounds) * SERIES, what="all of them")


def page_process(daemon) -> int:
    """The process that holds the page, a child of the daemon's."""
    children = subprocess.run(
        ["pgrep", "-P", str(daemon.process.pid), "-f", "--", "--page"], capture_output=True, text=True, check=False
    )
    return int(children.stdout.split()[0]) if children.stdout.split() else 0


def test_the_page_shows_what_the_daemon_forecasts_and_how_it_is(daemon):
    def complete():
        fleet, series = shown(daemon, "s1")
        ready = series.get("fan") and len(series["value"]) == 60 and fleet.get("lag_records") == 0
        told = fleet.get("series") == fleet["names"] == SERIES  # the former by the metrics, up to a second later
        return (fleet, series) if ready and told else None

    fleet, series = wait_until(complete, 60, what="all the ticks on the page")
    assert series["origin"] == series["time_ms"][-1] == 1_700_000_000_000 + 59_000
    assert len(series["past"]) >= 5
    assert fleet["model"].startswith("drawn@")
    assert fleet["connected"]


def test_the_page_tells_the_latency_of_the_last_minute(daemon, kafka):
    def latency():
        return shown(daemon, "s1")[0].get("p50_s", "not told yet")

    wait_until(lambda: latency() != "not told yet", what="the first metrics")
    forecast(daemon, kafka, range(60, 70))
    assert wait_until(latency, what="a latency") > 0


def test_a_page_that_stands_still_holds_up_neither_the_forecasts_nor_the_probes(daemon, kafka):
    page = wait_until(lambda: page_process(daemon), what="a page")
    os.kill(page, signal.SIGSTOP)
    pipe = os.open(f"/proc/{page}/fd/0", os.O_RDONLY)

    def is_full() -> bool:
        return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder) == PIPE_BYTES

    try:
        assert fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES) == PIPE_BYTES
        wait_until(is_full, what="a pipe so full that the daemon waits to write")
        forecast(daemon, kafka, range(70, 90))
        assert daemon.is_ready()
        assert is_full()
    finally:
        os.kill(page, signal.SIGCONT)
        os.close(pipe)


def test_a_page_that_is_killed_is_started_again_on_the_same_port_and_the_daemon_goes_on(daemon):
    first = wait_until(lambda: page_process(daemon), what="a page")
    os.kill(first, signal.SIGKILL)
    wait_until(lambda: page_process(daemon) not in {0, first}, what="another page")
    wait_until(lambda: daemon.metric("forecaster_page_restarts_total") == 1, what="its being counted")
    with urllib.request.urlopen(address(daemon), timeout=20) as answer:
        assert answer.status == 200
    assert daemon.is_ready()


def test_a_daemon_with_viewers_stops_on_sigterm_and_takes_its_page_along(daemon):
    streams = [Events(Remote(daemon)) for _ in range(20)]
    for stream in streams:
        assert stream.next()[0] == "fleet"
    page = page_process(daemon)
    assert daemon.terminate() == 0
    for stream in streams:
        stream.close()
    wait_until(lambda: not Path(f"/proc/{page}").exists(), what="the page's end")
    assert json.loads(daemon.log().strip().splitlines()[-1])["event"] == "stopped"


def test_a_daemon_that_is_killed_leaves_no_page_behind(kafka, tmp_path):
    bundle(tmp_path / "model", 1_000)
    toml = (
        f'workers = 2\n[model]\nbundle = "{tmp_path}/model"\n[stream]\nstep = "1s"\n[web]\nenabled = true\nport = 0\n'
    )
    with Stream(kafka, tmp_path, toml).daemon() as running:
        page = wait_until(lambda: page_process(running), what="one page for two workers")
        running.process.kill()
        wait_until(lambda: not Path(f"/proc/{page}").exists(), what="the page's end")
