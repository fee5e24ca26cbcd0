"""Forecasts a second with each client and delivery, beside a plain echo of the same bytes.

python -m benchmarks.throughput [--quick] [--save]

Echo and daemon are one process each, the echo with the daemon's keys, output bytes and batch settings; they take
backlogs of the same size in turn, checkpoints included.
"""

import sys
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contender import Contender, Setup, Turn, take_turns
from benchmarks.harness import CLIENTS, DELIVERIES, Lab, MissingError, Series, main
from benchmarks.report import Report

SERIES = 10_000
TICKS = {"kafka-python": 200_000, "librdkafka": 400_000}
ANSWERS = 2 * SERIES  # forecasts that the echo sends, over and over
ENDLESS = "1000000000"


def measure(lab: Lab, *, quick: bool) -> Report:
    report = Report()
    for client in CLIENTS:
        try:
            one_client(lab, client, TICKS[client] // (4 if quick else 1), 1 if quick else 5, report)
        except MissingError as error:
            report.missing[f"throughput.{client}"] = str(error)
    return report


def one_client(lab: Lab, client: str, ticks: int, rounds: int, report: Report) -> None:
    """Daemons first learn their series, which also gives the echo what it answers."""
    name = f"throughput.{client}"
    with ExitStack() as stack:
        daemons = [stack.enter_context(Contender(lab, Setup(client, delivery))).start() for delivery in DELIVERIES]
        turns = [Turn(f"{name}.{daemon.setup.delivery}_per_s", daemon, Series(SERIES), ticks) for daemon in daemons]
        for turn in turns:
            turn.contender.ready().rate(turn.series.ticks(ANSWERS))
        echo = stack.enter_context(start_echo(lab, client, turns[0].contender))
        turns.append(Turn(f"{name}.echo_per_s", echo, Series(SERIES), ticks))
        before = [daemon.stages() for daemon in daemons]
        take_turns(turns, rounds, report)
        for daemon, turn, spent in zip(daemons, turns, before, strict=False):
            profile(daemon, turn, spent, ticks * rounds, report)
    at_least, exactly, plain = (turn.name for turn in turns)
    report.ratio(f"{name}.over_echo", at_least, plain)
    report.ratio(f"{name}.exactly_over_at_least_once", exactly, at_least)


def profile(daemon: Contender, turn: Turn, before: dict[str, float], ticks: int, report: Report) -> None:
    """Microseconds a tick in each stage; the rest is polling, and what the machine did otherwise."""
    name, rest = turn.name.removesuffix("_per_s"), 1e6 / report.median(turn.name)
    for stage, seconds in daemon.stages().items():
        spent = 1e6 * (seconds - before.get(stage, 0.0)) / ticks
        report.add(f"{name}.stage.{stage}_us", spent)
        rest -= spent
    report.add(f"{name}.stage.poll_and_rest_us", rest)


def start_echo(lab: Lab, client: str, daemon: Contender) -> Contender:
    """An echo that answers with the forecasts of `daemon`."""
    forecasts, echo = forecasts_of(daemon, ANSWERS), Contender(lab)
    command = "-m", "benchmarks.echo", "--client", client, str(echo.config), str(forecasts), ENDLESS
    return echo.start(sys.executable, *command)


def forecasts_of(daemon: Contender, most: int) -> Path:
    """A file of up to `most` forecasts that `daemon` has published, as `benchmarks.echo` reads them."""
    file = daemon.config.with_suffix(".tsv")
    file.write_bytes(b"".join(b"%s\t%s\n" % answer for answer in daemon.answers(most)))
    return file


if __name__ == "__main__":
    main("throughput", __doc__, measure)
