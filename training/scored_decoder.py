"""The encoder–decoder as it is fitted: the decoder is fed what was true, or its own point, by a share that falls."""

from typing import Any

import numpy as np
import tensorflow as tf

from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.past import CLIP
from training.scored import LAYERS, FlatWeights, dropout_noise
from training.step import Batch

Tensor = Any


def teacher_share(done: float, until: float) -> float:
    """How often the decoder is fed the true value when a share `done` of the training is over: never from `until` on.

    It falls along a line from always on (scheduled sampling, Bengio et al. 2015): at first its own points would
    lead it nowhere, at last it must know what serving brings.
    """
    return 1.0 - done / until if done < until else 0.0


def with_teacher(batch: Batch, share: float, random: np.random.Generator) -> Batch:
    """`batch` with what the decoder is fed at each step, `[windows, horizon]`: NaN where that is its own last point.

    Other than that, which has the probability 1 − `share`, it is the true value of the step before where it is known.
    """
    *seen, target, weight = batch
    drawn = random.random(target[:, 1:].shape) < share
    fed = np.where(drawn & (weight[:, :-1] > 0), np.clip(target[:, :-1], -CLIP, CLIP), np.nan)
    taught = np.concatenate([np.full((len(fed), 1), np.nan), fed], axis=1, dtype=np.float32)
    return (*seen, taught, target, weight)


class ScoredDecoder(FlatWeights):
    """The encoder–decoder over windows."""

    part = 64

    def __init__(self, network: EncoderDecoder, *, on_gpu: bool) -> None:
        super().__init__(network)
        self._network, self._on_gpu = network, on_gpu

    def noise(self, random: np.random.Generator, *forecasts: int) -> np.ndarray:
        """Factors of dropout `[windows, horizon, units]`, of what the outputs are made of."""
        settings = self._network.settings
        return dropout_noise(random, (*forecasts, settings.horizon, *settings.units), settings.dropout)

    def observations(self, batch: Batch) -> int:
        """Steps × series in `batch`, padding not counted."""
        return int(batch[1].sum())

    def forecasts(
        self, weights: Tensor, noise: Tensor, windows: Tensor, length: Tensor, calendar: Tensor, *more: Tensor
    ) -> Tensor:
        """Quantiles `[windows, horizon, quantiles]` from what the network's `seen` gives, fed as the last array says.

        What is fed back is not dropped out: noise that adds up along the horizon would teach to ignore it.
        """
        network = self._network
        *skipping, taught = more
        with self.given(weights):
            start, memory = network.start(self._encoded(windows), windows, length)
            offset = network.offset(*skipping)

            def step(carry: tuple[Tensor, ...], row: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
                *state, shown, point = carry
                terms, of_step, true = row
                fed = tf.where(tf.math.is_nan(true), point, true)
                state, shown = network.decode(state, shown, fed, terms, memory)
                return *state, shown, network.point(shown, of_step)

            rows = tf.transpose(calendar, (1, 0, 2)), tf.transpose(network.middle(offset)), tf.transpose(taught)
            *_, shown, _ = tf.scan(step, rows, initializer=start)
            return network.head(tf.transpose(shown, (1, 0, 2)) * noise, offset)

    def _encoded(self, windows: Tensor) -> tuple[Tensor, ...]:
        """The encoder's states `[windows, rounds, units]`: a GRU's on a GPU by cuDNN through Keras' layer."""
        if self._on_gpu:
            return self._network.encoded(windows)
        layer_over = LAYERS[self._network.settings.cell]
        states = layer_over(self._network.encoder.cell, tf.transpose(windows, (1, 0, 2)))
        return tuple(tf.transpose(part, (1, 0, 2)) for part in states)
