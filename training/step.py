"""One training step on the devices of a cluster: from the state and a batch to the next state and the loss."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from forecaster.config import TrainingSettings
from training.cluster import Cluster, PerDevice
from training.course import Course
from training.optimizer import AdamW, Layout, State

Tensor = Any
Criterion = Callable[
    [Tensor, Tensor], Tensor
]  # the loss of forecasts `[…, horizon, …]` against a target `[…, horizon]`
Batch = Sequence[np.ndarray]  # windows first: `[windows, rounds, …]`, what else the network takes, target, weight


class Fitted(Protocol):
    """A network as it is fitted: a function of its weights, which are one flat array laid out by `layout`.

    `part` is how many windows are trained at a time on a CPU, where parts are trained beside each other.
    """

    layout: Layout
    part: int

    def weights(self) -> np.ndarray:
        """The network's own weights, flat float32."""

    def assign(self, weights: np.ndarray) -> None:
        """Make flat `weights` the network's own."""

    def noise(self, random: np.random.Generator, *forecasts: int) -> np.ndarray:
        """Factors of dropout for as many `forecasts`, windows first."""

    def observations(self, batch: Batch) -> int:
        """Steps × series in `batch`, padding not counted."""

    def forecasts(self, weights: Tensor, noise: Tensor, *inputs: Tensor) -> Tensor:
        """Scaled quantiles `[*forecasts, outputs, quantiles]`, or logits, from what a batch has before its target."""


class Step:
    """A pure function, compiled at its first call.

    The loss is the mean over the weights of the whole batch: every part of it, on whichever device, gives
    its sums of gradients, losses and weights, and what they come to is divided once.
    """

    def __init__(self, network: Fitted, loss: Criterion, training: TrainingSettings, cluster: Cluster) -> None:
        self._network, self._loss, self._cluster = network, loss, cluster
        steps, memory = training.epochs * training.steps_per_epoch, 2 * training.steps_per_epoch
        self.optimizer = AdamW(training.learning_rate, steps, memory)
        self._steps_per_epoch = training.steps_per_epoch
        self._sums = cluster.compile(self._part)
        self._on_each = cluster.on_each(self._share)

    def __call__(self, state: PerDevice, batch: Batch, random: np.random.Generator) -> tuple[PerDevice, PerDevice]:
        """The state after a step on the global `batch`, and its loss; `random` draws the dropout."""
        noise = self._network.noise(random, *batch[-1].shape[:-1])
        return self._on_each(state, self._cluster.shares((noise, *batch)))  # type: ignore[no-any-return]

    def state(self, course: Course) -> State:
        """The optimizer's state at the end of `course`."""
        steps = np.array(course.epochs * self._steps_per_epoch, np.int32)
        return State(course.weights, course.first, course.second, course.mean, steps)

    def learning_rate(self, epochs: int) -> float:
        """That of the last step of `epochs` epochs."""
        return float(self.optimizer.learning_rate(epochs * self._steps_per_epoch - 1))

    def _share(self, state: State, batch: Sequence[Tensor]) -> tuple[State, Tensor]:
        """What one device does with its rows of the batch."""
        windows = batch[0].shape[0]
        parts = 1 if self._cluster.on_gpu else max(1, windows // self._network.part)
        sizes = [len(rows) for rows in np.array_split(np.arange(windows), parts)]
        pieces = zip(*(tf.split(array, sizes) for array in batch), strict=True)
        sums = tf.add_n([self._sums(state.weights, *piece) for piece in pieces])
        return self._move(state, self._cluster.sum(sums))

    def _part(self, weights: Tensor, noise: Tensor, *batch: Tensor) -> Tensor:
        """Sums over a part `[weights + 2]`: gradient, loss, weight."""
        *inputs, target, weight = batch
        with tf.GradientTape() as tape:
            tape.watch(weights)
            quantiles = self._network.forecasts(weights, noise, *inputs)
            loss = tf.reduce_sum(self._loss(target, quantiles) * weight)
        return tf.concat([tape.gradient(loss, weights), [loss, tf.reduce_sum(weight)]], 0)

    def _move(self, state: State, sums: Tensor) -> tuple[State, Tensor]:
        """The next state, from the sums over the whole batch."""
        means = sums[:-1] / tf.maximum(sums[-1], 1.0)
        return self.optimizer.step(state, self._network.layout.clip(means[:-1])), means[-1]
