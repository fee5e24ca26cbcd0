"""A stream with a past covariate and two known ones: its settings, a network for it, recordings, and the line."""

import json
from pathlib import Path

import builders
import numpy as np
from builders import FEATURES, START_MS, Row

from forecaster.config import Settings
from forecaster.features.covariates import CovariateSettings
from forecaster.recording import Recording
from forecaster.recording.messages import Messages
from forecaster.replay import replay

HORIZON, SECOND = 3, 1_000
GIVEN = CovariateSettings(
    past=("load",), known=("outdoor.t", "open"), horizon=HORIZON, mean=(1.0, 20.0, 0.5), deviation=(2.0, 5.0, 0.25)
)
COVARIED = FEATURES.model_copy(update={"covariates": GIVEN})
SETTINGS = Settings(input={"past_covariates": GIVEN.past, "known_covariates": GIVEN.known}, model={"horizon": HORIZON})
NETWORK = builders.network(features=COVARIED)


def recording(rounds: int, series: int = 2, seed: int = 0, *, missing: float = 0.1) -> Recording:
    """A tick of each series each second, some of whose values and covariates are missing."""
    draw, count = np.random.default_rng(seed), rounds * series
    covariates = draw.normal((1.0, 20.0, 0.5), (2.0, 5.0, 0.25), (count, 3))
    covariates[draw.random((count, 3)) < missing] = np.nan
    value = np.where(draw.random(count) < missing, np.nan, draw.normal(20, 3, count))
    time_ms = np.repeat(START_MS + SECOND * np.arange(rounds), series)
    names = [f"s{n}" for n in range(series)]
    return Recording(names, np.tile(np.arange(series), rounds), time_ms, value, covariates=covariates)


def line(made=NETWORK, **changes):
    return builders.pipeline(SETTINGS, made, features=COVARIED, **changes)


def replayed(ticks: Recording, folder: Path, served=None) -> list[dict]:
    """Every forecast, with its series' scale beside it."""
    scales: list[float] = []
    replay(ticks, SETTINGS, served or line(), folder / "out", lambda found: scales.extend(found.scale.tolist()))
    found = (folder / "out").read_text().splitlines()
    return [json.loads(one) | {"scale": scale} for one, scale in zip(found, scales, strict=True)]


def rows_of(ticks: Recording, low: int, high: int) -> list[Row]:
    """The records that `replay` would bring."""
    found = Messages(ticks, SETTINGS).between(low, high)
    times = ticks.time_ms[low:high].tolist()
    return [
        Row(value, 0, low + n, key, (), time) for n, ((key, value), time) in enumerate(zip(found, times, strict=True))
    ]
