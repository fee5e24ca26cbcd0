"""The many-to-many network in Keras 3 operations: it forecasts the whole horizon at every step.

Stacked recurrent layers (GRU or LSTM) carry their state; the outputs come from the last layer and, by a linear
skip, straight from the inputs. There is one output a step of the horizon, or one for their aggregate. Each adds
what the recent profiles move it by, each by a weight of its own, and what the covariates known of its step do. The
middle quantile is a free output and its neighbours are stepped away from it by positive amounts, so quantiles are
ordered whatever the weights.
"""

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from forecaster.networks.cells import CELLS, State
from forecaster.networks.spec import NetworkSettings

if TYPE_CHECKING:
    from forecaster.config import Precision

Tensor = Any
KNOWN_UNITS = 16


class Network(keras.Model):  # type: ignore[misc]  # keras ships no types
    """Recurrent layers with a linear skip. `hidden` trains on whole sequences; `step`, `advance` and `head` serve.

    In serving, products of matrices are taken at `precision`; everything between them is float32.
    """

    def __init__(self, settings: NetworkSettings, seed: int = 0) -> None:
        super().__init__(name="forecaster")
        self.settings = settings
        self.precision: Precision = "float32"
        self._cell = CELLS[settings.cell]
        drawn = int(np.random.default_rng(seed).integers(2**31))
        self.recurrent = [
            self._cell.layer(
                units,
                return_sequences=True,
                kernel_initializer=keras.initializers.GlorotUniform(drawn + layer),
                recurrent_initializer=keras.initializers.Orthogonal(seed=drawn + 100 + layer),
                name=f"{settings.cell}_{layer}",
            )
            for layer, units in enumerate(settings.units)
        ]
        self.dropout = keras.layers.Dropout(settings.dropout, seed=drawn)
        self._make_head(drawn)
        self.build((None, None, settings.inputs))

    def _make_head(self, drawn: int) -> None:
        """The layers around the recurrent ones, their weights drawn by `drawn`."""
        settings = self.settings
        outputs = settings.outputs * len(settings.quantiles)
        self.output_layer = keras.layers.Dense(
            outputs, kernel_initializer=keras.initializers.GlorotUniform(drawn + 200), name="output"
        )
        self.skip = keras.layers.Dense(outputs, use_bias=False, kernel_initializer="zeros", name="skip")
        self.recent = RecentProfiles(settings.outputs, settings.ahead)
        self.known = KnownCovariates(settings.known, drawn) if settings.known else None

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        known = [] if self.known is None else [self.known]
        return [*self.recurrent, self.output_layer, self.skip, self.recent, *known]

    @property
    def state_widths(self) -> dict[str, int]:
        """Width of every array of the carried state by name, layer after layer."""
        names, layers = self._cell.state, enumerate(self.settings.units)
        return {f"{name}.{layer}": units for layer, units in layers for name in names}

    @property
    def width_below(self) -> int:
        """How many numbers `below` gives."""
        return self.settings.inputs

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make all weights; `input_shape` is `(None, None, inputs)`."""
        self._build_layers(self.width_below)
        self.skip.build((None, self.width_below))
        self.recent.build((None, self.settings.outputs, self.settings.ahead))
        if self.known is not None:
            self.known.build((None, self.settings.units[-1]))
        self.built = True

    def _build_layers(self, width: int) -> None:
        """Make the weights of the recurrent layers, the first of which takes `width` numbers, and of the output."""
        for layer in self.recurrent:
            layer.build((None, None, width))
            width = layer.units
        self.dropout.build((None, None, width))
        self.output_layer.build((None, width))

    def call(self, inputs: Tensor, recent: Tensor, training: bool | None = None) -> Tensor:  # noqa: FBT001  # Keras' signature
        """Quantiles `[batch, rounds, outputs, quantiles]` at every step of `[batch, rounds, inputs]`."""
        return self.head(self.hidden(self.below(inputs), training=training), inputs, recent)

    def below(self, inputs: Tensor) -> Tensor:
        """What the first layer takes of `inputs`, and the skip: here as they are."""
        return inputs

    def hidden(self, below: Tensor, *, training: bool | None = None) -> Tensor:
        """The last layer's output `[batch, rounds, units]`, from an empty state; dropped out in training."""
        hidden = below
        for layer in self.recurrent:
            hidden = layer(hidden, training=training)
        return self.dropout(hidden, training=training)

    def step(self, state: list[Tensor], inputs: Tensor, recent: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Quantiles `[series, outputs, quantiles]` after one round of `inputs` `[series, inputs]`, and the new state.

        `state` has `[series, width]` for each of `state_widths`; `recent` are `[series, outputs, ahead]`.
        """
        cell, hidden = self._cell, self.below(inputs)
        carried: list[Tensor] = []
        for layer, start in zip(self.recurrent, self._by_layer(state), strict=True):
            after = cell.step(layer.cell, cell.projected(layer.cell, hidden, self._product), start, self._product)
            carried += after
            hidden = after[0]
        return self.head(hidden, inputs, recent), carried

    def advance(self, state: list[Tensor], inputs: Tensor, valid: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The last layer's output `[series, rounds, units]` and every layer's new state.

        `inputs` are `[series, rounds, inputs]`; rounds where `valid` is false leave the state alone.
        """
        hidden = self.below(inputs)
        carried: list[Tensor] = []
        for layer, start in zip(self.recurrent, self._by_layer(state), strict=True):
            hidden, last = self._cell.scan(layer.cell, hidden, valid, start, self._product)
            carried += last
        return hidden, carried

    def head(self, hidden: Tensor, inputs: Tensor, recent: Tensor) -> Tensor:
        """Ordered quantiles `[..., outputs, quantiles]` from `hidden` and, skipping it, `inputs` and `recent`.

        `recent` are `[..., outputs, ahead]`: recent profiles, and behind them what covariates are known.
        """
        levels = self.settings.quantiles
        output, skip = self.output_layer, self.skip
        flat = self._product(hidden, output.kernel) + output.bias + self._product(self.below(inputs), skip.kernel)
        free = ops.reshape(flat, (*ops.shape(flat)[:-1], self.settings.outputs, len(levels)))
        middle = free[..., levels.index(0.5)] + self.recent(recent)
        if self.known is not None:
            middle = middle + self.known(hidden, recent[..., self.settings.recents :])
        return ordered_quantiles(middle, free, levels)

    def _by_layer(self, state: list[Tensor]) -> list[State]:
        size = len(self._cell.state)
        return [tuple(state[first : first + size]) for first in range(0, len(state), size)]

    def _product(self, rows: Tensor, kernel: Any) -> Tensor:
        """`rows` times `kernel`, in float32 again."""
        kernel = ops.convert_to_tensor(kernel)
        if self.precision == "float32":
            return ops.matmul(rows, kernel)
        return ops.cast(ops.matmul(ops.cast(rows, self.precision), ops.cast(kernel, self.precision)), "float32")


def ordered_quantiles(middle: Tensor, free: Tensor, levels: tuple[float, ...]) -> Tensor:
    """Quantiles that ascend along the last axis: `middle`, and steps away from it by the `free` ones' softplus."""
    at = levels.index(0.5)
    columns = [middle]
    for level in range(at + 1, len(levels)):
        columns.append(columns[-1] + ops.softplus(free[..., level]))
    for level in reversed(range(at)):
        columns.insert(0, columns[0] - ops.softplus(free[..., level]))
    return ops.stack(columns, axis=-1)


class RecentProfiles(keras.layers.Layer):  # type: ignore[misc]
    """A weight for each recent profile at each output, from 0 on."""

    def __init__(self, outputs: int, recents: int) -> None:
        super().__init__(name="recent")
        self._shape = outputs, recents

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make the weights `[outputs, recents]`; without recent profiles there are none."""
        made = self._shape[1] > 0
        self.kernel = self.add_weight(shape=self._shape, initializer="zeros", name="kernel") if made else 0.0
        self.built = True

    def call(self, recent: Tensor) -> Tensor:
        """Their weighted sum `[..., outputs]`."""
        return ops.sum(recent * self.kernel, axis=-1)


class KnownCovariates(keras.layers.Layer):  # type: ignore[misc]
    """What the covariates known of a step move it by where the series is: a small network that all steps share.

    The temporal decoder of TiDE (Das et al. 2023) with one hidden layer, to which the state comes once for all steps.
    """

    def __init__(self, covariates: int, drawn: int) -> None:
        super().__init__(name="known")
        self._covariates, self._drawn = covariates, drawn

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the weights; `input_shape` is `(None, units)` of the state. It begins by moving nothing."""

        def kernel(name: str, width: int, number: int) -> Any:
            drawn = keras.initializers.GlorotUniform(self._drawn + number)
            return self.add_weight(shape=(width, KNOWN_UNITS), initializer=drawn, name=name)

        self.from_state = kernel("from_state", input_shape[-1] or 0, 300)
        self.from_covariates = kernel("from_covariates", self._covariates, 301)
        self.bias = self.add_weight(shape=(KNOWN_UNITS,), initializer="zeros", name="bias")
        self.kernel = self.add_weight(shape=(KNOWN_UNITS, 1), initializer="zeros", name="kernel")
        self.built = True

    def call(self, hidden: Tensor, covariates: Tensor) -> Tensor:
        """`[..., outputs]` of `hidden` `[..., units]` and `covariates` `[..., outputs, covariates]`."""
        of_series = ops.expand_dims(ops.matmul(hidden, self.from_state) + self.bias, -2)
        mixed = ops.tanh(of_series + ops.matmul(covariates, self.from_covariates))
        return ops.squeeze(ops.matmul(mixed, self.kernel), -1)
