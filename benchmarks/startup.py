"""From the start of a process to its first forecast, beside a bare `import tensorflow` in the same run.

python -m benchmarks.startup [--quick] [--save]

The tick is there before the process starts; the forecast is seen by a read_committed consumer.
"""

import time

from benchmarks.harness import CLIENTS, Contender, Lab, MissingError, Series, Setup, main, produce, python
from benchmarks.load import receiver
from benchmarks.report import Report

IMPORT = "startup.import_tensorflow_s"


def measure(lab: Lab, *, quick: bool) -> Report:
    report = Report()
    for _ in range(1 if quick else 3):
        began = time.monotonic()
        python("-c", "import tensorflow")
        report.add(IMPORT, time.monotonic() - began)
        for client in CLIENTS:
            try:
                report.add(f"startup.{client}.first_forecast_s", first_forecast(lab, client))
            except MissingError as error:
                report.missing[f"startup.{client}"] = str(error)
    for client in CLIENTS:
        if (name := f"startup.{client}.first_forecast_s") in report.rounds:
            report.add(f"startup.{client}.beyond_import_s", report.median(name) - report.median(IMPORT))
    return report


def first_forecast(lab: Lab, client: str) -> float:
    with Contender(lab, Setup(client)) as daemon, receiver(lab.bootstrap, daemon.output, 1, quiet_s=60) as answer:
        produce(lab.bootstrap, daemon.input, Series(1).ticks(1))
        began = time.time()
        daemon.launch(*daemon.run_command())
        while not answer.poll():
            daemon.still_runs()
        if not (found := answer.recv()):
            raise MissingError(f"no forecast within a minute: {daemon.log()[-300:]}")
        return found[0][0] - began


if __name__ == "__main__":
    main("startup", __doc__, measure)
