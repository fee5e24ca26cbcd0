"""Up, flat or down: the next move of the mid price of fx quotes, beside n-grams of the same moves."""

import csv
import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.family.ngrams import chosen
from benchmarks.family.row import Row
from forecaster.config import Settings
from forecaster.engines.from_state import StateEngine
from forecaster.recording import Recording, join
from forecaster.records import Int
from forecaster.vocabulary import CodeBook
from training.code_validation import SMALLEST, told
from training.codes import CodeRuns, Lexicon, code_runs
from training.data import sequences
from training.fit import train
from training.prepare import Source

FILE = "fx_ticks/oanda_eurusd_nzdusd_20140501_20140507.csv.gz"
MOVES = ["down", "flat", "up"]
SIZES = [[32], [64]]  # chosen by validation


def quotes(path: Path) -> Recording:
    """The mid price of every quote."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    mid = np.array([round((float(row["bid"]) + float(row["ask"])) * 1e6) / 2e6 for row in rows])
    names, series = np.unique([row["symbol"] for row in rows], return_inverse=True)
    time_ms = np.array([row["ts_utc"][:-1] for row in rows], "M8[ms]").astype(np.int64)
    return Recording(names.tolist(), series, time_ms, mid)


def moves(path: Path) -> Recording:
    """Every quote's move of the mid price of its symbol, the first one of each left out."""
    every, parts = quotes(path), []
    for number, name in enumerate(every.names):
        own = np.flatnonzero(every.series == number)
        move = np.sign(np.diff(np.rint(2e6 * every.value[own]))) + 1.0
        time_ms = every.time_ms[own[1:]]
        parts.append(Recording([name], np.zeros(len(move), np.int64), time_ms, move, 0, MOVES, [None] * 3))
    return join(parts)


def settings_of(seed: int) -> Settings:
    model = {"task": "symbols", "horizon": 8, "context_length": 128, "dropout": 0.1}
    training = {"seed": seed, "sizes": SIZES, "epochs": 30, "steps_per_epoch": 100, "batch_size": 64}
    return Settings(stream={"step": "tick"}, model=model, training=training)


def measure(folder: Path, seed: int) -> Iterator[Row]:
    """Perplexity of the next move on the test part."""
    recording, settings = moves(folder / FILE), settings_of(seed)
    begun = time.monotonic()
    manifest, network = train(Source([recording]), settings)
    seconds = time.monotonic() - begun
    runs = runs_of(recording, settings, manifest.network.vocabulary)
    train_end, validation_end = (runs.before(manifest.training[name]) for name in ("train_end_ms", "validation_end_ms"))
    losses = []
    for row, probabilities in told(StateEngine(network), runs, validation_end - 1, runs.length - 1, 1_000):
        losses.append(-np.log(np.maximum(probabilities[np.arange(len(row)), runs.target[row]], SMALLEST)))
    value = float(np.exp(np.concatenate(losses).mean()))
    ngrams, baseline = baseline_of(runs, train_end, validation_end, len(MOVES))
    name = f"{ngrams.order + 1}-grams"
    yield Row("symbols (next symbol)", "fx_ticks", "perplexity", value, name, baseline, seconds)


def runs_of(recording: Recording, settings: Settings, vocabulary: tuple[str, ...]) -> CodeRuns:
    book = CodeBook()
    book.ids(recording.codes, recording.labels)
    return code_runs(sequences([recording], settings), Lexicon.of(book, vocabulary, ()))


def baseline_of(runs: CodeRuns, train_end: Int, validation_end: Int, codes: int) -> tuple:
    """The n-grams that the validation part chooses, and their perplexity of the test part."""
    places = [runs.code[low : low + n] - 1 for low, n in zip(runs.first, runs.length, strict=True)]
    learnt = [one[:end] for one, end in zip(places, train_end, strict=True)]
    held = [(one[:end], int(begin)) for one, begin, end in zip(places, train_end, validation_end, strict=True)]
    ngrams = chosen(learnt, held, codes)
    tests = [(one, int(begin)) for one, begin in zip(places, validation_end, strict=True)]
    weights = [len(one) - begin for one, begin in tests]
    loss = np.average([ngrams.log_loss(one, begin) for one, begin in tests], weights=weights)
    return ngrams, float(np.exp(loss))
