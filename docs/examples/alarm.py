"""Warn before a series falls below a limit, by its forecasts, which come as JSON lines.

kcat -C -b localhost:9092 -t forecasts -q | python3 docs/examples/alarm.py --below 70 --level 0.1

A warning begins with the first forecast whose quantile of that level lies below the limit at some step of the horizon.
With --history, the recording that was forecast, it tells instead how many falls were warned of; with --value-below X
besides, it warns where the value itself lies below X, which is what a fixed limit would do.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Message = dict[str, Any]
Values = dict[str, dict[int, float]]  # by series, by time in epoch milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--below", type=float, required=True, metavar="LIMIT")
    parser.add_argument("--level", default="0.1", help="a quantile of the forecasts (0.1)")
    parser.add_argument("--history", type=Path, help="a recording: a time column, and one for each series")
    parser.add_argument("--value-below", type=float, metavar="X")
    options = parser.parse_args()
    messages = (json.loads(line) for line in sys.stdin)
    if options.history is None:
        watch(messages, options.below, options.level)
    else:
        report(list(messages), read(options.history), options)


def watch(messages: Iterable[Message], below: float, level: str) -> None:
    warned: dict[str, bool] = {}
    for message in messages:
        series, lowest = message["series"], min(message["quantiles"][level])
        if lowest < below and not warned.get(series, False):
            at = datetime.fromtimestamp(message["origin"] / 1000, UTC)
            print(f"{at:%Y-%m-%d %H:%M} {series}: may fall below {below:g}, to {lowest:.1f}", flush=True)
        warned[series] = lowest < below


def read(path: Path) -> Values:
    """The values of a recording; the first of a time wins, as in the daemon."""
    found: Values = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            (_, time), *cells = row.items()
            at = round(datetime.fromisoformat(time).replace(tzinfo=UTC).timestamp() * 1000)
            for series, cell in cells:
                found.setdefault(series, {}).setdefault(at, float(cell))
    return found


def report(messages: list[Message], history: Values, options: argparse.Namespace) -> None:
    """A line for each series: its falls, how many were warned of and how early, and how many warnings were wrong."""
    span = messages[0]["horizon"] * messages[0]["step_ms"]
    for series, values in history.items():
        low = [at for at in sorted(values) if values[at] < options.below]
        warned = [
            message["origin"] for message in messages if message["series"] == series and warns(message, values, options)
        ]
        early = [min((at for at in warned if fall - span <= at < fall), default=fall) for fall in begins(low, span)]
        leads = sorted((fall - at) / 60_000 for fall, at in zip(begins(low, span), early, strict=True) if at < fall)
        above = [at for at in warned if values.get(at, options.below) >= options.below]
        wrong = sum(not any(at < time <= at + span for time in low) for at in begins(above, span))
        middle = f", {leads[len(leads) // 2]:g} min before in the median" if leads else ""
        print(f"{series}: {len(leads)} of {len(early)} falls warned of{middle}; {wrong} warnings without a fall")


def warns(message: Message, values: dict[int, float], options: argparse.Namespace) -> bool:
    if options.value_below is not None:
        return values.get(message["origin"], options.value_below) < options.value_below
    return min(message["quantiles"][options.level]) < options.below


def begins(times: list[int], span: int) -> list[int]:
    """The first of `times`, and each that none of them lies up to `span` before."""
    return [at for n, at in enumerate(times) if n == 0 or at - times[n - 1] > span]


if __name__ == "__main__":
    main()
