"""Sampled paths of ETTh1 beside the network that forecasts quantiles: CRPS of each step, and of the day's maximum."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.family.row import Row
from forecaster.config import InputSettings, Settings
from forecaster.inference import Inference
from forecaster.networks.kinds import make_engine
from forecaster.recording import Columns, Recording, read_recording
from training.backtest import backtest
from training.fit import train
from training.observed import observe
from training.origins import Choice
from training.prepare import Source

HORIZON, PATHS = 24, 64
LEVELS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
TRAIN, VALIDATION, TEST = 8_640, 2_880, 2_880
EVERY = 7  # origins of the test part, for what takes all paths of each


def settings_of(task: str, seed: int, rows: int) -> Settings:
    model = {"task": task, "horizon": HORIZON, "context_length": 240, "seasons": ["1d"], "quantiles": LEVELS}
    model |= {"dropout": 0.5 if task == "forecast" else 0.2, "sampling": {"paths": PATHS, "seed": seed}}
    training = {"seed": seed, "train_fraction": TRAIN / rows, "validation_fraction": VALIDATION / rows}
    return Settings(stream={"step": "1h"}, model=model, training=training)


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """CRPS as the mean weighted quantile loss of the test part."""
    recording = read_recording([folder / "ett" / "ETTh1.csv.gz"], InputSettings(), Columns())
    span = len(recording) // len(recording.names) - 1
    rows = Choice(rows=(TRAIN + VALIDATION, TRAIN + VALIDATION + TEST))
    crps, seconds, most = {}, {}, {}
    for task in ("forecast", "paths"):
        settings, begun = settings_of(task, seed, span), time.monotonic()
        manifest, network = train(Source([recording]), settings)
        seconds[task] = time.monotonic() - begun
        if task == "paths":
            network.sampling = settings.model.sampling
            most = maxima(recording, settings, manifest, network)
        results = backtest(recording, settings, manifest, network, rows)
        crps[task] = float(results.tallies["model"].overall()["crps"])
    name = "paths (sampled values)"
    yield Row(
        name, "ETTh1, 24 hours", "CRPS of a step", crps["paths"], "quantile network", crps["forecast"], seconds["paths"]
    )
    yield Row(
        name,
        "ETTh1, 24 hours",
        "CRPS of the maximum",
        most["paths"],
        "its steps drawn apart",
        most["apart"],
        seconds["paths"],
    )


def maxima(recording: Recording, settings: Settings, manifest: object, network: object) -> dict[str, float]:
    """Mean CRPS of the maximum of the horizon: by whole paths, and by the same values with the steps drawn apart."""
    observed = observe(recording, settings.stream, manifest.context_length)
    block, draw = observed.block, np.random.default_rng(0)
    row = np.arange(len(block)) - np.searchsorted(block.slot, block.slot)
    emit = (row >= TRAIN + VALIDATION) & (row < TRAIN + VALIDATION + TEST - HORIZON) & (row % EVERY == 0)
    emitted = Inference(manifest.features, make_engine(network), observed.windows).run(block, emit)
    actual = block.value[emitted.row[:, None] + np.arange(1, HORIZON + 1)].max(axis=1)
    apart = draw.permuted(emitted.paths, axis=2)
    deviation = np.array([block.value[block.slot == slot].std() for slot in range(len(observed.series))])
    unit = deviation[block.slot[emitted.row]]
    ways = {"paths": emitted.paths, "apart": apart}
    return {name: float((sample_crps(paths.max(axis=1), actual) / unit).mean()) for name, paths in ways.items()}


def sample_crps(samples: np.ndarray, actual: np.ndarray) -> np.ndarray:
    """E|X − y| − E|X − X′| / 2 `[n]` of `samples` `[n, m]` (Gneiting and Raftery 2007)."""
    ordered = np.sort(samples, axis=1)
    count = samples.shape[1]
    weights = 2 * np.arange(1, count + 1) - count - 1
    apart = (ordered * weights).sum(axis=1) / count**2
    return np.abs(samples - actual[:, None]).mean(axis=1) - apart
