"""Is an anomaly window of machine_temperature near: from its states, beside a logistic regression on their shares."""

import csv
import gzip
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from benchmarks.family.row import Row
from forecaster.config import Settings
from forecaster.recording import Recording
from forecaster.vocabulary import CodeBook
from training.code_backtest import average_precision, code_scores
from training.code_validation import log_loss
from training.codes import CodeRuns, code_runs, learnt_codes
from training.data import sequences
from training.fit import train
from training.origins import Choice
from training.prepare import Source

NAME = "machine_temperature_system_failure"
LEVELS, HOUR = 6, 12  # even shares of the training part, and steps over which a change is told
FLAT = 0.5  # degrees an hour
TRAIN, VALIDATION = 0.65, 0.14  # two windows, one, and one for the test
SPANS, PENALTIES = (12, 72, 288), (0.01, 0.1, 1.0, 10.0, 100.0)  # of the baseline: steps, and weights of its penalty


def states(folder: Path) -> Recording:
    """A code of level and change for each reading, and whether it lies in a window."""
    with gzip.open(folder / "nab" / f"{NAME}.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    value = np.array([float(row["value"]) for row in rows])
    time_ms = np.array([epoch_ms(row["timestamp"]) for row in rows])
    edges = np.quantile(value[: int(TRAIN * len(value))], np.arange(1, LEVELS) / LEVELS)
    change = value - np.concatenate([value[:1].repeat(HOUR), value[:-HOUR]])
    moves = np.array(["falls", "stays", "rises"])[(np.abs(change) > FLAT) * np.sign(change).astype(int) + 1]
    codes = [f"{level} {move}" for level, move in zip(np.searchsorted(edges, value), moves, strict=True)]
    windows = json.loads((folder / "nab" / "anomaly_windows.json").read_text())[f"realKnownCause/{NAME}.csv"]
    near = np.any([(time_ms >= epoch_ms(low)) & (time_ms <= epoch_ms(high)) for low, high in windows], axis=0)
    book = CodeBook()
    numbers = book.ids(codes, np.where(near, "near", "calm").tolist())
    return Recording(["machine"], np.zeros(len(rows), np.int64), time_ms, numbers, 0, book.codes, book.labels)


def epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def settings_of(seed: int) -> Settings:
    model = {"task": "classify", "context_length": 576, "dropout": 0.3}
    training = {"seed": seed, "sizes": [[8], [32]], "train_fraction": TRAIN, "validation_fraction": VALIDATION}
    training |= {"epochs": 20, "steps_per_epoch": 30, "batch_size": 16}
    return Settings(stream={"step": "5min"}, model=model, training=training)


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """Area under the precision-recall curve on the test part."""
    recording, settings = states(folder), settings_of(seed)
    begun = time.monotonic()
    manifest, network = train(Source([recording]), settings)
    seconds = time.monotonic() - begun
    scores = code_scores(recording, settings, manifest, network, Choice())
    baseline = logistic(recording, settings, manifest.training["train_end_ms"], manifest.training["validation_end_ms"])
    value = scores["overall"]["model"]["average_precision"]["near"]
    of_shares = scores["overall"]["shares of each answer"]["average_precision"]["near"]
    measured = "classes (is a failure near)", "machine_temperature", "average precision", value
    yield Row(*measured, "logistic regression on shares", baseline, seconds, lower_is_better=False)
    yield Row(*measured, "share of the label", of_shares, seconds, lower_is_better=False)


def logistic(recording: Recording, settings: Settings, train_end_ms: int, validation_end_ms: int) -> float:
    """Average precision on the test part of the penalty that the validation part chooses."""
    book = CodeBook()
    book.ids(recording.codes, recording.labels)
    data = sequences([recording], settings)
    lexicon = learnt_codes(book, data, train_end_ms, settings.model)
    runs = code_runs(data, lexicon)
    inputs, positive = share_features(runs, len(lexicon.vocabulary)), runs.target == lexicon.labels.index("near")
    train, test = runs.origin_ms < train_end_ms, runs.origin_ms >= validation_end_ms
    held = ~train & ~test
    inputs = (inputs - inputs[train].mean(axis=0)) / np.maximum(inputs[train].std(axis=0), 1e-6)
    fitted = [chances(inputs, fit_logistic(inputs[train], positive[train], penalty)) for penalty in PENALTIES]
    target = positive.astype(np.int64)
    best = min(fitted, key=lambda p: log_loss(np.stack([1 - p, p], -1)[held], target[held]))
    return average_precision(best[test], positive[test]) or 0.0


def share_features(runs: CodeRuns, codes: int) -> np.ndarray:
    """The share of each code among the last few rows `[rows, spans · codes]`."""
    shown = np.eye(codes + 1)[runs.code][:, 1:]
    total = np.concatenate([np.zeros((1, codes)), np.cumsum(shown, axis=0)])
    now = np.arange(1, len(total))
    return np.concatenate([(total[now] - total[np.maximum(now - span, 0)]) / span for span in SPANS], axis=1)


def fit_logistic(inputs: np.ndarray, positive: np.ndarray, penalty: float) -> np.ndarray:
    """Weights, the constant last, by Newton's method (iteratively reweighted least squares)."""
    design = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    weights = np.zeros(design.shape[1])
    ridge = penalty * np.diag([*np.ones(inputs.shape[1]), 1e-6])
    for _ in range(25):
        p = chances(inputs, weights)
        gradient = design.T @ (p - positive) + ridge @ weights
        curvature = (design * (p * (1 - p))[:, None]).T @ design + ridge
        weights -= np.linalg.solve(curvature, gradient)
    return weights


def chances(inputs: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(inputs @ weights[:-1] + weights[-1], -30, 30)))
