"""Networks over windows: young series with masked windows or an invented past; encoder–decoder and attention."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.family.cells import HORIZON, MEASURE, etth1
from benchmarks.family.row import Row
from benchmarks.family.trained import Protocol
from forecaster.config import InputSettings
from forecaster.recording import Columns, Recording, join, read_recording
from training.backtest import Part
from training.origins import Choice

AMBIENT = "nab/ambient_temperature_system_failure.csv.gz"
YOUNG, STARTS = 24, 60  # hours of a new sensor that are scored, and such sensors, spread over the test part
SHARES = {"train_fraction": 0.35, "validation_fraction": 0.15}
EPOCHS = 10  # of each network on ETTh1, which bounds what the slowest takes
DECODERS: dict[str, dict[str, Any]] = {"encoder-decoder": {}, "encoder-decoder, attention": {"attention": "dot"}}


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """Both comparisons."""
    yield cold_start(folder, seed)
    yield from decoders(folder, seed)


def cold_start(folder: Path, seed: int) -> Row:
    """Mean absolute error over the first day of sensors that begin anywhere in the test part."""
    ticks = read_recording([folder / AMBIENT], InputSettings(), Columns())
    protocol, found = Protocol(ticks, {"step": "1h"}, SHARES), {}
    for short_windows in ("filled", "masked"):
        trained = protocol.train(
            seed, network="segment", short_windows=short_windows, segment_length=12, context_length=168,
            horizon=24, seasons=("1d",),
        )  # fmt: skip
        young = _young(ticks, int(trained.manifest.training["validation_end_ms"]), horizon=24)
        errors: list[np.ndarray] = []

        def watch(part: Part, errors: list[np.ndarray] = errors) -> None:
            errors.append(part.losses["mae"][:YOUNG].ravel())

        replace(trained, protocol=replace(protocol, recording=young, choice=Choice(start_ms=0))).scores(watch)
        found[short_windows] = float(np.nanmean(np.concatenate(errors))), trained.seconds
    (filled, _), (masked, seconds) = found["filled"], found["masked"]
    name = "segment, masked windows"
    return Row(name, "ambient_temperature", "MAE of a first day", masked, "an invented past", filled, seconds)


def _young(ticks: Recording, after_ms: int, horizon: int) -> Recording:
    """Sensors that begin at ticks of `ticks` spread over what is later than `after_ms`, each by itself."""
    first = int(np.searchsorted(ticks.time_ms, after_ms))
    begins = np.linspace(first, len(ticks) - YOUNG - horizon, STARTS).astype(int).tolist()
    parts = (ticks.part(begin, begin + YOUNG + horizon) for begin in begins)
    return join(replace(part, names=[f"new {begin}"]) for begin, part in zip(begins, parts, strict=True))


def decoders(folder: Path, seed: int) -> Iterator[Row]:
    """A row for each kind of attention, beside the network with carried state, which forecasts directly."""
    protocol = etth1(folder)
    protocol = replace(protocol, training=protocol.training | {"epochs": EPOCHS})
    shared: dict[str, Any] = {"horizon": HORIZON, "seasons": ("1d",)}
    direct = protocol.train(seed, context_length=240, **shared).scores()["model"]["normalised_mse"]
    for name, model in DECODERS.items():
        trained = protocol.train(seed, network="encoder-decoder", context_length=96, **shared, **model)
        mse = trained.scores()["model"]["normalised_mse"]
        yield Row(name, "ETTh1", MEASURE, mse, "carried, direct", direct, trained.seconds)
