"""Workers that are tiny programs: what becomes of the others, and of what was counted, when one of them ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from integration.helpers import wait_until
from prometheus_client import generate_latest

from forecaster.errors import WorkerError
from forecaster.telemetry.metrics import SHOWN_AS_IS, Metrics, SupervisorMetrics
from forecaster.testing import FakeClock
from forecaster.workers.supervisor import Supervisor
from forecaster.workers.totals import Totals
from forecaster.workers.worker import Worker

ROOT = Path(__file__).parents[1]

# A worker with something to count, and how it goes on.
SERVE = """
import os, signal, sys, time
from prometheus_client import CollectorRegistry, Counter, Gauge
from forecaster.workers.reports import Reports, report_pipe
registry = CollectorRegistry()
Counter("forecaster_forecasts", "Forecasts.", registry=registry).inc(10)
Gauge("forecaster_series", "Series.", registry=registry).set(3)
"""
STEADY = """
with Reports(report_pipe()) as reports:
    print("what is printed from now on is no report")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with reports.expose(registry, dict.fromkeys(("/startupz", "/readyz", "/livez"), lambda: True)):
        time.sleep(600)
"""
TOLD = 'import json, time; print(json.dumps({"probes": {"/startupz": %s}, "ending": %s}), flush=True)'


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def ending(*, served: bool, **fields: object) -> list[str]:
    """A worker that ends with a line of its own."""
    return python(TOLD % (json.dumps(served).title(), fields) + f"; raise SystemExit({fields['exit_code']})")


class Rig:
    """A supervisor in the hands of the test."""

    def __init__(self, *commands: list[str]) -> None:
        self.clock = FakeClock()
        totals = Totals()
        self.metrics = SupervisorMetrics(totals)
        self.workers = [Worker(n, command, totals, self.clock) for n, command in enumerate(commands)]
        self.supervisor = Supervisor(self.workers, self.metrics, self.clock)
        self.probes = self.supervisor.probes(longest_s=100.0)

    def look_until(self, condition) -> None:
        def looked() -> bool:
            self.supervisor.look()
            return condition()

        wait_until(looked, what="what the supervisor was to bring about")

    def ready(self) -> bool:
        return self.probes["/readyz"]()

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


@contextmanager
def rig(*commands: list[str]) -> Iterator[Rig]:
    made = Rig(*commands)
    try:
        for worker in made.workers:
            worker.start()
        yield made
    finally:
        made.supervisor.end(deadline=0.0)


def test_a_worker_that_is_killed_is_started_again_and_its_counts_stay() -> None:
    with rig(python(SERVE + STEADY), python(SERVE + STEADY)) as made:
        made.look_until(made.ready)
        assert (made.metric("forecaster_forecasts_total"), made.metric("forecaster_series")) == (20, 6)
        made.workers[0].send(signal.SIGKILL)
        made.look_until(lambda: not made.ready())
        assert (made.metric("forecaster_forecasts_total"), made.metric("forecaster_series")) == (20, 3)
        assert made.probes["/livez"]()
        made.clock.advance(1.0)  # the pause
        made.look_until(made.ready)
        assert (made.metric("forecaster_forecasts_total"), made.metric("forecaster_series")) == (30, 6)
        assert made.metric("forecaster_worker_restarts_total") == 1


def test_a_worker_that_dies_again_and_again_is_left_alone_for_longer_and_longer() -> None:
    worker = Worker(0, python("pass"), Totals(), clock := FakeClock())
    pauses = []
    for lived_s in (0, 0, 0, 0, 0, 0, 0, 61, 0):
        worker.start()
        wait_until(lambda: worker.ended() is not None)
        clock.advance(lived_s)
        pauses.append(worker.bury())
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 0, 1]


@pytest.mark.parametrize("exit_code", [1, 2])
@pytest.mark.parametrize("served", [True, False])
def test_what_a_worker_ends_for_of_its_own_accord_ends_all_with_its_line_and_code(served, exit_code) -> None:
    last = ending(served=served, text="topics.input: no such topic", exit_code=exit_code, broker_away=False)
    with rig(python(SERVE + STEADY), last) as made:
        with pytest.raises(WorkerError, match=r"^topics\.input: no such topic$") as stopped:
            made.look_until(lambda: False)
        assert stopped.value.exit_code == exit_code


def test_a_broker_that_is_away_ends_only_workers_that_never_served() -> None:
    lost = {"text": "no broker is ready", "exit_code": 1, "broker_away": True}
    with rig(ending(served=True, **lost)) as made:
        made.look_until(lambda: not made.workers[0].running)
    with rig(ending(served=False, **lost)) as made, pytest.raises(WorkerError, match="no broker is ready"):
        made.look_until(lambda: False)


def test_a_worker_that_dies_before_it_ever_served_ends_all() -> None:
    program = "import os; os.kill(os.getpid(), 9)"
    with rig(python(program)) as made, pytest.raises(WorkerError, match="worker 0 ended by signal 9"):
        made.look_until(lambda: False)


def test_what_is_no_report_or_was_cut_by_the_death_of_its_worker_is_told_and_passed_over(caplog) -> None:
    program = 'print("Hello.");' + TOLD % ("True", None) + """; print('{"probes": {"/st', end="", flush=True)"""
    with rig(python(program)) as made:
        made.look_until(lambda: not made.workers[0].running)
        assert made.workers[0].served
    told = [record.fields["text"] for record in caplog.records if record.getMessage() == "no_report"]
    assert told == ["Hello.\n", '{"probes": {"/st']


def test_a_worker_that_is_not_heard_of_for_long_counts_as_hanging() -> None:
    with rig(python(TOLD % ("True", None) + "; time.sleep(600)")) as made:
        made.look_until(lambda: made.workers[0].served)
        made.clock.advance(99)
        assert made.probes["/livez"]()
        made.clock.advance(2)
        assert not made.probes["/livez"]()


DRIVE = """
import sys, time
from forecaster.errors import WorkerError
from forecaster.telemetry.logs import configure_logging
from forecaster.telemetry.metrics import SupervisorMetrics
from forecaster.workers.supervisor import Supervisor
from forecaster.workers.totals import Totals
from forecaster.workers.worker import Worker
configure_logging()
totals = Totals()
workers = [Worker(n, [sys.executable, "-c", sys.argv[1]], totals, time.monotonic) for n in range(2)]
supervisor = Supervisor(workers, SupervisorMetrics(totals), time.monotonic)
supervisor.stop_on_signals()
try:
    supervisor.run(float(sys.argv[2]))
