"""Networks over windows: young series with masked windows or an invented past; encoder–decoder and attention."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.family.row import Row
from forecaster.config import InputSettings, Settings
from forecaster.recording import Columns, Recording, join, read_recording
from training.backtest import Part, backtest
from training.fit import train
from training.origins import Choice
from training.prepare import Source
from training.scores import as_json

YOUNG, STARTS = 24, 60  # hours of a new sensor that are scored, and such sensors, spread over the test part
SHARES = 0.35, 0.15  # of a recording: trained on, and what chooses the epoch
AMBIENT = "nab/ambient_temperature_system_failure.csv.gz"
HORIZON = 96
ROWS = 8_640, 2_880, 2_880  # of ETTh1: training, validation, test
EPOCHS = 10  # of each, which bounds what the slowest takes


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """Both comparisons."""
    yield from cold_start(folder, seed)
    yield from decoders(folder, seed)


def cold_start(folder: Path, seed: int) -> Iterator[Row]:
    """Mean absolute error over the first day of sensors that begin anywhere in the test part."""
    ticks = _read(folder / AMBIENT)
    found = {}
    for short_windows in ("filled", "masked"):
        settings = Settings(
            stream={"step": "1h"},
            model={"network": "segment", "short_windows": short_windows, "horizon": 24, "context_length": 168,
                   "segment_length": 12, "seasons": ["1d"], "units": [64]},
            training={"seed": seed, "train_fraction": SHARES[0], "validation_fraction": SHARES[1]},
        )  # fmt: skip
        begun = time.monotonic()
        manifest, network = train(Source([ticks]), settings)
        seconds = time.monotonic() - begun
        young = _young(ticks, int(manifest.training["validation_end_ms"]), settings.model.horizon)
        errors: list[np.ndarray] = []

        def watch(part: Part, errors: list[np.ndarray] = errors) -> None:
            errors.append(part.losses["mae"][:YOUNG].ravel())

        backtest(young, settings, manifest, network, Choice(start_ms=0), watch)
        found[short_windows] = float(np.nanmean(np.concatenate(errors))), seconds
    (filled, _), (masked, seconds) = found["filled"], found["masked"]
    name = "segment, masked windows"
    yield Row(name, "ambient_temperature", "MAE of a first day", masked, "an invented past", filled, seconds)


def _young(ticks: Recording, after_ms: int, horizon: int) -> Recording:
    """Sensors that begin at ticks of `ticks` spread over what is later than `after_ms`, each by itself."""
    first = int(np.searchsorted(ticks.time_ms, after_ms))
    begins = np.linspace(first, len(ticks) - YOUNG - horizon, STARTS).astype(int).tolist()
    parts = []
    for begin in begins:
        part = ticks.part(begin, begin + YOUNG + horizon)
        parts.append(Recording([f"new {begin}"], part.series, part.time_ms, part.value))
    return join(parts)


def decoders(folder: Path, seed: int) -> Iterator[Row]:
    """Normalised test error at horizon 96, by the protocol of `benchmarks.accuracy`."""
    ticks = _read(folder / "ett" / "ETTh1.csv.gz")
    window = {"network": "encoder-decoder", "context_length": 96}
    direct, _ = _score(ticks, {"context_length": 240}, seed)
    for name, model in (("encoder-decoder", window), ("with attention", window | {"attention": "dot"})):
        value, seconds = _score(ticks, model, seed)
        yield Row(name, "ETTh1, horizon 96", "normalised MSE", value, "carried, direct", direct, seconds)


def _score(ticks: Recording, model: dict[str, Any], seed: int) -> tuple[float, float]:
    """Error on the test rows, and the seconds of the training."""
    span = int(np.bincount(ticks.series).max()) - 1
    settings = Settings(
        stream={"step": "1h"},
        model=model | {"horizon": HORIZON, "seasons": ["1d"]},
        training={"seed": seed, "epochs": EPOCHS, "train_fraction": ROWS[0] / span,
                  "validation_fraction": ROWS[1] / span},
    )  # fmt: skip
    begun = time.monotonic()
    manifest, network = train(Source([ticks]), settings)
    seconds = time.monotonic() - begun
    choice = Choice(rows=(sum(ROWS[:2]), sum(ROWS)), normalise_rows=(0, ROWS[0]))
    results = backtest(ticks, settings, manifest, network, choice)
    return float(as_json(results, manifest)["overall"]["model"]["normalised_mse"]), seconds


def _read(path: Path) -> Recording:
    return read_recording([path], InputSettings(), Columns())
