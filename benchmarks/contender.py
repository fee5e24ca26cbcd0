"""One process that turns every record of a topic of its own into one of another: the daemon, an echo, a peer.

A contender is started once and has answered a tick in each partition before it is timed, so that its start-up is
outside of every rate. Then it is stopped (SIGSTOP) while a backlog is produced, and timed from the moment that it
goes on until the broker appended the last record (under exactly-once: the last commit marker) of its output: the
whole backlog counts, and nothing competes with it for the cores but the broker and contenders that are idle.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import NamedTuple, Self

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec
from integration.helpers import create_topics, unique
from integration.kafka_broker import free_port

from benchmarks.harness import CLIENTS, RETENTION, START_MS, Lab, MissingError, Series, Tick, produce
from benchmarks.report import ROOT, Report

START_TIMEOUT, RUN_TIMEOUT = 120.0, 300.0
WARM = b'{"series":"warm-%d","ts":%d,"value":20.5}'


class Setup(NamedTuple):
    """What a daemon is run with."""

    client: str = "kafka-python"
    delivery: str = "at_least_once"
    emit: str = "every"
    horizon: int = 16
    context: int = 64
    partitions: int = 4
    checkpoint_interval: str = "10s"
    instance: str = ""  # a static member does not wait for a killed predecessor's session to end
    page: bool = False


class Contender(AbstractContextManager["Contender"]):
    """One process with topics, group and configuration of its own; killed at the end if it does not leave."""

    def __init__(self, lab: Lab, setup: Setup | None = None) -> None:
        self.lab, self.setup = lab, setup or Setup()
        self.group, self.input, self.output = unique("group"), unique("ticks"), unique("forecasts")
        self.state = unique("state")
        self.config = lab.folder / f"{self.group}.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self._port, self.page_port = free_port(), free_port()
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the contender
        self._group = Consumer({"bootstrap.servers": lab.bootstrap, "group.id": self.group})
        made = self.setup.partitions
        create_topics(lab.bootstrap, {self.input: made}, **RETENTION)
        create_topics(lab.bootstrap, {self.output: made}, **RETENTION, **{"message.timestamp.type": "LogAppendTime"})
        self.config.write_text(self._toml())

    def _toml(self) -> str:
        setup = self.setup
        instance = f'group_instance_id = "{setup.instance}"' if setup.instance else ""
        return f"""
