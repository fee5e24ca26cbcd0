"""The network for paths as it is fitted: whole windows in, logits of each step ahead of their scored rounds out."""

from typing import Any

import numpy as np
import tensorflow as tf
from keras import ops

from forecaster.networks.paths import PathNetwork
from training.scored import LAYERS, FlatWeights, dropout_noise

Tensor = Any


class ScoredPaths(FlatWeights):
    """Each bin of a path is told after the true ones before it (teacher forcing, Williams and Zipser 1989)."""

    part = 8

    def __init__(self, network: PathNetwork, *, on_gpu: bool) -> None:
        super().__init__(network)
        self._network, self._on_gpu = network, on_gpu

    def noise(self, random: np.random.Generator, *forecasts: int) -> np.ndarray:
        """Factors of dropout `[windows, scored, units]`, of what the output layer sees: the same all along a path."""
        settings = self._network.settings
        return dropout_noise(random, (*forecasts, settings.units[-1]), settings.dropout)

    def forecasts(
        self, weights: Tensor, noise: Tensor, inputs: Tensor, scored: Tensor, recent: Tensor, places: Tensor
    ) -> Tensor:
        """Logits `[windows, scored, horizon, bins]` at the rounds `scored` `[windows, scored]` of `inputs`.

        `recent` `[windows, scored, horizon, recents]` and the bins at `places` `[windows, scored, horizon]` are those
        of the steps ahead.
        """
        with self.given(weights):
            states = self._states(inputs, scored)
            origin = ops.take_along_axis(inputs, ops.expand_dims(scored, -1), 1)
            flat = [tf.reshape(array, (-1, array.shape[-1])) for array in (origin, places)]
            along = tf.transpose(self._network.followed(*flat), (1, 0, 2))
            last, layer_over = states[-1][0], LAYERS[self._network.settings.cell]
            for layer, start in zip(self._network.recurrent, states, strict=True):
                along = layer_over(layer.cell, along, start)[0]
            hidden = tf.transpose(tf.concat([last[None], along], 0), (1, 0, 2))
            hidden = tf.reshape(hidden, (*places.shape, hidden.shape[-1]))
            return self._network.logits(hidden * noise[:, :, None], recent)

    def _states(self, inputs: Tensor, scored: Tensor) -> list[tuple[Tensor, ...]]:
        """The state `[windows · scored, units]` of every layer at the scored rounds."""
        window = tf.broadcast_to(tf.range(tf.shape(scored)[0])[:, None], tf.shape(scored))
        at = tf.stack([scored, window], -1)
        hidden, states = tf.transpose(inputs, (1, 0, 2)), []
        for layer in self._network.recurrent:
            every = LAYERS[self._network.settings.cell](layer.cell, hidden)
            states.append(tuple(tf.reshape(tf.gather_nd(rounds, at), (-1, layer.units)) for rounds in every))
            hidden = every[0]
        return states
