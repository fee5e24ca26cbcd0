"""How good a network for codes is on the validation part, its state carried as in serving."""

from collections.abc import Iterator

import numpy as np

from forecaster.engines.compiling import to_numpy
from forecaster.engines.from_state import StateEngine
from forecaster.errors import ConfigError
from forecaster.networks.codes import CodeNetwork
from forecaster.records import Float, Int
from training.codes import CodeRuns
from training.data import Split
from training.validation import ABREAST, NOTHING, ROUNDS, WARM

SMALLEST = 1e-12  # of a probability: what is said to be impossible costs this much at most


class CodeValidation:
    """Mean −log p of what is told at each row of the validation part: `exp` of it is the perplexity.

    `baseline_loss` is that of the shares that the training part has of each answer.
    """

    def __init__(self, network: CodeNetwork, runs: CodeRuns, split: Split, context_length: int) -> None:
        self._engine, self._runs, self._warm = StateEngine(network), runs, WARM * context_length
        self._begin, self._end = (runs.before(time_ms) for time_ms in (split.train_end_ms, split.validation_end_ms))
        row = rows_between(runs, self._begin, self._end)
        target = runs.target[row][runs.target[row] >= 0]
        if not len(target):
            raise ConfigError(NOTHING)
        answers = len(network.settings.labels or network.settings.vocabulary)
        self.baseline_loss = log_loss(shares(runs, self._begin, answers)[None].repeat(len(target), 0), target)

    def loss(self) -> float:
        """The loss of the network as it is."""
        total, count = 0.0, 0
        for row, probabilities in told(self._engine, self._runs, self._begin, self._end, self._warm):
            target = self._runs.target[row]
            known = target >= 0
            total += log_loss(probabilities[known], target[known]) * int(known.sum())
            count += int(known.sum())
        return total / count


def told(engine: StateEngine, runs: CodeRuns, begin: Int, end: Int, warm: int) -> Iterator[tuple[Int, Float]]:
    """Rows of each run from `begin` `[runs]` up to `end`, and the probabilities `[rows, answers]` told at them.

    The state is carried from `warm` rows before the first of them on.
    """
    network = engine.network
    engine.grow(ABREAST)
    chosen = np.flatnonzero(end > begin)
    for low in range(0, len(chosen), ABREAST):
        run = chosen[low : low + ABREAST]
        start = np.maximum(begin[run] - warm, 0)
        engine.forget(np.arange(len(run)))
        for done in range(0, int((end[run] - start).max()), ROUNDS):
            place = start[:, None] + done + np.arange(ROUNDS)
            valid = place < end[run][:, None]
            row = np.where(valid, runs.first[run][:, None] + place, 0)
            hidden = engine.advance(np.arange(len(run)), runs.code[row][..., None].astype(np.float32), valid)
            asked = valid & (place >= begin[run][:, None])
            if asked.any():
                yield row[asked], to_numpy(network.probabilities(network.output_of(network.parts_of(hidden[asked]))))


def rows_between(runs: CodeRuns, begin: Int, end: Int) -> Int:
    """The rows of each run from `begin` `[runs]` up to `end`."""
    ranges = zip((runs.first + begin).tolist(), (runs.first + end).tolist(), strict=True)
    return np.concatenate([np.arange(low, high) for low, high in ranges])


def shares(runs: CodeRuns, end: Int, answers: int) -> Float:
    """The share of each answer among the first `end` `[runs]` rows of each run, one more counted of each."""
    target = runs.target[rows_between(runs, np.zeros_like(end), end)]
    counts = np.bincount(target[target >= 0], minlength=answers) + 1.0
    found: Float = counts / counts.sum()
    return found


def log_loss(probabilities: Float, target: Int) -> float:
    """The mean −log p of `target` `[n]` among `probabilities` `[n, answers]`."""
    chosen = probabilities[np.arange(len(target)), target]
    return float(-np.log(np.maximum(chosen, SMALLEST)).mean()) if len(target) else 0.0
