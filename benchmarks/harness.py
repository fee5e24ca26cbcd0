"""What the benchmarks on a broker share: the broker, bundles, backlogs, and processes timed over a whole backlog.

A *contender* is one process that turns every record of a topic of its own into one of another: the daemon, an echo,
a peer. It is started once and has answered a tick in each partition before it is timed, so that its start-up is
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
from benchmarks.report import ROOT, Report, arguments, finish

sys.path.insert(0, str(ROOT / "tests"))

from integration.helpers import create_topics, unique, wait_until
from integration.kafka_broker import KafkaBroker

PARTITIONS = 4
START_MS = 1_700_000_000_000
START_TIMEOUT, RUN_TIMEOUT = 120.0, 300.0
CLIENTS = ("kafka-python", "librdkafka")
DELIVERIES = ("at_least_once", "exactly_once")
RETENTION = {"retention.bytes": str(2**28), "segment.bytes": str(2**26)}  # or an hour of forecasts fills the disk
TICK = b'{"series":"sensor-%d","ts":%d,"value":%.3f}'
WARM = b'{"series":"warm-%d","ts":%d,"value":20.5}'
Tick = tuple[bytes, bytes]  # key, value


class MissingError(Exception):
    """What was to be measured does not run here; the text says why."""


class Setup(NamedTuple):
    """What a daemon is run with."""

    client: str = "kafka-python"
    delivery: str = "at_least_once"
    emit: str = "every"
    horizon: int = 16
    context: int = 64


@dataclass
class Lab:
    """A broker and a folder."""

    bootstrap: str
    folder: Path
    _bundles: dict[tuple[int, int], Path] = field(default_factory=dict)

    def bundle(self, horizon: int = 16, context: int = 64) -> Path:
        """The folder of a bundle, made once."""
        if (horizon, context) not in self._bundles:
            path = self.folder / f"bundle-{horizon}-{context}"
            python("-m", "benchmarks.models", str(path), str(horizon), str(context))
            self._bundles[horizon, context] = path
        return self._bundles[horizon, context]


@contextmanager
def lab() -> Iterator[Lab]:
    """A broker of its own that is gone at the end with all it kept."""
    checks = {"log.retention.check.interval.ms": "5000", "log.segment.delete.delay.ms": "1000"}
    broker = KafkaBroker(checks)
    with tempfile.TemporaryDirectory(prefix="forecaster-bench-") as folder:
        try:
            broker.start()
            yield Lab(broker.bootstrap, Path(folder))
        finally:
            broker.close()


def python(*arguments: str) -> None:
    """Run Python to its end; what it says is shown where it fails."""
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")


class Series:
    """Ticks of `number` series in turn, each a step behind its last one; every call goes on where the last ended."""

    def __init__(self, number: int) -> None:
        self.number, self.sent = number, 0
        self._values = np.random.default_rng(0).normal(20, 1, 1_000).tolist()

    def ticks(self, count: int) -> list[Tick]:
        """The next `count` ticks."""
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        return [self._tick(n % self.number, n // self.number) for n in numbers]

    def _tick(self, series: int, step: int) -> Tick:
        value = self._values[(series + 7 * step) % len(self._values)]
        return b"sensor-%d" % series, TICK % (series, START_MS + 1_000 * step, value)

    def place(self, key: bytes, origin_ms: int) -> int:
        """Which tick, counted from the very first, the forecast of `key` and `origin_ms` is for."""
        return (origin_ms - START_MS) // 1_000 * self.number + int(key.partition(b"-")[2])


def produce(bootstrap: str, topic: str, ticks: Sequence[Tick], partitions: Sequence[int] | None = None) -> None:
    """Produce to the partition of each key, as every Java client places it, or to `partitions`."""
    failed: list[object] = []
    producer = Producer({
        "bootstrap.servers": bootstrap, "linger.ms": 5, "partitioner": "murmur2_random",
        "queue.buffering.max.messages": 2_000_000, "delivery.report.only.error": True,
        "on_delivery": lambda error, _: failed.append(error),
    })  # fmt: skip
    for (key, value), partition in zip(ticks, partitions or [-1] * len(ticks), strict=True):
        producer.produce(topic, value, key, partition)
    left = producer.flush(60)
    if left or failed:
        raise RuntimeError(f"{left + len(failed)} of {len(ticks)} ticks were not produced: {failed[:1]}")


class Contender(AbstractContextManager["Contender"]):
    """One process with topics, group and configuration of its own; killed at the end if it does not leave."""

    def __init__(self, lab: Lab, setup: Setup | None = None) -> None:
        self.lab, self.setup = lab, setup or Setup()
        self.group, self.input, self.output = unique("group"), unique("ticks"), unique("forecasts")
        self.config = lab.folder / f"{self.group}.toml"
        self.process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the contender
        self._group = Consumer({"bootstrap.servers": lab.bootstrap, "group.id": self.group})
        create_topics(lab.bootstrap, {self.input: PARTITIONS}, **RETENTION)
        create_topics(
            lab.bootstrap, {self.output: PARTITIONS}, **RETENTION, **{"message.timestamp.type": "LogAppendTime"}
        )
        self.config.write_text(self._toml())

    def _toml(self) -> str:
        setup = self.setup
        return f"""
