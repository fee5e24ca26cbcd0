"""Covariates: numbers that a tick carries beside its value, and what the network sees of them.

*Past* ones are known up to the tick; *known* ones at each step of the horizon too, as a calendar or a weather
forecast is. A row of them is `[width]`: what all of them are at the tick's own step, past ones first, then what each
known one is at the steps ahead. NaN is a missing one.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict, NonNegativeInt, PositiveFloat, model_validator

from forecaster.config import Aggregate
from forecaster.records import Float

CLIP = 10.0  # deviations


class CovariateSettings(BaseModel):
    """The fields that hold them, with mean and deviation over the training part of each, past ones first.

    `horizon` is how many steps ahead a row tells of, 0 where none is known ahead.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    past: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    horizon: NonNegativeInt = 0
    mean: tuple[float, ...] = ()
    deviation: tuple[PositiveFloat, ...] = ()

    @model_validator(mode="after")
    def _of_each(self) -> "CovariateSettings":
        if not len(set(self.names)) == len(self.names) == len(self.mean) == len(self.deviation):
            raise ValueError("mean and deviation: one of each covariate, whose names differ")
        if bool(self.horizon) != bool(self.known):
            raise ValueError("horizon: that of the covariates known ahead, where there are any")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, past ones first."""
        return self.past + self.known

    @property
    def input_names(self) -> tuple[str, ...]:
        """What the recurrent layers are shown of a step, in order."""
        return (*self.names, *(f"missing_{name}" for name in self.names))

    @property
    def ahead(self) -> int:
        """Numbers that each step of the horizon is shown."""
        return 2 * len(self.known)

    @property
    def width(self) -> int:
        """Numbers of a row."""
        return len(self.names) + len(self.known) * self.horizon

    def inputs(self, rows: Float) -> np.ndarray:
        """What the recurrent layers see of `rows` `[..., width]`, of which the own step is enough.

        float32 `[..., 2 · covariates]`: all of them scaled, 0 where missing, then which are missing.
        """
        return _seen(rows[..., : len(self.names)], self.mean, self.deviation)

    def steps(self, rows: Float) -> Float:
        """What the known ones are ahead of `rows` `[n, width]`: `[n, horizon, known]`."""
        ahead = rows[:, len(self.names) :]
        return ahead.reshape(len(rows), len(self.known), self.horizon).swapaxes(1, 2)

    def seen_ahead(self, steps: Float, aggregate: Aggregate | None) -> np.ndarray:
        """What each output sees of `steps` `[n, horizon, known]`: float32 `[n, outputs, ahead]`.

        An aggregate of the horizon sees their means over it.
        """
        past = len(self.past)
        seen = _seen(steps, self.mean[past:], self.deviation[past:])
        return seen if aggregate is None else seen.mean(axis=1, keepdims=True)


def _seen(values: Float, mean: Sequence[float], deviation: Sequence[float]) -> np.ndarray:
    missing = np.isnan(values)
    scaled = np.where(missing, 0.0, np.clip((values - np.array(mean)) / np.array(deviation), -CLIP, CLIP))
    return np.concatenate([scaled, missing], axis=-1).astype(np.float32)
