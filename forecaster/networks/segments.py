"""The segment network in Keras 3 operations: a GRU over segments of a window (after SegRNN, Lin et al. 2023).

The window is cut into segments, each projected, and one GRU takes them in order. From its last state every
segment of the horizon is decoded by itself: one step of the same GRU, with a learned position for input.

A series that is younger than the window has fewer segments: the newest observations fill whole ones, the oldest
segment may reach back before the first observation. Each observation comes with whether it is missing, which all
are there.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.engines.shapes import halvings
from forecaster.networks.many_to_many import ordered_quantiles
from forecaster.networks.spec import NetworkSettings
from forecaster.past import Past, right_padded, scaled_windows
from forecaster.records import Float

Tensor = Any


class SegmentNetwork(keras.Model):  # type: ignore[misc]  # keras ships no types
    """Forecasts from a whole window at a time and carries nothing: `settings.inputs` is the window's length.

    Filled windows are all of that length, and what is missing in them is made up.
    """

    def __init__(self, settings: NetworkSettings, seed: int = 0) -> None:
        super().__init__(name="forecaster")
        self.settings = settings
        self.length = settings.segment_length or 1  # the manifest sees to it that it is set
        self.pieces = settings.horizon // self.length
        self.masked = settings.short_windows == "masked"
        self.channels = 2 if self.masked else 1
        self.lengths = halvings(settings.inputs, self.length) if self.masked else (settings.inputs,)
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
            return_sequences=True,
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
        self.build((None, settings.inputs, self.channels))

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        return [self.projection, self.recurrent, self.position, self.output_layer]

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make all weights; `input_shape` is `(None, window, channels)`."""
        (units,) = self.settings.units
        self.projection.build((None, None, self.length * self.channels))
        self.recurrent.build((None, None, units))
        self.position.build((None, self.pieces))
        self.dropout.build((None, None, units))
        self.output_layer.build((None, None, units))
        self.built = True

    def seen(self, past: Past, rounds: int) -> tuple[np.ndarray, np.ndarray]:
        """Scaled windows, float32 `[n, rounds, channels]`, and how many segments of each are no padding `[n]`."""
        values = past.values(rounds)
        scaled = scaled_windows(values, past.last(), past.scale())[..., None]
        if not self.masked:
            return scaled, np.full(len(scaled), rounds // self.length, np.int32)
        segments = -(-past.length(rounds) // self.length)
        with_missing = np.concatenate([scaled, np.isnan(values)[..., None]], axis=-1, dtype=np.float32)
        return right_padded(with_missing, segments * self.length), segments.astype(np.int32)

    def shapes(self, rounds: int) -> list[tuple[tuple[int, ...], type]]:
        """Shape and kind of each array of `seen` without its first axis."""
        return [((rounds, self.channels), np.float32), ((), np.int32)]

    def counted_from(self, past: Past) -> Float:
        """The last known value, which the window is counted from too: `[n, 1]`."""
        return past.last()[:, None]

    def call(self, windows: Tensor, segments: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001  # Keras' signature
        """Quantiles `[batch, horizon, quantiles]` from `windows` and `segments` as `seen` gives them."""
        last = at_last(self.recurrent(self.projected(windows)), segments)
        return self.head(self.dropout(self.decoded(last), training=training))

    def projected(self, windows: Tensor) -> Tensor:
        """What the GRU reads of `windows`, `[batch, segments, units]`."""
        pieces = windows.shape[1] // self.length
        return self.projection(ops.reshape(windows, (-1, pieces, self.length * self.channels)))

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


def at_last(hidden: Tensor, length: Tensor) -> Tensor:
    """Of `hidden` `[batch, steps, units]` that at the last of the first `length` `[batch]` steps: `[batch, units]`."""
    place = ops.expand_dims(ops.maximum(length, 1) - 1, (1, 2))
    return ops.squeeze(ops.take_along_axis(hidden, place, axis=1), axis=1)
