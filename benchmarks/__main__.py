"""Everything that `make bench` measures, in one run and one table.

python -m benchmarks [--quick] [--save] [--only NAME …]
"""

import sys
import time
import traceback
from importlib import import_module

from benchmarks.harness import Lab, lab
from benchmarks.report import Report, arguments, command, finish

ALONE = ("engine", "memory")  # each in a process that nothing else has used
ON_BROKER = ("startup", "throughput", "catch_up", "sweep", "latency", "peers")


def run(name: str, on: Lab, *, quick: bool) -> Report:
    """One scenario's report; where it fails, the others' figures are worth having."""
    began = time.monotonic()
    try:
        if name in ALONE:
            report = command(name, *(["--quick"] if quick else []))
        else:
            report = import_module(f"benchmarks.{name}").measure(on, quick=quick)
    except Exception as error:  # noqa: BLE001
        traceback.print_exc()
        report = Report(missing={name: f"{type(error).__name__}: {error}"})
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
    return report


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--only", nargs="+", choices=[*ALONE, *ON_BROKER], default=[*ALONE, *ON_BROKER])
    options = parser.parse_args()
    report = Report()
    with lab() as on:
        for name in options.only:
            report.take(run(name, on, quick=options.quick))
    finish("bench", report, options)


if __name__ == "__main__":
    main()
