"""Forecasts that come as JSON lines, as CSV for a database: a row for each step of each forecast.

kcat -C -b localhost:9092 -t forecasts -q | python3 docs/examples/rows.py

Columns: series, origin and time (epoch milliseconds), point, a column for each quantile, model, and whether the series
was ready. A forecast of an aggregate has one row, at the end of its horizon.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from typing import Any

Message = dict[str, Any]
Row = list[str | int | float | bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantiles", default="0.1,0.5,0.9", help="which, separated by commas")
    parser.add_argument("--header", action="store_true", help="begin with the names of the columns")
    options = parser.parse_args()
    levels = options.quantiles.split(",")
    write = csv.writer(sys.stdout, lineterminator="\n")
    if options.header:
        write.writerow(["series", "origin", "time", "point", *(f"q{level}" for level in levels), "model", "ready"])
    for line in sys.stdin:
        write.writerows(rows(json.loads(line), levels))
        sys.stdout.flush()


def rows(message: Message, levels: list[str]) -> Iterator[Row]:
    """The steps of a forecast; with `step = "tick"` steps have no length, and stand 1, 2, … behind the origin."""
    length, first = message["step_ms"] or 1, message["horizon"] if "aggregate" in message else 1
    columns = [message["point"], *(message["quantiles"][level] for level in levels)]
    for ahead, values in enumerate(zip(*columns, strict=True), first):
        time = message["origin"] + ahead * length
        yield [message["series"], message["origin"], time, *values, message["model"], message["maturity"] == "ready"]


if __name__ == "__main__":
    main()
