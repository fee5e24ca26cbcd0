"""`forecaster backtest` of a model for codes: what it tells at each origin beside the shares of each answer."""

from typing import Any

import numpy as np
from rich.table import Table

from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.engines.from_state import StateEngine
from forecaster.errors import ConfigError
from forecaster.networks.codes import CodeNetwork
from forecaster.recording import Recording
from forecaster.records import Bool, Float, Int
from forecaster.vocabulary import CodeBook
from training.backtest import NothingToScoreError
from training.code_validation import log_loss, shares, told
from training.codes import Lexicon, code_runs
from training.data import sequences
from training.origins import Choice

TITLES = {"log_loss": "log loss", "perplexity": "perplexity", "accuracy": "accuracy"}


def code_scores(
    recording: Recording, settings: Settings, manifest: Manifest, network: CodeNetwork, choice: Choice
) -> dict[str, Any]:
    """Every figure of the model and of the shares of each answer before the first origin, state carried from the start.

    Raises `NothingToScoreError` where no origin that was chosen has a known answer.
    """
    if choice.rows or choice.normalise_rows:
        raise ConfigError("--rows, --normalise-rows: are of numbers; codes are scored from --start on")
    answers = network.settings.labels or network.settings.vocabulary
    book = CodeBook()
    book.ids(recording.codes, recording.labels)
    lexicon = Lexicon.of(book, network.settings.vocabulary, network.settings.labels)
    runs = code_runs(sequences([recording], settings), lexicon)
    seen_ms = int(manifest.training.get("validation_end_ms", 0))
    start_ms = choice.start_ms if choice.start_ms is not None else seen_ms * (int(runs.origin_ms.max()) > seen_ms)
    begin = runs.before(start_ms)
    parts = list(told(StateEngine(network), runs, begin, runs.length, int(runs.length.max())))
    target = np.concatenate([np.zeros(0, np.int64), *(runs.target[row] for row, _ in parts)])
    if not (known := target >= 0).any():
        raise NothingToScoreError("--start: no origin in what is chosen has a known answer")
    probabilities = np.concatenate([found for _, found in parts])[known]
    of_shares = np.broadcast_to(shares(runs, begin, len(answers)), probabilities.shape)
    scores = {"model": probabilities, "shares of each answer": of_shares}
    return {
        "model": f"{manifest.name}@{manifest.version}",
        "first_origin_ms": start_ms,
        "origins": int(known.sum()),
        "overall": {name: _figures(found, target[known], answers) for name, found in scores.items()},
        "data_sha256": recording.fingerprint(),
    }


def _figures(probabilities: Float, target: Int, answers: tuple[str, ...]) -> dict[str, Any]:
    loss = log_loss(probabilities, target)
    precision = {name: average_precision(probabilities[:, n], target == n) for n, name in enumerate(answers)}
    return {
        "log_loss": loss,
        "perplexity": float(np.exp(loss)),
        "accuracy": float((probabilities.argmax(axis=1) == target).mean()),
        "average_precision": {name: value for name, value in precision.items() if value is not None},
    }


def average_precision(score: Float, positive: Bool) -> float | None:
    """Area under the precision-recall curve, Σ (recall gained) · precision, equal scores at once; None without any."""
    if not positive.any():
        return None
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.diff(score[order], append=np.nan) != 0)
    found = np.cumsum(positive[order])[last]
    gained = np.diff(found, prepend=0) / positive.sum()
    return float((gained * found / (last + 1)).sum())


def code_table(report: dict[str, Any], most: int = 5) -> Table:
    """The figures as a person is shown them, average precision of the first few answers."""
    table = Table(title=f"{report['model']}: {report['origins']} origins")
    names = list(report["overall"]["model"]["average_precision"])[:most]
    for title in ("", *TITLES.values(), *(f"average precision of {name!r}" for name in names)):
        table.add_column(title, justify="right" if title else "left")
    for name, scores in report["overall"].items():
        cells = [*(scores[figure] for figure in TITLES), *(scores["average_precision"][name] for name in names)]
        table.add_row(name, *(f"{cell:.4f}" for cell in cells))
    return table
