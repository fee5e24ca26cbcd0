"""What the network is fitted by: quantile loss, and a charge for leaving the baseline without evidence."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from forecaster.records import Float


@dataclass(frozen=True, slots=True)
class Loss:
    """Quantile loss (Koenker and Bassett 1978), the mean over `levels`.

    `caution` `[outputs]` charges the middle quantile for what it departs from `centre`, which is 0 for the baseline:
    it departs only where the sign of what is left over is surer than that (a soft threshold, Donoho and
    Johnstone 1994).
    """

    levels: tuple[float, ...]
    caution: Float
    centre: Float | float = 0.0

    def __call__(self, target: Any, quantiles: Any) -> Any:
        """The loss `[…, outputs]` of `quantiles` `[…, outputs, levels]` against `target` `[…, outputs]`."""
        error = ops.expand_dims(target, -1) - quantiles
        rates = ops.convert_to_tensor(np.array(self.levels, np.float32))
        loss = ops.mean(ops.maximum(rates * error, (rates - 1.0) * error), axis=-1)
        charge = ops.convert_to_tensor((self.caution / (2 * len(self.levels))).astype(np.float32))
        centre = ops.convert_to_tensor(np.asarray(self.centre, np.float32))
        return loss + charge * ops.abs(quantiles[..., self.levels.index(0.5)] - centre)


def caution(horizon: int, rounds: int, standard_errors: float) -> Float:
    """How sure a sign must be beyond even odds, `[horizon]`: that many of its standard errors, a half at most.

    `rounds` observations hold rounds / h forecasts of h steps that do not overlap, and the mean of so
    many signs has a standard error of √(h / rounds). What fewer cannot tell from chance is not learnt.
    """
    sure: Float = np.minimum(standard_errors * np.sqrt(np.arange(1, horizon + 1) / rounds), 0.5)
    return sure
