"""From tick to forecast at an even rate: milliseconds from when a tick was due to its forecast's arrival at a
read_committed consumer in another process.

python -m benchmarks.latency [--quick] [--save]

The loop is open: a tick that is sent late counts from when it was due. All processes share one machine and its
clock. The first two seconds of each rate are left out: they are the daemon's first batches of that size. `echo` is
the same of a plain loop of the client that answers each tick with a forecast's bytes: what Kafka alone takes.
"""

import sys
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.contender import Contender, Setup
from benchmarks.harness import CLIENTS, DELIVERIES, Lab, MissingError, Series, main
from benchmarks.load import latencies, receiver, sender
from benchmarks.report import Report
from benchmarks.throughput import ENDLESS, forecasts_of

SERIES = 10_000
RATES = (100, 1_000, 5_000)
LEFT_OUT_S = 2.0
SECONDS, QUICK_S = 20, 10


def measure(lab: Lab, *, quick: bool) -> Report:
    report = Report()
    rates = (1_000,) if quick else RATES
    for client in CLIENTS[1:] if quick else CLIENTS:
        try:
            one_client(lab, client, rates, report)
        except MissingError as error:
            report.missing[f"latency.{client}"] = str(error)
    return report


def one_client(lab: Lab, client: str, rates: Sequence[int], report: Report) -> None:
    for delivery in DELIVERIES:
        with Contender(lab, Setup(client, delivery)) as daemon:
            all_rates(daemon.start().ready(), rates, f"latency.{client}.{delivery}", report)
            forecasts = forecasts_of(daemon, 1)
    with Contender(lab) as echo:
        command = "-m", "benchmarks.echo", "--own", "--client", client, str(echo.config), str(forecasts), ENDLESS
        all_rates(echo.start(sys.executable, *command).ready(), rates, f"latency.{client}.echo", report)


def all_rates(contender: Contender, rates: Sequence[int], name: str, report: Report) -> None:
    series = Series(SERIES)
    for rate in rates:
        seconds = QUICK_S if rates == (1_000,) else SECONDS
        one_rate(contender, series, rate, rate * seconds, f"{name}.{rate}", report)


def one_rate(daemon: Contender, series: Series, rate: int, count: int, name: str, report: Report) -> None:
    bootstrap = daemon.lab.bootstrap
    with receiver(bootstrap, daemon.output, count) as answer:
        began = time.time() + 3.0  # until then the sender's process starts
        with sender(bootstrap, daemon.input, series, rate, count, began):
            found = answer.recv()
    if len(found) < count:
        report.missing[name] = f"{len(found)} of {count} forecasts came"
        return
    waited = latencies(found, series, rate, began)
    series.sent += count
    settled = np.array([at for at, _, _ in found]) > began + LEFT_OUT_S
    for level in (50, 99):
        report.add(f"{name}.p{level}_ms", 1_000 * float(np.percentile(waited[settled], level)))


if __name__ == "__main__":
    main("latency", __doc__, measure)
