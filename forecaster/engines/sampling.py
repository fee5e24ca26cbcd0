"""Draws from the distributions that a network gives, by numbers that belong to a series and its origin alone."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from forecaster.config import SamplingSettings
from forecaster.records import Int

Tensor = Any
Keys = NDArray[np.uint64]
GOLDEN, FIRST_MIX, SECOND_MIX = (np.uint64(n) for n in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))


def likeliest(probabilities: Tensor, sampling: SamplingSettings) -> Tensor:
    """`probabilities` `[…, codes]` with 0 for all but the likeliest.

    Those stay of which `top_k` (Fan et al. 2018) and `top_p` (Holtzman et al. 2020) agree: the first ones, and
    the fewest that together reach a share. What is as likely as the last of them stays too.
    """
    if sampling.top_k is None and sampling.top_p == 1:
        return probabilities
    ranked = -ops.sort(-probabilities, axis=-1)
    likelier = ops.cumsum(ranked, axis=-1) - ranked
    codes = probabilities.shape[-1]
    stays = (likelier < sampling.top_p) & (ops.arange(codes) < (sampling.top_k or codes))
    least = ops.min(ops.where(stays, ranked, 2.0), axis=-1, keepdims=True)
    return ops.where(probabilities >= least, probabilities, 0.0)


def draw(logits: Tensor, uniform: Tensor, sampling: SamplingSettings) -> tuple[Tensor, Tensor]:
    """The place in `logits` `[rows, codes]` where the distribution function passes `uniform` `[rows]` in [0, 1).

    And how far inside of what is at that place it does so, in [0, 1].
    """
    weights = likeliest(ops.softmax(logits / sampling.temperature, axis=-1), sampling)
    below = ops.cumsum(weights, axis=-1)
    total = below[:, -1:]
    wanted = ops.expand_dims(uniform, -1) * total
    passed = ops.sum(ops.cast(below <= wanted, "int32"), axis=-1)
    last = ops.sum(ops.cast(below < total, "int32"), axis=-1)  # of those that stay: a product may be rounded up
    place = ops.minimum(passed, last)
    here = ops.expand_dims(place, -1)
    weight = ops.take_along_axis(weights, here, axis=-1)
    share = 1.0 - (ops.take_along_axis(below, here, axis=-1) - wanted) / weight
    return place, ops.clip(share[:, 0], 0.0, 1.0)


def keys(seed: int, series: Sequence[str], origin: Int) -> Keys:
    """A number for each (series, `origin`) `[n]`, the same wherever and whenever it is asked for."""
    salt = seed.to_bytes(8, "little")
    names = (blake2b(name.encode(), digest_size=8, key=salt).digest() for name in series)
    of_series = np.frombuffer(b"".join(names), "<u8")
    return _mixed(_mixed(of_series) ^ origin.astype(np.uint64))


def uniforms(of: Keys, steps: int, paths: int) -> NDArray[np.float32]:
    """Numbers in [0, 1) `[n, steps, paths]` that depend on key, step and path alone.

    They are the outputs of SplitMix64 (Steele, Lea and Flood 2014) at counters, so none needs another one first.
    """
    step, path = np.arange(steps, dtype=np.uint64), np.arange(1, paths + 1, dtype=np.uint64)
    counter: Keys = (step[:, None] << np.uint64(32)) + path
    mixed = _mixed(of[:, None, None] + counter * GOLDEN)
    return (mixed >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24)


def _mixed(number: Keys) -> Keys:
    number = (number ^ (number >> np.uint64(30))) * FIRST_MIX
    number = (number ^ (number >> np.uint64(27))) * SECOND_MIX
    mixed: Keys = number ^ (number >> np.uint64(31))
    return mixed
