"""What a network for codes is fitted to, and by which loss: windows of codes with something to tell at every round."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from keras import ops

from forecaster.vocabulary import UNKNOWN
from training.codes import CodeRuns

Tensor = Any
FORGOTTEN = 0.01  # of the codes a network sees: so it learns what to make of one that it does not know


class Batch(NamedTuple):
    """`code` `[windows, rounds]`; `target` and `weight` `[windows, rounds, 1]`, the place of what is to be told."""

    code: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def code_batches(
    runs: CodeRuns, end_ms: int, windows: int, length: int, random: np.random.Generator
) -> Iterator[Batch]:
    """Endless batches of windows that start anywhere before `end_ms`, runs in proportion to their length.

    Every round counts that has a target there, also the first ones: so begins a series that was never seen.
    A run that is shorter than a window is padded on the right.
    """
    rounds = runs.before(end_ms)
    length = int(min(length, rounds.max()))
    share = rounds / rounds.sum()
    while True:
        run = random.choice(len(share), windows, p=share)
        begin = random.integers(0, np.maximum(rounds[run] - length, 0) + 1)
        row = (runs.first[run] + begin)[:, None] + np.arange(length)
        inside = row < (runs.first[run] + rounds[run])[:, None]
        row = np.where(inside, row, 0)
        forgotten = random.random(row.shape) < FORGOTTEN
        code = np.where(forgotten, UNKNOWN, runs.code[row]).astype(np.int32)
        target = runs.target[row]
        counts = inside & (target >= 0)
        yield Batch(code, np.maximum(target, 0).astype(np.int32)[..., None], counts.astype(np.float32)[..., None])


def cross_entropy(target: Tensor, logits: Tensor) -> Tensor:
    """−log p of the outputs at `target` `[…]` under `logits` `[…, outputs]`; a single one is that of the second."""
    if logits.shape[-1] == 1:
        only = logits[..., 0]
        return ops.softplus(only) - ops.cast(target, "float32") * only
    chosen = ops.sum(logits * ops.one_hot(target, logits.shape[-1]), axis=-1)
    return ops.logsumexp(logits, axis=-1) - chosen
