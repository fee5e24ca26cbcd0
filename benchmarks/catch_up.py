"""A backlog of 1,000 series × 100 ticks with `emit = "latest"` and with `"every"`: ticks a second.

python -m benchmarks.catch_up [--quick] [--save]
"""

from contextlib import ExitStack

from benchmarks.contender import Contender, Setup, Turn, take_turns
from benchmarks.harness import CLIENTS, Lab, MissingError, Series, main
from benchmarks.report import Report

SERIES, STEPS = 1_000, 100
EMITS = ("every", "latest")


def measure(lab: Lab, *, quick: bool) -> Report:
    report = Report()
    for client in CLIENTS:
        try:
            one_client(lab, client, 1 if quick else 3, report)
        except MissingError as error:
            report.missing[f"catch_up.{client}"] = str(error)
    return report


def one_client(lab: Lab, client: str, rounds: int, report: Report) -> None:
    name = f"catch_up.{client}"
    with ExitStack() as stack:
        daemons = {emit: stack.enter_context(Contender(lab, Setup(client, emit=emit))).start() for emit in EMITS}
        turns = [Turn(f"{name}.{emit}_per_s", daemons[emit], Series(SERIES), SERIES * STEPS) for emit in EMITS]
        take_turns(turns, rounds, report)
    report.ratio(f"{name}.latest_over_every", f"{name}.latest_per_s", f"{name}.every_per_s")


if __name__ == "__main__":
    main("catch_up", __doc__, measure)
