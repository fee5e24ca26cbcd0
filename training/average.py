"""An exponential mean of the weights over the steps of a training (after Polyak and Juditsky 1992).

The mean is what is validated and kept: it forecasts better than where the last step happened to end.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from forecaster.bundle import named_weights
from forecaster.networks import AnyNetwork


class RunningAverage:
    """Follows the weights of `network` step by step; `decay` is kept of the mean at each."""

    def __init__(self, network: AnyNetwork, decay: float) -> None:
        self._weights, self._decay, self._steps = named_weights(network), decay, 0
        self._mean = self._read()

    def _read(self) -> dict[str, np.ndarray]:
        return {name: np.copy(weight.numpy()) for name, weight in self._weights.items()}

    def update(self) -> None:
        """Take in the weights as they are after one more step."""
        self._steps += 1
        rate = max(1 - self._decay, 1 / self._steps)
        for name, weight in self._weights.items():
            self._mean[name] += rate * (weight.numpy() - self._mean[name])

    def weights(self) -> dict[str, np.ndarray]:
        """A copy of the mean."""
        return {name: array.copy() for name, array in self._mean.items()}

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the mean for its weights inside the block."""
        latest = self._read()
        for name, weight in self._weights.items():
            weight.assign(self._mean[name])
        try:
            yield
        finally:
            for name, weight in self._weights.items():
                weight.assign(latest[name])
