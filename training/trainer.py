"""The training loop: batches in, the weights that forecast the validation part best out."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.config import TrainingSettings
from forecaster.errors import ConfigError
from training.checkpoint import Checkpoint
from training.cluster import Cluster, PerDevice, readable_faults
from training.course import Course, Epoch
from training.step import Batch, Criterion, Fitted, Step

WARM_UP = 3  # steps for each shape of batches


class Validation(Protocol):
    """What decides which epoch is the best: the loss of the network as it is, and that of no network."""

    baseline_loss: float

    def loss(self) -> float:
        """The mean loss over the validation part."""


@dataclass(frozen=True, slots=True)
class Trainer:
    """One training: what is fitted to which batches by which validation, and who is told of each epoch.

    `batches` draws those of an epoch from a generator, endlessly, told what share of the epochs is done. Only the
    chief validates.
    """

    network: Fitted
    loss: Criterion
    batches: Callable[[np.random.Generator, float], Iterator[Batch]]
    validation: Validation
    training: TrainingSettings
    cluster: Cluster
    report: Callable[[Epoch], None]
    clock: Callable[[], float] = time.monotonic

    def run(self, checkpoint: Checkpoint | None, manifest: Manifest) -> Course:
        """Train to the end, from `checkpoint` where it holds that of `manifest`; the network ends with the best.

        Raises `ConfigError` where the loss is not finite.
        """
        if self.cluster.devices > self.training.batch_size:
            size, devices = self.training.batch_size, self.cluster.devices
            raise ConfigError(f"training.batch_size: {size} windows cannot be shared by {devices} devices")
        step = Step(self.network, self.loss, self.training, self.cluster)
        with readable_faults("training"):
            self.cluster.check_same(manifest.digest())
            course = self._begin(checkpoint, manifest)
            state = self.cluster.everywhere(step.state(course))
            if not course.finished(self.training):
                self._compile(step, state)
            while not course.finished(self.training):
                state, epoch = self._epoch(step, state, course)
                if checkpoint is not None:
                    checkpoint.save(course)
                self.report(epoch)
        if not course.best_epoch:
            raise ConfigError("training diverged: lower training.learning_rate")
        self.network.assign(course.best)
        return course

    def _begin(self, checkpoint: Checkpoint | None, manifest: Manifest) -> Course:
        """Where every worker begins: where the chief does."""
        weights = self.network.weights()
        found = checkpoint.open(manifest, len(weights)) if checkpoint is not None else None
        epochs = int(self.cluster.from_chief(np.array([float(found.epochs if found else 0)]))[0])
        mine = found or Course.of(weights, epochs)
        return Course(*(self.cluster.from_chief(array) if array.size else array for array in mine.arrays().values()))

    def _compile(self, step: Step, state: PerDevice) -> None:
        """Take steps that lead nowhere, so that no epoch's rate has the compiling in it.

        Several for each shape of batches: a strategy gives back a state of another make than it was given, which is
        compiled anew, and TensorFlow warns where half of the calls are compiled.
        """
        random, taken = np.random.default_rng(0), Counter[tuple[int, ...]]()
        for batch in islice(self.batches(random, 0.0), max(WARM_UP, self.training.steps_per_epoch)):
            if taken[batch[0].shape] < WARM_UP:
                taken[batch[0].shape] += 1
                state, loss = step(state, batch, random)
                self.cluster.here(loss)

    def _epoch(self, step: Step, state: PerDevice, course: Course) -> tuple[PerDevice, Epoch]:
        """The state after one more epoch, which `course` has taken in, and what is known of it."""
        started, number = self.clock(), course.epochs + 1
        random, noise = (np.random.default_rng((self.training.seed, number, purpose)) for purpose in (0, 1))
        losses, observations, steps = [], 0, 0
        for batch in islice(self.batches(random, course.epochs / self.training.epochs), self.training.steps_per_epoch):
            state, loss = step(state, batch, noise)
            losses.append(loss)
            observations += self.network.observations(batch)
            steps += batch[0].shape[0] * batch[0].shape[1]
        training_loss = float(np.mean(self.cluster.here(losses)))
        seconds = self.clock() - started
        course.weights, course.first, course.second, course.mean, _ = self.cluster.here(state)
        validation_loss = self._validate(course.mean)
        padding = steps - observations
        best = course.add(training_loss, validation_loss, observations, seconds, padding)
        rate = observations / seconds if seconds > 0 else 0.0
        left = (self.training.epochs - number) * (self.clock() - started)
        known = training_loss, validation_loss, self.validation.baseline_loss
        learning_rate, share = step.learning_rate(number), padding / max(1, steps)
        return state, Epoch(number, self.training.epochs, *known, best, learning_rate, rate, left, share)

    def _validate(self, weights: np.ndarray) -> float:
        """The validation loss of the network with `weights`, by the chief's reckoning."""
        self.network.assign(weights)
        loss = self.validation.loss() if self.cluster.chief else 0.0
        return float(self.cluster.from_chief(np.array([loss]))[0])
