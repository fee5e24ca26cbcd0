"""What forecasts a second depend on: the number of series, the horizon, the context.

python -m benchmarks.sweep [--quick] [--save]

Each variant changes one thing of the base (10,000 series, horizon 16, context 64, the fastest client that runs here)
and takes turns with a daemon that serves the base.
"""

from typing import NamedTuple

from benchmarks.contender import Contender, Setup, Turn, fastest_daemon, take_turns
from benchmarks.harness import Lab, Series, main
from benchmarks.report import Report

SERIES, HORIZON, CONTEXT = 10_000, 16, 64
LEARNT = 20_000  # ticks before the first round, from which a daemon learns its series
TICKS = {"kafka-python": 100_000, "librdkafka": 200_000}


class Variant(NamedTuple):
    name: str
    series: int = SERIES
    horizon: int = HORIZON
    context: int = CONTEXT


VARIANTS = (
    *(Variant(f"series_{number}", series=number) for number in (2, 10, 1_000, 100_000)),
    *(Variant(f"horizon_{steps}", horizon=steps) for steps in (1, 96)),
    Variant("context_1024", context=1_024),
)
QUICK = {"series_10", "context_1024"}


def measure(lab: Lab, *, quick: bool) -> Report:
    report = Report()
    with fastest_daemon(lab, report) as daemon:
        base = Turn("", daemon, Series(SERIES), TICKS[daemon.setup.client] // (2 if quick else 1))
        for variant in VARIANTS:
            if not quick or variant.name in QUICK:
                one_variant(lab, variant, base, 1 if quick else 3, report)
    return report


def one_variant(lab: Lab, variant: Variant, base: Turn, rounds: int, report: Report) -> None:
    name, client = f"sweep.{variant.name}", base.contender.setup.client
    base = base._replace(name=f"{name}.base_per_s")
    with Contender(lab, Setup(client, horizon=variant.horizon, context=variant.context)) as daemon:
        own = Turn(f"{name}.per_s", daemon.start().ready(), Series(variant.series), base.ticks)
        daemon.rate(own.series.ticks(LEARNT))  # as the base has by now
        take_turns([own, base], rounds, report)
    report.ratio(f"{name}.over_base", own.name, base.name)


if __name__ == "__main__":
    main("sweep", __doc__, measure)
