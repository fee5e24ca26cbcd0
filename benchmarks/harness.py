"""What the benchmarks on a broker share: the broker, bundles, and backlogs of ticks."""

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from integration.kafka_broker import KafkaBroker

from benchmarks.report import ROOT, Report, arguments, finish

START_MS = 1_700_000_000_000
CLIENTS = ("kafka-python", "librdkafka")
DELIVERIES = ("at_least_once", "exactly_once")
RETENTION = {"retention.bytes": str(2**28), "segment.bytes": str(2**26)}  # or an hour of forecasts fills the disk
TICK = b'{"series":"sensor-%d","ts":%d,"value":%.3f}'
Tick = tuple[bytes, bytes]  # key, value


class MissingError(Exception):
    """What was to be measured does not run here; the text says why."""


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


def main(name: str, doc: str | None, measure: Callable[..., Report]) -> None:
    """The command of a scenario that has no arguments of its own."""
    options = arguments(doc).parse_args()
    with lab() as on:
        report = measure(on, quick=options.quick)
    finish(name, report, options)
