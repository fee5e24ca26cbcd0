"""Scalars of every epoch as TensorBoard shows them."""

import math
from pathlib import Path
from typing import Any

from forecaster.errors import ConfigError
from training.course import Epoch


class Curves:
    """Event files in `folder`. Raises `ConfigError` where they cannot be written, or the extra is missing."""

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer  # noqa: PLC0415  # an extra
        except ImportError as error:
            raise ConfigError(
                '--tensorboard: needs the extra "tensorboard": pip install forecaster[tensorboard]'
            ) from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._writer: Any = Writer(str(folder))
        except OSError as error:
            raise ConfigError(f"--tensorboard {folder}: cannot be written: {error.strerror}") from error

    def epoch(self, epoch: Epoch) -> None:
        """Write the scalars of `epoch`."""
        scalars = {
            "loss/training": epoch.training_loss,
            "loss/validation": epoch.validation_loss,
            "loss/level_and_profile_alone": epoch.baseline_loss,
            "learning_rate": epoch.learning_rate,
            "observations_per_second": epoch.observations_per_second,
        }
        for name, value in scalars.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step=epoch.epoch)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()
