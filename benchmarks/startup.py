"""From the start of a process to its first forecast, beside a bare `import tensorflow` in the same run.

python -m benchmarks.startup [--quick] [--save]

The tick is there before the process starts; the forecast is seen by a read_committed consumer.
"""

import time

from benchmarks.contender import Contender, Setup
from benchmarks.harness import CLIENTS, Lab, MissingError, Series, main, produce, python
from benchmarks.load import first_forecast
from benchmarks.report import Report

IMPORT = "startup.import_tensorflow_s"


def measure(lab: Lab, *, quick: bool) -> Report:
    report = Report()
    for _ in range(1 if quick else 3):
        report.add(IMPORT, seconds_to_import())
        for client in CLIENTS[1:] if quick else CLIENTS:
            try:
                with Contender(lab, Setup(client)) as daemon:
                    produce(lab.bootstrap, daemon.input, Series(1).ticks(1))
                    report.add(f"startup.{client}.first_forecast_s", first_forecast(daemon))
            except MissingError as error:
                report.missing[f"startup.{client}"] = str(error)
    for client in CLIENTS:
        if (name := f"startup.{client}.first_forecast_s") in report.rounds:
            report.add(f"startup.{client}.beyond_import_s", report.median(name) - report.median(IMPORT))
    return report


def seconds_to_import() -> float:
    began = time.monotonic()
    python("-c", "import tensorflow")
    return time.monotonic() - began


if __name__ == "__main__":
    main("startup", __doc__, measure)
