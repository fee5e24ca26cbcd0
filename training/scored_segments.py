"""The segment network as it is fitted: single windows in, one forecast of each out."""

from typing import Any

import numpy as np
import tensorflow as tf

from forecaster.segment_network import SegmentNetwork
from training.gru import gru
from training.scored import FlatWeights, dropout_noise

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

    def forecasts(self, weights: Tensor, noise: Tensor, windows: Tensor) -> Tensor:
        """Quantiles `[windows, horizon, quantiles]` from scaled `windows` `[windows, window]`."""
        network = self._network
        with self.given(weights):
            return network.head(network.decoded(self._last(network.segments(windows))) * noise)

    def _last(self, segments: Tensor) -> Tensor:
        """The GRU's last state `[windows, units]`: on a GPU by cuDNN through Keras' layer."""
        if self._on_gpu:
            return self._network.recurrent(segments)
        return gru(self._network.recurrent.cell, tf.transpose(segments, (1, 0, 2)))[-1]
