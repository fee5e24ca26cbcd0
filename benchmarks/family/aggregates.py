"""The maximum of the next 24 hours of beijing_pm25: CRPS beside naive forecasts of it, and beside what forecasts of
every step give.

A recording is cut 60 / 20 / 20 % in time, as its README suggests.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.family.row import Row
from benchmarks.family.trained import Protocol, Trained
from forecaster.config import InputSettings
from forecaster.recording import Columns, read_recording
from training.backtest import Part
from training.metrics import pinball, weighted_quantile_loss

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
HORIZON, MEASURE = 24, "CRPS"


def beijing(folder: Path, **covariates: tuple[str, ...]) -> Protocol:
    """Hourly PM2.5, its missing hours missing, with the columns that `covariates` name by their setting."""
    columns = Columns("year,month,day,hour", None, ("pm2.5",))
    path = folder / "beijing_pm25" / "beijing_pm25.csv.gz"
    split = {"train_fraction": 0.6, "validation_fraction": 0.2}
    recording = read_recording([path], InputSettings(**covariates), columns)
    return Protocol(recording, {"step": "1h"}, split, input=covariates)


class MaximumOfSteps:
    """Takes each quantile of the maximum to be the largest of the steps' own, and sums what that loses."""

    def __init__(self) -> None:
        self._lost = self._size = 0.0

    def __call__(self, part: Part) -> None:
        """Take in forecasts of every step whose whole horizon has come."""
        known = ~np.isnan(part.actual).any(axis=1)
        actual, quantiles = part.actual[known].max(axis=1), part.quantiles[known].max(axis=1)
        self._lost += float(pinball(actual, quantiles, np.array(LEVELS)).mean(axis=-1).sum())
        self._size += float(np.abs(actual).sum())

    def crps(self) -> float:
        """The mean weighted quantile loss."""
        return float(weighted_quantile_loss(self._lost, self._size))


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """The aggregate beside the best naive forecast of it, and beside the maximum of forecasts of every step."""
    protocol = beijing(folder)

    def trained(**more: str) -> Trained:
        return protocol.train(seed, horizon=HORIZON, quantiles=LEVELS, seasons=("1d",), **more)

    of_maximum, of_steps = trained(aggregate="max"), trained()
    crps = {name: scores["crps"] for name, scores in of_maximum.scores().items()}
    value, steps = crps.pop("model"), MaximumOfSteps()
    of_steps.scores(steps)
    best = min(crps, key=crps.__getitem__)
    for rival, theirs in ((best, crps[best]), ("maximum of the steps' quantiles", steps.crps())):
        yield Row('aggregate = "max" of 24 h', "beijing_pm25", MEASURE, value, rival, theirs, of_maximum.seconds)
