"""How a training has gone so far: all that must be kept to go on from here."""

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from forecaster.config import TrainingSettings
from forecaster.records import Float

COLUMNS = 5  # of the history: training loss, validation loss, observations trained on, seconds for them, padding


@dataclass(frozen=True, slots=True)
class Epoch:
    """What is known after an epoch: mean losses, rates, and what is left at most.

    The training loss is in units of each series' scale, the others in those of the validation. `padding` is the
    share of the steps in its batches that is no observation.
    """

    epoch: int
    epochs: int
    training_loss: float
    validation_loss: float
    baseline_loss: float
    best: bool
    learning_rate: float
    observations_per_second: float
    seconds_left: float
    padding: float = 0.0

    @property
    def skill(self) -> float:
        """1 − validation loss / that of level and profile alone."""
        return 1 - self.validation_loss / self.baseline_loss if self.baseline_loss else float("nan")


@dataclass(slots=True)
class Course:
    """Flat arrays `[weights]` of the optimizer and of the `best` weights, and the history `[epochs, 5]`.

    The batches of an epoch follow from the seed and its number, so no random state belongs to it.
    """

    weights: np.ndarray
    first: np.ndarray
    second: np.ndarray
    mean: np.ndarray
    best: np.ndarray
    history: Float = field(default_factory=lambda: np.zeros((0, COLUMNS)))

    @classmethod
    def of(cls, weights: np.ndarray, epochs: int = 0) -> "Course":
        """That of a training that is about to begin, or the shape of one of `epochs` epochs."""
        none = np.zeros_like(weights)
        return cls(weights, none, none, weights, weights, np.zeros((epochs, COLUMNS)))

    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by its name, in order."""
        return {part.name: getattr(self, part.name) for part in fields(self)}

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history)

    @property
    def best_epoch(self) -> int:
        """The first epoch of the lowest validation loss; 0 while none has a finite one."""
        losses = np.where(np.isfinite(self.history[:, 1]), self.history[:, 1], np.inf)
        return int(losses.argmin()) + 1 if np.isfinite(losses).any() else 0

    @property
    def observations_per_second(self) -> float:
        """Steps × series a second over all epochs."""
        observations, seconds = self.history[:, 2:4].sum(axis=0).tolist()
        return observations / seconds if seconds > 0 else 0.0

    @property
    def padding(self) -> float:
        """Of the steps in all batches, the share that is no observation."""
        observations, padding = self.history[:, [2, 4]].sum(axis=0).tolist()
        return padding / (observations + padding) if padding else 0.0

    def finished(self, training: TrainingSettings) -> bool:
        """Whether all epochs are done, or the last `patience` of them were no better."""
        return self.epochs >= training.epochs or self.epochs - self.best_epoch >= training.patience

    def add(
        self, training_loss: float, validation_loss: float, observations: float, seconds: float, padding: float = 0.0
    ) -> bool:
        """Take in one more epoch whose state is in place; True where it is the best, whose mean is kept."""
        row = training_loss, validation_loss, observations, seconds, padding
        self.history = np.concatenate([self.history, [row]])
        if self.best_epoch == self.epochs:
            self.best = self.mean
            return True
        return False

    def summary(self) -> dict[str, Any]:
        """What the manifest says of it."""
        rows = enumerate(self.history[:, :2].tolist(), 1)
        return {
            "epoch": self.best_epoch,
            "validation_loss": float(self.history[self.best_epoch - 1, 1]),
            "throughput": round(self.observations_per_second),
            "padding": round(self.padding, 4),
            "history": [{"epoch": n, "training_loss": fitted, "validation_loss": held} for n, (fitted, held) in rows],
        }