except WorkerError as error:
    sys.exit(error.exit_code)
"""
# One write: `print` makes one of each argument, and two workers that share a log would mix their lines.
SAY_PID = 'sys.stderr.write(f"serving {os.getpid()}\\n")\n'
DEAF = f"""
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
{SAY_PID}
time.sleep(600)
"""


class Driven:
    """A supervisor of two workers as a process of its own."""

    def __init__(self, program: str, log: Path, grace_s: float) -> None:
        self.log = log
        with log.open("wb") as file:
            self.process = subprocess.Popen([*python(DRIVE), program, str(grace_s)], stderr=file, cwd=ROOT)

    def pids(self) -> list[int]:
        return [int(line.split()[1]) for line in self.log.read_text().splitlines() if line.startswith("serving ")]

    def alive(self) -> list[int]:
        return [pid for pid in self.pids() if is_alive(pid)]


def is_alive(pid: int) -> bool:
    """Whether the process lives; one that has ended, but that nobody has asked after, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


@contextmanager
def driven(program: str, folder: Path, grace_s: float = 30.0) -> Iterator[Driven]:
    made = Driven(program, folder / "log", grace_s)
    try:
        wait_until(lambda: len(made.pids()) == 2, what="two workers that serve")
        yield made
    finally:
        made.process.kill()
        made.process.wait()
        for pid in made.alive():
            os.kill(pid, signal.SIGKILL)


SERVING = SERVE + STEADY.replace("        time.sleep", f"        {SAY_PID}        time.sleep")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_passed_on_and_the_end_of_all_is_waited_for(tmp_path, number) -> None:
    with driven(SERVING, tmp_path) as made:
        made.process.send_signal(number)
        assert made.process.wait(timeout=20) == 0
        assert made.alive() == []


def test_workers_that_do_not_leave_are_killed_at_the_end_of_the_grace_period(tmp_path) -> None:
    with driven(DEAF, tmp_path, grace_s=0.5) as made:
        began = time.monotonic()
        made.process.send_signal(signal.SIGTERM)
        assert made.process.wait(timeout=20) == 1
        assert time.monotonic() - began > 0.5
        assert made.alive() == []


def test_a_second_ctrl_c_leaves_at_once_and_leaves_no_worker_behind(tmp_path) -> None:
    with driven(DEAF, tmp_path) as made:
        made.process.send_signal(signal.SIGINT)
        wait_until(lambda: '"stopping"' in made.log.read_text(), what="the first one's effect")
        made.process.send_signal(signal.SIGINT)
        assert made.process.wait(timeout=10) == 130
        wait_until(lambda: made.alive() == [], 5, what="the end of both workers")


def test_no_worker_outlives_a_supervisor_that_is_killed(tmp_path) -> None:
    with driven(SERVING, tmp_path) as made:
        made.process.kill()
        wait_until(lambda: made.alive() == [], 10, what="the end of both workers")


def test_the_sums_are_clean_where_labels_and_buckets_are_many() -> None:
    totals, metrics = Totals(), Metrics()
    assert {family.name for family in metrics.registry.collect() if family.type == "gauge"} > SHOWN_AS_IS
    metrics.ticks.labels("forecast").inc(3)
    metrics.batch_size.observe(7)
    metrics.show_model("m", "1", None)
    text = generate_latest(metrics.registry).decode()
    for worker in range(3):
        totals.tell(worker, text)
    totals.keep(1)
    summed = SupervisorMetrics(totals).registry
    assert summed.get_sample_value("forecaster_ticks_total", {"outcome": "forecast"}) == 9
    assert summed.get_sample_value("forecaster_batch_size_bucket", {"le": "10.0"}) == 3
    assert summed.get_sample_value("forecaster_batch_size_bucket", {"le": "5.0"}) == 0
    assert summed.get_sample_value("forecaster_model_info", {"name": "m", "version": "1"}) == 1
    names = [line.split(" ")[2] for line in generate_latest(summed).decode().splitlines() if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