delivery = "{setup.delivery}"
emit = "{setup.emit}"
[state]
checkpoint_interval = "10s"
[stream]
step = "1s"
[model]
bundle = "{self.lab.bundle(setup.horizon, setup.context)}"
[kafka]
bootstrap_servers = "{self.lab.bootstrap}"
client = "{setup.client}"
group_id = "{self.group}"
[topics]
input = "{self.input}"
output = "{self.output}"
dead_letter = "{unique("dlq")}"
state = "{unique("state")}"
[metrics]
host = "127.0.0.1"
port = 0
"""

    def daemon(self) -> Self:
        """Start as `forecaster run`, see `start`."""
        return self.start(*self.run_command())

    def run_command(self) -> tuple[str, ...]:
        return sys.executable, "-m", "forecaster", "run", "--config", str(self.config)

    def launch(self, *command: str) -> None:
        """Start `command` and wait for nothing."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=self._log, stderr=self._log)

    def start(self, *command: str) -> Self:
        """Start `command` and wait until it has answered one tick in each partition.

        Raises `MissingError` with the last line it wrote where it ends instead.
        """
        warm = [(b"warm-%d" % number, WARM % (number, START_MS)) for number in range(PARTITIONS)]
        try:
            self.launch(*command)
            produce(self.lab.bootstrap, self.input, warm, range(PARTITIONS))
            self._wait(START_TIMEOUT)
        except BaseException:
            self.__exit__()
            raise
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

    def log(self) -> str:
        """What the process has written."""
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")

    def _wait(self, timeout: float) -> None:
        """Until everything in the input topic is committed."""
        parts = [TopicPartition(self.input, number) for number in range(PARTITIONS)]
        ends = [self._group.get_watermark_offsets(part, timeout=10)[1] for part in parts]

        def done() -> bool:
            self.still_runs()
            return all(found.offset >= end for found, end in zip(self._group.committed(parts, 10), ends, strict=True))

        wait_until(done, timeout, what=f"the end of the backlog ({self.log()[-500:]})")

    def still_runs(self) -> None:
        """Look for a moment, so that asking the broker over and over takes nothing from what is measured."""
        assert self.process is not None
        try:
            code = self.process.wait(0.1)
        except subprocess.TimeoutExpired:
            return
        last = self.log().strip().rpartition("\n")[2]
        raise MissingError(f"ended with {code}: {last}")

    def _last_append(self) -> float:
        """When the broker appended the last record of the output, in epoch seconds."""
        admin = AdminClient({"bootstrap.servers": self.lab.bootstrap, "log_level": 3})
        parts = {TopicPartition(self.output, number): OffsetSpec.max_timestamp() for number in range(PARTITIONS)}
        return max(future.result(30).timestamp for future in admin.list_offsets(parts).values()) / 1_000

    def answers(self, most: int) -> list[tuple[bytes, bytes]]:
        """Key and value of up to `most` records of the output, from its start."""
        reader = Consumer({"bootstrap.servers": self.lab.bootstrap, "group.id": unique("reader")})
        reader.assign([TopicPartition(self.output, number, 0) for number in range(PARTITIONS)])
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
    for _ in range(rounds):
        for turn in turns:
            report.add(turn.name, turn.contender.rate(turn.series.ticks(turn.ticks)))


def fastest_daemon(lab: Lab, report: Report) -> Contender:
    """A daemon with the fastest client that runs here; `report` says what is missing."""
    for client in reversed(CLIENTS):
        try:
            return Contender(lab, Setup(client)).daemon()
        except MissingError as error:
            report.missing[f"{client} client"] = str(error)
    raise MissingError("no client runs here")


def main(name: str, doc: str | None, measure: Callable[..., Report]) -> None:
    """The command of a scenario that has no arguments of its own."""
    options = arguments(doc).parse_args()
    with lab() as on:
        report = measure(on, quick=options.quick)
    finish(name, report, options)
