"""What a restart costs with many series: the time to the first forecast, and what checkpoints take.

python -m benchmarks.recovery [--save] [--series N] [--partitions N]

One daemon learns N series of 64 observations each and writes checkpoints; a second one, started after the first was
killed, goes on from them. Measured from outside: the process's start to the first new forecast that a reader of
committed records sees, beside a bare `import tensorflow` in the same run.
"""

import signal
from collections.abc import Iterator
from contextlib import closing

import numpy as np
from integration.helpers import read_topic, wait_until
from kafka import KafkaProducer

from benchmarks.contender import Contender, Setup
from benchmarks.harness import START_MS, lab
from benchmarks.load import first_forecast
from benchmarks.report import Report, arguments, finish
from benchmarks.startup import seconds_to_import

CONTEXT, TICKS_A_RECORD = 64, 1_000
CHECKPOINTS, COPY = "forecaster_checkpoints_total", "forecaster_checkpoint_seconds"


def records(series: int, partitions: int) -> Iterator[tuple[int, bytes]]:
    """(partition, record): 64 observations of every series, a thousand ticks a record."""
    values = np.random.default_rng(0).normal(20, 1, 1_000).round(3).tolist()
    for step in range(CONTEXT):
        for low in range(0, series, TICKS_A_RECORD):
            ticks = (
                f'{{"series":"sensor-{n}","ts":{START_MS + 1000 * step},"value":{values[(n + step) % 1_000]}}}'
                for n in range(low, min(low + TICKS_A_RECORD, series))
            )
            yield low // TICKS_A_RECORD % partitions, f"[{','.join(ticks)}]".encode()


def send(daemon: Contender, found: Iterator[tuple[int, bytes]]) -> None:
    with closing(KafkaProducer(bootstrap_servers=daemon.lab.bootstrap, batch_size=2**19, linger_ms=5)) as producer:
        futures = [producer.send(daemon.input, record, partition=partition) for partition, record in found]
        for future in futures:
            future.get(60)


def one_more(step: int, partitions: int) -> Iterator[tuple[int, bytes]]:
    """A tick of one series of each partition."""
    for number in range(partitions):
        series = number * TICKS_A_RECORD
        yield number, b'{"series":"sensor-%d","ts":%d,"value":20.5}' % (series, START_MS + 1_000 * step)


def total(found: dict[str, float], name: str) -> float:
    """The sum over all labels of metric `name`."""
    return sum(value for sample, value in found.items() if sample.partition("{")[0] == name)


def first_run(daemon: Contender, series: int, report: Report) -> None:
    """Let a daemon take everything and write a checkpoint behind it; then kill it."""
    daemon.launch()
    assert daemon.process is not None

    def reaches(name: str, least: float) -> None:
        wait_until(lambda: daemon.still_runs() or total(daemon.metrics(), name) >= least, 900, what=f"{name} {least}")

    reaches("forecaster_ticks_total", series * CONTEXT)
    for more in (1, 2):  # the first checkpoint from now on may have been begun before
        send(daemon, one_more(CONTEXT + more, daemon.setup.partitions))
        reaches(CHECKPOINTS, total(daemon.metrics(), CHECKPOINTS) + daemon.setup.partitions)
    found = daemon.metrics()
    daemon.process.send_signal(signal.SIGKILL)
    daemon.process.wait()
    report.add("recovery.mean_copy_ms", 1_000 * found[f"{COPY}_sum"] / found[f"{COPY}_count"])
    report.add("recovery.slowest_copy_below_ms", 1_000 * slowest(found))


def slowest(found: dict[str, float]) -> float:
    """The upper end of the last bucket of copies that holds one, in seconds."""
    buckets = {name: value for name, value in found.items() if name.startswith(f"{COPY}_bucket")}
    return min(float(name.split('"')[1]) for name, value in buckets.items() if value >= found[f"{COPY}_count"])


def measure(daemon: Contender, series: int) -> Report:
    report = Report()
    send(daemon, records(series, daemon.setup.partitions))
    first_run(daemon, series, report)
    state = read_topic(daemon.lab.bootstrap, daemon.state, timeout=120)
    newest = {record.key: len(record.value or b"") for record in state}
    report.add("recovery.bytes_in_state_topic", sum(newest.values()) / series)
    report.add("recovery.import_tensorflow_s", seconds_to_import())
    send(daemon, one_more(CONTEXT + 3, 1))
    report.add("recovery.start_s", first_forecast(daemon))
    found = daemon.metrics()
    report.add("recovery.replayed", found["forecaster_replayed_records_total"])
    report.add("recovery.restored", found['forecaster_restores_total{source="checkpoint"}'])
    beyond = report.median("recovery.start_s") - report.median("recovery.import_tensorflow_s")
    report.add("recovery.beyond_import_s", beyond)
    return report


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=1)
    options = parser.parse_args()
    setup = Setup(
        delivery="exactly_once",
        emit="latest",
        partitions=options.partitions,
        checkpoint_interval="5s",
        instance="bench",
    )
    with lab() as on, Contender(on, setup) as daemon:
        report = measure(daemon, options.series)
    finish("recovery", report, options)


if __name__ == "__main__":
    main()
