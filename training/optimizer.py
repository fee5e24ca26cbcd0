"""AdamW on a one-cycle schedule, as one pure step from state to state; all weights are one flat array."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import tensorflow as tf

Tensor = Any
FIRST, SECOND, SMALL = 0.9, 0.999, 1e-7  # decay of Adam's moments, and what its root never falls below
CLIP = 1.0  # norm of one weight array's gradient at most
WEIGHT_DECAY = 0.01


class State(NamedTuple):
    """Everything that a training step changes, float32 `[weights]` but `steps`, the steps taken.

    `mean` is an exponential mean of the weights over the steps (after Polyak and Juditsky 1992). It is what
    is validated and kept: it forecasts better than where the last step happened to end.
    """

    weights: Tensor
    first: Tensor
    second: Tensor
    mean: Tensor
    steps: Tensor


class Layout:
    """How weight arrays of `shapes` lie in one flat array."""

    def __init__(self, shapes: Sequence[tuple[int, ...]]) -> None:
        self.shapes = list(shapes)
        self._sizes = [math.prod(shape) for shape in self.shapes]
        self.size = sum(self._sizes)

    def split(self, flat: Tensor) -> list[Tensor]:
        """The arrays in `flat` `[size]`."""
        parts = zip(tf.split(flat, self._sizes), self.shapes, strict=True)
        return [tf.reshape(part, shape) for part, shape in parts]

    def join(self, arrays: Sequence[Tensor]) -> Tensor:
        """`arrays` as one flat array."""
        return tf.concat([tf.reshape(array, (-1,)) for array in arrays], 0)

    def clip(self, flat: Tensor) -> Tensor:
        """`flat` with each array scaled down to a norm of `CLIP` at most."""
        parts = tf.split(flat, self._sizes)
        norms = [tf.maximum(tf.norm(part), CLIP) for part in parts]
        return tf.concat([part * (CLIP / norm) for part, norm in zip(parts, norms, strict=True)], 0)


@dataclass(frozen=True, slots=True)
class AdamW:
    """AdamW (Loshchilov and Hutter 2019) over `steps` steps with learning rates up to `peak`.

    The mean of the weights forgets over `memory` steps.
    """

    peak: float
    steps: int
    memory: int

    def start(self, weights: Tensor) -> State:
        """The state before the first step."""
        none = tf.zeros_like(weights)
        return State(weights, none, none, weights, tf.zeros((), tf.int32))

    def learning_rate(self, taken: Tensor) -> Tensor:
        """Of the step after `taken`: up over the first third, down along a cosine (after Smith and Topin 2018)."""
        warmup = max(1, self.steps // 3)
        done = tf.cast(taken, tf.float32)
        rising = self.peak * (1 / 25 + (1 - 1 / 25) * done / warmup)
        fallen = tf.clip_by_value((done - warmup) / max(1, self.steps - warmup), 0.0, 1.0)
        falling = self.peak * (1e-3 + (1 - 1e-3) * 0.5 * (1 + tf.cos(math.pi * fallen)))
        return tf.where(done < warmup, rising, falling)

    def step(self, state: State, gradient: Tensor) -> State:
        """The state after one more step along `gradient` `[weights]`, which is clipped already."""
        rate, steps = self.learning_rate(state.steps), state.steps + 1
        count = tf.cast(steps, tf.float32)
        first = state.first + (1 - FIRST) * (gradient - state.first)
        second = state.second + (1 - SECOND) * (gradient**2 - state.second)
        unbiased = tf.sqrt(1 - SECOND**count) / (1 - FIRST**count)
        moved = rate * unbiased * first / (tf.sqrt(second) + SMALL)
        weights = state.weights * (1 - rate * WEIGHT_DECAY) - moved
        mean = state.mean + tf.maximum(1 / self.memory, 1 / count) * (weights - state.mean)
        return State(weights, first, second, mean, steps)
