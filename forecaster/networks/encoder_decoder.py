"""The encoder–decoder in Keras 3 operations (Cho et al. 2014, Sutskever et al. 2014), with attention or without.

A GRU, or an LSTM, reads the window: of each step what level and profile leave over, whether it is missing, and its
calendar terms. Its final state starts a second one, which goes through the horizon step by step: it is fed its own last
point and the calendar terms of the step, which are known ahead, and its state gives the quantiles. A linear skip
from the features at the origin, which reach further back than the window, and from the recent profiles adds to them,
as in the network with carried state.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.engines.shapes import halvings
from forecaster.networks.attention import Attention, Memory
from forecaster.networks.cells import CELLS, State
from forecaster.networks.many_to_many import RecentProfiles, ordered_quantiles
from forecaster.networks.segments import at_last
from forecaster.networks.spec import NetworkSettings
from forecaster.past import CLIP, Past, right_padded
from forecaster.records import Float

Tensor = Any


class EncoderDecoder(keras.Model):  # type: ignore[misc]  # keras ships no types
    """Forecasts from a whole window at a time and carries nothing: `settings.inputs` is the longest window's length."""

    def __init__(self, settings: NetworkSettings, seed: int = 0) -> None:
        super().__init__(name="forecaster")
        self.settings = settings
        self.lengths = halvings(settings.inputs)
        (units,) = settings.units
        drawn = int(np.random.default_rng(seed).integers(2**31))
        self.cell = CELLS[settings.cell]
        self.encoder, self.decoder = (
            self.cell.layer(
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
        outputs = settings.horizon * len(settings.quantiles)
        self.skip = keras.layers.Dense(outputs, kernel_initializer="zeros", name="skip")
        self.recent = RecentProfiles(settings.horizon, settings.recents)
        self.build((None, settings.inputs, 2 + settings.calendar))

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        attention = [] if self.attention is None else [self.attention]
        return [self.encoder, self.decoder, *attention, self.output_layer, self.skip, self.recent]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make all weights; `input_shape` is `(None, window, inputs)`."""
        (units,), fed = self.settings.units, 1 + self.settings.calendar
        self.encoder.build(input_shape)
        if self.attention is not None:
            self.attention.build((None, units))
            fed += units
        self.decoder.build((None, None, fed))
        self.output_layer.build((None, units))
        self.skip.build((None, self.settings.features))
        self.recent.build((None, self.settings.horizon, self.settings.recents))
        self.built = True

    def seen(self, past: Past, rounds: int) -> tuple[np.ndarray, ...]:
        """What `call` takes: float32 but for the windows' lengths."""
        behind, values = np.arange(1 - rounds, 1), past.values(rounds)
        missing = np.isnan(values)
        with np.errstate(over="ignore"):
            scaled = (values - past.expected(behind)) / past.scale()[:, None]
        left_over = np.where(missing, 0.0, np.clip(scaled, -CLIP, CLIP))
        plain = np.stack([left_over, missing], axis=-1).astype(np.float32)
        steps, length = np.concatenate([plain, past.calendar(behind)], axis=-1), past.length(rounds)
        ahead = past.calendar(np.arange(1, self.settings.horizon + 1))
        recent = past.recent(self.settings.horizon)
        return right_padded(steps, length), length.astype(np.int32), ahead, past.features(), recent

    def shapes(self, rounds: int) -> list[tuple[tuple[int, ...], type]]:
        """Shape and kind of each array of `seen` without its first axis."""
        terms, horizon = self.settings.calendar, self.settings.horizon
        ahead = (horizon, terms), (self.settings.features,), (horizon, self.settings.recents)
        return [((rounds, 2 + terms), np.float32), ((), np.int32), *((shape, np.float32) for shape in ahead)]

    def counted_from(self, past: Past) -> Float:
        """Level plus profiles of the next steps, `[n, horizon]`."""
        return past.expected(np.arange(1, self.settings.horizon + 1))

    def call(self, windows: Tensor, length: Tensor, calendar: Tensor, features: Tensor, recent: Tensor) -> Tensor:
        """Quantiles `[batch, horizon, quantiles]` from `windows` `[batch, rounds, inputs]`, `length` `[batch]` of each.

        `calendar` `[batch, horizon, terms]` and `recent` `[batch, horizon, recents]` are of the steps ahead,
        `features` `[batch, features]` of the origin.
        """
        offset = self.offset(features, recent)
        return self.head(self._decoded(windows, length, calendar, offset)[1], offset)

    def looks(self, windows: Tensor, length: Tensor, calendar: Tensor, features: Tensor, recent: Tensor) -> Tensor:
        """With attention: the share of each step of a window in each of the horizon, `[batch, horizon, steps]`."""
        assert self.attention is not None  # noqa: S101  # the caller has looked
        states, _ = self._decoded(windows, length, calendar, self.offset(features, recent))
        return self.attention.weights(states, self.attention.memory(self.encoded(windows)[0], length))

    def encoded(self, windows: Tensor) -> State:
        """The encoder's state `[batch, rounds, units]` after each round of `windows`, what it puts out first."""
        if len(self.cell.state) == 1:
            return (self.encoder(windows),)
        valid, zero = (
            ops.ones_like(windows[..., 0], dtype="bool"),
            ops.zeros((windows.shape[0], self.settings.units[0])),
        )
        start = tuple(zero for _ in self.cell.state)
        return self.cell.states(self.encoder.cell, windows, valid, start, ops.matmul)[0]

    def _decoded(self, windows: Tensor, length: Tensor, calendar: Tensor, offset: Tensor) -> tuple[Tensor, Tensor]:
        """The decoder's states and what its outputs are made of `[batch, horizon, units]`; it is fed its own points."""
        start, memory = self.start(self.encoded(windows), windows, length)

        def step(carry: tuple[Tensor, ...], row: tuple[Tensor, Tensor]) -> tuple[Any, Any]:
            *state, shown, fed = carry
            terms, of_step = row
            state, shown = self.decode(state, shown, fed, terms, memory)
            carry = *state, shown, self.point(shown, of_step)
            return carry, carry

        rows = ops.swapaxes(calendar, 0, 1), ops.swapaxes(self.middle(offset), 0, 1)
        _, (output, *_, shown, _) = ops.scan(step, start, rows)
        return ops.swapaxes(output, 0, 1), ops.swapaxes(shown, 0, 1)

    def start(self, states: State, windows: Tensor, length: Tensor) -> tuple[tuple[Tensor, ...], Memory | None]:
        """What the decoder begins with, from the encoder's `states` `[batch, rounds, units]`, and what it attends to.

        That is its state, what outputs would be made of, all `[batch, units]`, and what is fed: the newest value.
        """
        last = [at_last(part, length) for part in states]
        newest = at_last(windows[..., :1], length)[:, 0]
        memory = None if self.attention is None else self.attention.memory(states[0], length)
        return (*last, ops.zeros_like(last[0]), newest), memory

    def decode(
        self, state: list[Tensor], shown: Tensor, fed: Tensor, terms: Tensor, memory: Memory | None
    ) -> tuple[list[Tensor], Any]:
        """One step of the horizon: the new state, and what its outputs are made of, `[batch, units]`.

        With attention that is the attentional state, and the next step is fed it too (Luong et al. 2015, 3.3).
        """
        inputs = [ops.expand_dims(fed, -1), terms]
        if self.attention is None or memory is None:
            output, state = self.decoder.cell(ops.concatenate(inputs, -1), state)
            return list(state), output
        output, state = self.decoder.cell(ops.concatenate([*inputs, shown], -1), state)
        return list(state), self.attention.joined_with(output, memory)

    def offset(self, features: Tensor, recent: Tensor) -> Tensor:
        """What skips encoder and decoder, `[batch, horizon, quantiles]`: it is added to the outputs."""
        levels, horizon = self.settings.quantiles, self.settings.horizon
        free = ops.reshape(self.skip(features), (-1, horizon, len(levels)))
        is_middle = np.array([level == 0.5 for level in levels], np.float32)
        return free + ops.expand_dims(self.recent(recent), -1) * is_middle

    def middle(self, quantiles: Tensor) -> Tensor:
        """Those of level 0.5, `[…]` of `[…, quantiles]`."""
        return quantiles[..., self.settings.quantiles.index(0.5)]

    def point(self, shown: Tensor, offset: Tensor) -> Tensor:
        """The point of a step `[batch]`, which the next one is fed; `offset` `[batch]` is that of the step."""
        return ops.sum(shown * self.middle(ops.convert_to_tensor(self.output_layer.kernel)), axis=-1) + offset

    def head(self, shown: Tensor, offset: Tensor) -> Tensor:
        """Ordered quantiles `[batch, horizon, quantiles]` from `shown` `[batch, horizon, units]`."""
        free = self.output_layer(shown) + offset
        return ordered_quantiles(self.middle(free), free, self.settings.quantiles)