delivery = "{setup.delivery}"
emit = "{setup.emit}"
[state]
checkpoint_interval = "{setup.checkpoint_interval}"
[stream]
step = "1s"
[model]
bundle = "{self.lab.bundle(setup.horizon, setup.context)}"
[kafka]
bootstrap_servers = "{self.lab.bootstrap}"
client = "{setup.client}"
group_id = "{self.group}"
{instance}
[topics]
input = "{self.input}"
output = "{self.output}"
dead_letter = "{unique("dlq")}"
state = "{self.state}"
[metrics]
host = "127.0.0.1"
port = {self._port}
[web]
enabled = {"true" if setup.page else "false"}
port = {self.page_port}
requests_per_second = 1000
"""

    def launch(self, *command: str) -> None:
        """Start `command`, or without one the daemon, and leave the input as it is."""
        command = command or (sys.executable, "-m", "forecaster", "run", "--config", str(self.config))
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log)

    def start(self, *command: str) -> Self:
        """The same, with one tick in each partition that it will answer once it is `ready`."""
        self.launch(*command)
        warm = [(b"warm-%d" % number, WARM % (number, START_MS)) for number in range(self.setup.partitions)]
        produce(self.lab.bootstrap, self.input, warm, range(self.setup.partitions))
        return self

    def ready(self) -> Self:
        """Wait until everything so far is answered; `MissingError` with its last words where the process ends."""
        self._wait(START_TIMEOUT)
        return self

    def rate(self, ticks: Sequence[Tick]) -> float:
        """Records a second over all of `ticks`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        produce(self.lab.bootstrap, self.input, ticks)
        began = time.time()
        self.process.send_signal(signal.SIGCONT)
        return len(ticks) / (self.drained() - began)

    def drained(self) -> float:
        """Wait until all of the input is answered; when the last answer was appended, in epoch seconds."""
        self._wait(RUN_TIMEOUT)
        return self._last_append()

    def metrics(self) -> dict[str, float]:
        """The daemon's samples by name and labels; empty while nothing answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/metrics", timeout=5) as answer:
                lines = [line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#"]
        except OSError:
            return {}
        return {name: float(value) for name, value in lines}

    def stages(self) -> dict[str, float]:
        """Seconds that the daemon has spent in each stage."""
        name = "forecaster_stage_seconds_sum"
        return {key.split('"')[1]: value for key, value in self.metrics().items() if key.startswith(name)}

    def last_words(self) -> str:
        """The last line that the process has written."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace").strip().rpartition("\n")[2]

    def _wait(self, timeout: float) -> None:
        """Until everything in the input topic is committed."""
        parts = [TopicPartition(self.input, number) for number in range(self.setup.partitions)]
        ends = [self._group.get_watermark_offsets(part, timeout=10)[1] for part in parts]

        deadline = time.monotonic() + timeout
        while any(found.offset < end for found, end in zip(self._group.committed(parts, 10), ends, strict=True)):
            self.still_runs()
            if time.monotonic() > deadline:
                raise MissingError(f"not everything was answered within {timeout:g} s: {self.last_words()}")

    def still_runs(self) -> None:
        """Look for a moment, so that asking the broker over and over takes nothing from what is measured."""
        assert self.process is not None
        try:
            code = self.process.wait(0.1)
        except subprocess.TimeoutExpired:
            return
        raise MissingError(f"ended with {code}: {self.last_words()}")

    def _last_append(self) -> float:
        """When the broker appended the last record of the output, in epoch seconds."""
        admin = AdminClient({"bootstrap.servers": self.lab.bootstrap, "log_level": 3})
        parts = {
            TopicPartition(self.output, number): OffsetSpec.max_timestamp() for number in range(self.setup.partitions)
        }
        return max(future.result(30).timestamp for future in admin.list_offsets(parts).values()) / 1_000

    def answers(self, most: int) -> list[tuple[bytes, bytes]]:
        """Key and value of up to `most` records of the output, from its start."""
        reader = Consumer({"bootstrap.servers": self.lab.bootstrap, "group.id": unique("reader")})
        reader.assign([TopicPartition(self.output, number, 0) for number in range(self.setup.partitions)])
        found: list[tuple[bytes, bytes]] = []
        while len(found) < most and (records := reader.consume(most - len(found), 5)):
            found += [(record.key(), record.value()) for record in records if not record.error()]
        reader.close()
        return found

    def stop(self) -> None:
        """SIGTERM, and SIGKILL where that is not enough within half a minute."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def __exit__(self, *_: object) -> None:
        self.stop()
        self._group.close()
        self._log.close()


class Turn(NamedTuple):
    """The next `ticks` of `series` for `contender`, whose rate is the figure `name`."""

    name: str
    contender: Contender
    series: Series
    ticks: int


def take_turns(turns: Sequence[Turn], rounds: int, report: Report) -> None:
    """So many rounds in which each has its turn: what disturbs the machine for a while disturbs them all."""
    for turn in turns:
        turn.contender.ready()
    for _ in range(rounds):
        for turn in turns:
            report.add(turn.name, turn.contender.rate(turn.series.ticks(turn.ticks)))


@contextmanager
def fastest_daemon(lab: Lab, report: Report) -> Iterator[Contender]:
    """A daemon with the fastest client that runs here; `report` says what is missing."""
    for client in reversed(CLIENTS):
        with Contender(lab, Setup(client)) as daemon:
            try:
                daemon.start().ready()
            except MissingError as error:
                report.missing[f"{client} client"] = str(error)
                continue
            yield daemon
            return
    raise MissingError("no client runs here")
