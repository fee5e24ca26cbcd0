"""How far may a price move: the width of its forecast interval, from forecasts that come as JSON lines.

kcat -C -b localhost:9092 -t forecasts -q | python3 docs/examples/widths.py

A line where the interval at the horizon becomes wider than twice what has been usual, and where it no longer is. With
--quotes, the recording that was forecast, it tells instead what then happened: moves by how wide the interval was.
"""

import argparse
import csv
import json
import sys
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

Message = dict[str, Any]
Quotes = dict[str, tuple[list[float], list[float]]]  # by symbol: times in epoch milliseconds, mid prices
MEMORY = 0.001  # weight of the newest interval in what is usual: some thousand forecasts


class Forecast(NamedTuple):
    """The interval of one forecast at its horizon, in basis points of its point, and the move that followed."""

    width: float
    move: float
    inside: bool
    before: float  # the move of the time before, as long as the horizon


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quotes", type=Path, help="a recording with ts_utc, symbol, bid and ask")
    parser.add_argument("--low", default="0.1", help="the lower quantile")
    parser.add_argument("--high", default="0.9", help="the upper quantile")
    options = parser.parse_args()
    messages = (json.loads(line) for line in sys.stdin)
    if options.quotes is None:
        watch(messages, options.low, options.high)
    else:
        report(messages, read(options.quotes), options.low, options.high)


def watch(messages: Iterable[Message], low: str, high: str) -> None:
    usual: dict[str, float] = {}
    wide: dict[str, bool] = {}
    for message in messages:
        series, width = message["series"], width_of(message, low, high)
        usual[series] = (1 - MEMORY) * usual.get(series, width) + MEMORY * width
        if wide.get(series, False) != (width > 2 * usual[series]):
            wide[series] = not wide.get(series, False)
            at = datetime.fromtimestamp(message["origin"] / 1000, UTC)
            print(f"{at:%H:%M:%S} {series}: {width:.2f} bp, usual {usual[series]:.2f}", flush=True)


def width_of(message: Message, low: str, high: str) -> float:
    """Of the interval at the last step, in basis points."""
    quantiles = message["quantiles"]
    return 10_000 * (quantiles[high][-1] - quantiles[low][-1]) / message["point"][-1]


def read(path: Path) -> Quotes:
    found: Quotes = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            times, mids = found.setdefault(row["symbol"], ([], []))
            times.append(datetime.fromisoformat(row["ts_utc"]).timestamp() * 1000)
            mids.append((float(row["bid"]) + float(row["ask"])) / 2)
    return found


def report(messages: Iterable[Message], quotes: Quotes, low: str, high: str) -> None:
    """A table: fifths of the forecasts by width, and what followed."""
    found: dict[str, list[Forecast]] = {}
    for message in messages:
        times, mids = quotes[message["series"]]
        span = message["horizon"] * message["step_ms"]
        end = message["origin"] + span
        if times[0] <= message["origin"] - span and end <= times[-1]:  # what came before and after is known
            before, now, then = (mids[bisect_left(times, at) - 1] for at in (end - 2 * span, end - span, end))
            inside = message["quantiles"][low][-1] <= then <= message["quantiles"][high][-1]
            basis = 10_000 / now
            moves = abs(then - now) * basis, inside, abs(now - before) * basis
            found.setdefault(message["series"], []).append(Forecast(width_of(message, low, high), *moves))
    print("symbol  fifth  width, bp  move that followed, bp  inside  move, by fifths of the move before")
    for series, forecasts in sorted(found.items()):
        columns = fifths(forecasts, "width"), fifths(forecasts, "before")
        for n, (by_width, by_before) in enumerate(zip(*columns, strict=True), 1):
            print(
                f"{series:6}  {n:5}  {mean(by_width, 'width'):9.2f}  {mean(by_width, 'move'):22.2f}"
                f"  {mean(by_width, 'inside'):6.3f}  {mean(by_before, 'move'):33.2f}"
            )


def fifths(forecasts: list[Forecast], by: str) -> list[list[Forecast]]:
    ordered = sorted(forecasts, key=lambda forecast: getattr(forecast, by))
    return [ordered[len(ordered) * n // 5 : len(ordered) * (n + 1) // 5] for n in range(5)]


def mean(forecasts: list[Forecast], of: str) -> float:
    return sum(getattr(forecast, of) for forecast in forecasts) / max(len(forecasts), 1)


if __name__ == "__main__":
    main()
