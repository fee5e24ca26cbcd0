"""The network for codes as it is fitted: whole windows in, logits at every round out."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from forecaster.networks.codes import CodeNetwork
from training.scored import LAYERS, FlatWeights, dropout_noise

Tensor = Any


class ScoredCodes(FlatWeights):
    """A softmax over the codes that come next, or the labels, at each round (time-distributed)."""

    part = 16

    def __init__(self, network: CodeNetwork, *, on_gpu: bool) -> None:
        super().__init__(network)
        self._network, self._on_gpu = network, on_gpu

    def noise(self, random: np.random.Generator, *forecasts: int) -> np.ndarray:
        """Factors of dropout `[windows, rounds, units]`, of what the output layer sees."""
        settings = self._network.settings
        return dropout_noise(random, (*forecasts, settings.units[-1]), settings.dropout)

    def forecasts(self, weights: Tensor, noise: Tensor, code: Tensor) -> Tensor:
        """Logits `[windows, rounds, 1, outputs]` from ids `[windows, rounds]`."""
        with self.given(weights):
            embedded = self._network.embedded(ops.expand_dims(code, -1))
            return ops.expand_dims(self._network.logits(self._hidden(embedded) * noise), 2)

    def _hidden(self, embedded: Tensor) -> Tensor:
        """The last layer's output: on a GPU by cuDNN through Keras' layers."""
        if self._on_gpu:
            return self._network.hidden(embedded, training=False)
        hidden = tf.transpose(embedded, (1, 0, 2))
        layer_over = LAYERS[self._network.settings.cell]
        for layer in self._network.recurrent:
            hidden = layer_over(layer.cell, hidden)[0]
        return tf.transpose(hidden, (1, 0, 2))
