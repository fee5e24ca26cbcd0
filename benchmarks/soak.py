"""Half an hour at 70 % of the top speed: does memory stay flat?

python -m benchmarks.soak [--minutes N] [--client NAME] [--delivery NAME] [--save]

The top speed is measured first. Resident memory is sampled every five seconds; its slope is a least-squares line's
behind the first tenth, with the standard error that it has where samples do not depend on each other.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.contender import Contender, Setup, Turn, take_turns
from benchmarks.harness import CLIENTS, DELIVERIES, MissingError, Series, lab
from benchmarks.load import sender
from benchmarks.report import Report, arguments, finish

SERIES, TICKS, SHARE = 10_000, 100_000, 0.7
SAMPLE_S = 5.0
PARTS = 9  # of the time behind the first tenth, each shown by its median: growth that ends looks like none else


def resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def measure(daemon: Contender, minutes: float) -> Report:
    report, series = Report(), Series(SERIES)
    take_turns([Turn("soak.top_per_s", daemon, series, TICKS)], 3, report)
    rate = SHARE * report.median("soak.top_per_s")
    report.add("soak.rate_per_s", rate)
    began, count = time.time() + 3.0, int(60 * minutes * rate)
    with sender(daemon.lab.bootstrap, daemon.input, series, rate, count, began):
        samples = np.array(list(sampled(daemon, began, 60 * minutes)))
    report.add("soak.seconds_behind_at_end", daemon.drained() - (began + count / rate))
    hours, size = samples[len(samples) // 10 :].T
    (slope, _), covariance = np.polyfit(hours, size, 1, cov=True)
    for part in np.array_split(size, PARTS):
        report.add("soak.resident_mb", float(np.median(part)))
    report.add("soak.first_mb", float(size[0]))
    report.add("soak.last_mb", float(size[-1]))
    report.add("soak.slope_mb_per_hour", float(slope))
    report.add("soak.slope_standard_error", float(np.sqrt(covariance[0, 0])))
    return report


def sampled(daemon: Contender, began: float, seconds: float) -> Iterator[tuple[float, float]]:
    """(hours, MB) every `SAMPLE_S`."""
    assert daemon.process is not None
    while (at := time.time() - began) < seconds:
        daemon.still_runs()
        if at >= 0:
            yield at / 3_600, resident_mb(daemon.process.pid)
        time.sleep(SAMPLE_S)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--client", choices=CLIENTS, default=CLIENTS[0])
    parser.add_argument("--delivery", choices=DELIVERIES, default=DELIVERIES[1])
    options = parser.parse_args()
    try:
        with lab() as on, Contender(on, Setup(options.client, options.delivery)) as daemon:
            report = measure(daemon.start(), options.minutes)
    except MissingError as error:
        report = Report(missing={"soak": str(error)})
    finish("soak", report, options)


if __name__ == "__main__":
    main()
