"""The segment network in Keras 3 operations: a GRU over segments of a window (after SegRNN, Lin et al. 2023).

The window is cut into segments, each projected, and one GRU takes them in order. From its last state every
segment of the horizon is decoded by itself: one step of the same GRU, with a learned position for input.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.manifest import NetworkSettings
from forecaster.network import ordered_quantiles

Tensor = Any


class SegmentNetwork(keras.Model):  # type: ignore[misc]  # keras ships no types
    """Forecasts from a whole window at a time and carries nothing: `settings.inputs` is the window's length."""

    def __init__(self, settings: NetworkSettings, seed: int = 0) -> None:
        super().__init__(name="forecaster")
        self.settings = settings
        self.length = settings.segment_length or 1  # the manifest sees to it that it is set
        self.pieces = settings.horizon // self.length
        (units,) = settings.units
        drawn = int(np.random.default_rng(seed).integers(2**31))
        initializers = keras.initializers
        self.projection = keras.layers.Dense(
            units, activation="relu", kernel_initializer=initializers.GlorotUniform(drawn), name="projection"
        )
        self.recurrent = keras.layers.GRU(
            units,
            kernel_initializer=initializers.GlorotUniform(drawn + 1),
            recurrent_initializer=initializers.Orthogonal(seed=drawn + 100),
            name="gru",
        )
        self.position = keras.layers.Embedding(
            self.pieces, units, embeddings_initializer=initializers.RandomNormal(0, 1, seed=drawn + 2), name="position"
        )
        self.dropout = keras.layers.Dropout(settings.dropout, seed=drawn)
        self.output_layer = keras.layers.Dense(
            self.length * len(settings.quantiles),
            kernel_initializer=initializers.GlorotUniform(drawn + 200),
            name="output",
        )
        self.build((None, settings.inputs))

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        return [self.projection, self.recurrent, self.position, self.output_layer]

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make all weights; `input_shape` is `(None, window)`."""
        (units,) = self.settings.units
        self.projection.build((None, None, self.length))
        self.recurrent.build((None, None, units))
        self.position.build((None, self.pieces))
        self.dropout.build((None, None, units))
        self.output_layer.build((None, None, units))
        self.built = True

    def call(self, windows: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001  # Keras' signature
        """Quantiles `[batch, horizon, quantiles]` from scaled `windows` `[batch, window]`, oldest first."""
        last = self.recurrent(self.segments(windows))
        return self.head(self.dropout(self.decoded(last), training=training))

    def segments(self, windows: Tensor) -> Tensor:
        """What the GRU reads of `windows`, `[batch, segments, units]`."""
        return self.projection(ops.reshape(windows, (-1, self.settings.inputs // self.length, self.length)))

    def decoded(self, last: Tensor) -> Tensor:
        """The state `[batch, pieces, units]` of each segment of the horizon, from the `last` `[batch, units]`."""
        units = self.recurrent.units
        starts = ops.reshape(ops.repeat(last, self.pieces, axis=0), (-1, units))
        positions = ops.tile(ops.convert_to_tensor(self.position.embeddings), (ops.shape(last)[0], 1))
        decoded, _ = self.recurrent.cell(positions, [starts])
        return ops.reshape(decoded, (-1, self.pieces, units))

    def head(self, decoded: Tensor) -> Tensor:
        """Ordered quantiles `[batch, horizon, quantiles]` from `decoded` `[batch, pieces, units]`."""
        levels = self.settings.quantiles
        free = ops.reshape(self.output_layer(decoded), (-1, self.settings.horizon, len(levels)))
        return ordered_quantiles(free[..., levels.index(0.5)], free, levels)
