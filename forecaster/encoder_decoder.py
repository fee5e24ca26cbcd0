"""The encoder–decoder in Keras 3 operations (Cho et al. 2014, Sutskever et al. 2014), with attention or without.

A GRU reads the window: of each step what level and profile leave over, whether it is missing, and its calendar
terms. Its final state starts a second GRU, which goes through the horizon step by step: it is fed its own last
point and the calendar terms of the step, which are known ahead, and its state gives the quantiles.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.attention import Attention, Memory
from forecaster.manifest import NetworkSettings
from forecaster.network import ordered_quantiles
from forecaster.past import CLIP, Past, right_padded
from forecaster.records import Float
from forecaster.segment_network import at_last
from forecaster.shapes import halvings

Tensor = Any


class EncoderDecoder(keras.Model):  # type: ignore[misc]  # keras ships no types
    """Forecasts from a whole window at a time and carries nothing: `settings.inputs` is the longest window's length."""

    def __init__(self, settings: NetworkSettings, seed: int = 0) -> None:
        super().__init__(name="forecaster")
        self.settings = settings
        self.lengths = halvings(settings.inputs)
        (units,) = settings.units
        drawn = int(np.random.default_rng(seed).integers(2**31))
        self.encoder, self.decoder = (
            keras.layers.GRU(
                units,
                return_sequences=name == "encoder",
                kernel_initializer=keras.initializers.GlorotUniform(drawn + layer),
                recurrent_initializer=keras.initializers.Orthogonal(seed=drawn + 100 + layer),
                name=name,
            )
            for layer, name in enumerate(("encoder", "decoder"))
        )
        self.attention = None if settings.attention == "none" else Attention(settings.attention, units, drawn + 200)
        self.output_layer = keras.layers.Dense(
            len(settings.quantiles),
            use_bias=False,
            kernel_initializer=keras.initializers.GlorotUniform(drawn + 300),
            name="output",
        )
        self.step_bias = StepBias(settings.horizon, len(settings.quantiles))
        self.build((None, settings.inputs, 2 + settings.calendar))

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        attention = [] if self.attention is None else [self.attention]
        return [self.encoder, self.decoder, *attention, self.output_layer, self.step_bias]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make all weights; `input_shape` is `(None, window, inputs)`."""
        (units,), fed = self.settings.units, 1 + self.settings.calendar
        self.encoder.build(input_shape)
        if self.attention is not None:
            self.attention.build((None, units))
            fed += units
        self.decoder.build((None, None, fed))
        self.output_layer.build((None, units))
        self.step_bias.build((None, self.settings.horizon))
        self.built = True

    def seen(self, past: Past, rounds: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Windows, float32 `[n, rounds, inputs]`, their lengths `[n]`, and the calendar ahead `[n, horizon, terms]`."""
        behind, values = np.arange(1 - rounds, 1), past.values(rounds)
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            scaled = (values - past.expected(behind)) / past.scale()[:, None]
        left_over = np.where(missing, 0.0, np.clip(scaled, -CLIP, CLIP))
        plain = np.stack([left_over, missing], axis=-1).astype(np.float32)
        steps, length = np.concatenate([plain, past.calendar(behind)], axis=-1), past.length(rounds)
        ahead = past.calendar(np.arange(1, self.settings.horizon + 1))
        return right_padded(steps, length), length.astype(np.int32), ahead

    def shapes(self, rounds: int) -> list[tuple[tuple[int, ...], type]]:
        """Shape and kind of each array of `seen` without its first axis."""
        terms, horizon = self.settings.calendar, self.settings.horizon
        return [((rounds, 2 + terms), np.float32), ((), np.int32), ((horizon, terms), np.float32)]

    def counted_from(self, past: Past) -> Float:
        """Level plus profiles of the next steps, `[n, horizon]`."""
        return past.expected(np.arange(1, self.settings.horizon + 1))

    def call(self, windows: Tensor, length: Tensor, calendar: Tensor, training: bool | None = None) -> Tensor:  # noqa: ARG002, FBT001  # Keras' signature
        """Quantiles `[batch, horizon, quantiles]` from what `seen` gives."""
        return self.head(self._decoded(windows, length, calendar)[1])

    def looks(self, windows: Tensor, length: Tensor, calendar: Tensor) -> Tensor:
        """With attention: the share of each step of a window in each of the horizon, `[batch, horizon, steps]`."""
        assert self.attention is not None  # noqa: S101  # the caller has looked
        states, _ = self._decoded(windows, length, calendar)
        return self.attention.weights(states, self.attention.memory(self.encoder(windows), length))

    def _decoded(self, windows: Tensor, length: Tensor, calendar: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's states and what its outputs are made of `[batch, horizon, units]`; it is fed its own points."""
        start, memory = self.start(self.encoder(windows), windows, length)

        def step(carry: tuple[Tensor, ...], row: tuple[Tensor, Tensor]) -> tuple[Any, Any]:
            state, shown, fed = carry
            terms, bias = row
            state, shown = self.decode(state, shown, fed, terms, memory)
            carry = state, shown, self.middle(shown, bias)
            return carry, carry

        _, (states, shown, _) = ops.scan(step, start, (ops.swapaxes(calendar, 0, 1), self.middle_bias()))
        return ops.swapaxes(states, 0, 1), ops.swapaxes(shown, 0, 1)

    def start(self, outputs: Tensor, windows: Tensor, length: Tensor) -> tuple[tuple[Tensor, ...], Memory | None]:
        """What the decoder begins with, from the encoder's `outputs` `[batch, rounds, units]`, and what it attends to.

        That is its state, what outputs would be made of, both `[batch, units]`, and what is fed: the newest value.
        """
        last = at_last(outputs, length)
        newest = at_last(windows[..., :1], length)[:, 0]
        memory = None if self.attention is None else self.attention.memory(outputs, length)
        return (last, ops.zeros_like(last), newest), memory

    def decode(
        self, state: Tensor, shown: Tensor, fed: Tensor, terms: Tensor, memory: Memory | None
    ) -> tuple[Any, Any]:
        """One step of the horizon: the new state, and what its outputs are made of, `[batch, units]`.

        With attention that is the attentional state, and the next step is fed it too (Luong et al. 2015, 3.3).
        """
        inputs = [ops.expand_dims(fed, -1), terms]
        if self.attention is None or memory is None:
            state, _ = self.decoder.cell(ops.concatenate(inputs, -1), [state])
            return state, state
        state, _ = self.decoder.cell(ops.concatenate([*inputs, shown], -1), [state])
        return state, self.attention.joined_with(state, memory)

    def middle_bias(self) -> Tensor:
        """What `middle` adds at each step, `[horizon]`."""
        return ops.convert_to_tensor(self.step_bias.bias)[:, self.settings.quantiles.index(0.5)]

    def middle(self, shown: Tensor, bias: Tensor) -> Tensor:
        """The point of a step `[batch]`, which the next one is fed."""
        kernel = ops.convert_to_tensor(self.output_layer.kernel)[:, self.settings.quantiles.index(0.5)]
        return ops.sum(shown * kernel, axis=-1) + bias

    def head(self, shown: Tensor) -> Tensor:
        """Ordered quantiles `[batch, horizon, quantiles]` from `shown` `[batch, horizon, units]`."""
        levels = self.settings.quantiles
        free = self.step_bias(self.output_layer(shown))
        return ordered_quantiles(free[..., levels.index(0.5)], free, levels)


class StepBias(keras.layers.Layer):  # type: ignore[misc]
    """A bias of its own for each quantile of each horizon step: intervals widen along it."""

    def __init__(self, horizon: int, quantiles: int) -> None:
        super().__init__(name="step")
        self._shape = horizon, quantiles

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make the weights `[horizon, quantiles]`."""
        self.bias = self.add_weight(shape=self._shape, initializer="zeros", name="bias")
        self.built = True

    def call(self, free: Tensor) -> Tensor:
        """`free` `[batch, horizon, quantiles]` with it."""
        return free + self.bias
