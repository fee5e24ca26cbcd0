"""The weather as covariates of beijing_pm25: CRPS of the next 24 hours beside the same network without it.

As past covariates the columns are what a station measures: dew point, temperature, pressure and wind. As known ones
they are the weather that then came, which no weather forecast is: what a perfect one would be worth. A recording is
cut 60 / 20 / 20 % in time, as its README suggests.
"""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.family.aggregates import HORIZON, LEVELS, MEASURE, beijing
from benchmarks.family.row import Row

WEATHER = ("DEWP", "TEMP", "PRES", "Iws")
KINDS = {"past_covariates": "weather up to now", "known_covariates": "weather to come, perfectly known"}


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """A row for each kind of covariate."""
    model = {"horizon": HORIZON, "quantiles": LEVELS, "seasons": ("1d",)}
    without = beijing(folder).train(seed, **model).scores()["model"]["crps"]
    for setting, name in KINDS.items():
        trained = beijing(folder, **{setting: WEATHER}).train(seed, **model)
        crps = trained.scores()["model"]["crps"]
        yield Row(name, "beijing_pm25", MEASURE, crps, "the network without it", without, trained.seconds)
