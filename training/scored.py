"""The network as it is fitted: whole windows in, forecasts at their scored rounds out."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from forecaster.bundle.store import named_weights
from forecaster.networks.kinds import AnyNetwork
from forecaster.networks.many_to_many import Network
from training.gru import gru
from training.lstm import lstm
from training.optimizer import Layout
from training.step import Batch

Tensor = Any
LAYERS = {"gru": gru, "lstm": lstm}


class FlatWeights:
    """The weights of a network as one flat array, which each forecast of it is given."""

    def __init__(self, network: AnyNetwork) -> None:
        self._variables = list(named_weights(network).values())
        self.layout = Layout([tuple(variable.shape) for variable in self._variables])

    def weights(self) -> np.ndarray:
        """The network's own weights, flat float32."""
        return np.concatenate([np.ravel(variable.numpy()) for variable in self._variables])

    def assign(self, weights: np.ndarray) -> None:
        """Make flat `weights` the network's own."""
        for variable, array in zip(self._variables, self.layout.split(weights), strict=True):
            variable.assign(array)

    def observations(self, batch: Batch) -> int:
        """Steps × series in `batch`, padding not counted."""
        return int(batch[0].shape[0] * batch[0].shape[1])

    def given(self, weights: Tensor) -> keras.StatelessScope:
        """Inside this scope the network's weights are `weights`."""
        return keras.StatelessScope(state_mapping=list(zip(self._variables, self.layout.split(weights), strict=True)))


def dropout_noise(random: np.random.Generator, shape: tuple[int, ...], dropout: float) -> np.ndarray:
    """Factors of dropout, float32 `shape`: drawn with the batch, so that every share of it has its own."""
    kept = random.random(shape, np.float32) >= dropout
    return kept.astype(np.float32) / np.float32(1 - dropout)


class ScoredNetwork(FlatWeights):
    """The network with carried state."""

    part = 16

    def __init__(self, network: Network, *, on_gpu: bool) -> None:
        super().__init__(network)
        self._network, self._on_gpu = network, on_gpu

    def noise(self, random: np.random.Generator, *forecasts: int) -> np.ndarray:
        """Factors of dropout `[windows, scored, units]`.

        Rounds that are not scored reach no forecast but through the carried state, which is never dropped out.
        """
        settings = self._network.settings
        return dropout_noise(random, (*forecasts, settings.units[-1]), settings.dropout)

    def forecasts(self, weights: Tensor, noise: Tensor, inputs: Tensor, scored: Tensor, *more: Tensor) -> Tensor:
        """Quantiles `[windows, scored, outputs, quantiles]` at the rounds `scored` `[windows, scored]` of `inputs`.

        `more` are arrays `[windows, scored, …]` that the head takes besides.
        """
        with self.given(weights):
            hidden = self._hidden(inputs, scored)
            at_scored = ops.take_along_axis(inputs, ops.expand_dims(scored, -1), 1)
            return self._network.head(hidden * noise, at_scored, *more)

    def _hidden(self, inputs: Tensor, scored: Tensor) -> Tensor:
        """The last layer's output at the scored rounds: on a GPU by cuDNN through Keras' layers."""
        if self._on_gpu:
            hidden = self._network.hidden(self._network.below(inputs), training=False)
            return ops.take_along_axis(hidden, ops.expand_dims(scored, -1), 1)
        hidden = tf.transpose(self._network.below(inputs), (1, 0, 2))
        layer_over = LAYERS[self._network.settings.cell]
        for layer in self._network.recurrent:
            hidden = layer_over(layer.cell, hidden)[0]
        window = tf.broadcast_to(tf.range(tf.shape(scored)[0])[:, None], tf.shape(scored))
        return tf.gather_nd(hidden, tf.stack([scored, window], -1))
