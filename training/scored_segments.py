"""The segment network as it is fitted: single windows in, one forecast of each out."""

from typing import Any

import numpy as np
import tensorflow as tf

from forecaster.networks.segments import SegmentNetwork, at_last
from training.gru import gru
from training.scored import FlatWeights, dropout_noise
from training.step import Batch

Tensor = Any


class ScoredSegments(FlatWeights):
    """The network over windows."""

    part = 128

    def __init__(self, network: SegmentNetwork, *, on_gpu: bool) -> None:
        super().__init__(network)
        self._network, self._on_gpu = network, on_gpu

    def noise(self, random: np.random.Generator, *forecasts: int) -> np.ndarray:
        """Factors of dropout `[windows, pieces, units]`, of what each segment of the horizon is decoded to."""
        network, settings = self._network, self._network.settings
        return dropout_noise(random, (*forecasts, network.pieces, *settings.units), settings.dropout)

    def observations(self, batch: Batch) -> int:
        """Steps × series in `batch`, padding not counted."""
        return int(batch[1].sum()) * self._network.length

    def forecasts(self, weights: Tensor, noise: Tensor, windows: Tensor, segments: Tensor) -> Tensor:
        """Quantiles `[windows, horizon, quantiles]` from `windows` and `segments` as the network's `seen` has them."""
        network = self._network
        with self.given(weights):
            last = at_last(self._hidden(network.projected(windows)), segments)
            return network.head(network.decoded(last) * noise)

    def _hidden(self, projected: Tensor) -> Tensor:
        """The GRU's states `[windows, segments, units]`: on a GPU by cuDNN through Keras' layer."""
        if self._on_gpu:
            return self._network.recurrent(projected)
        (hidden,) = gru(self._network.recurrent.cell, tf.transpose(projected, (1, 0, 2)))
        return tf.transpose(hidden, (1, 0, 2))
