"""Quantile loss (Koenker and Bassett 1978)."""

from typing import Any

import numpy as np
from keras import ops


def pinball(target: Any, quantiles: Any, levels: tuple[float, ...]) -> Any:
    """Mean over the `levels` of the loss of `quantiles` `[…, levels]` against `target` `[…]`."""
    error = ops.expand_dims(target, -1) - quantiles
    rates = ops.convert_to_tensor(np.array(levels, np.float32))
    return ops.mean(ops.maximum(rates * error, (rates - 1.0) * error), axis=-1)
