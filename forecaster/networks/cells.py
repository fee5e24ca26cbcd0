"""Recurrent cells: one step from a carried state, and the masked scan along the rounds of a block.

The state of a layer is a tuple of arrays `[series, units]`, the first of which is what the layer puts out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
from keras import ops

from forecaster.config import CellKind

Tensor = Any
State = tuple[Tensor, ...]
Product = Callable[[Tensor, Any], Tensor]  # of rows and a kernel, at the precision of serving


class Cell(NamedTuple):
    """A kind of cell: Keras' `layer`, what its `state` arrays are called, and one `step`.

    `step(weights, from_input, state, product)` takes the weights of Keras' cell, the `input_bias` and products of
    the inputs `[series, gates]`, and returns the state to come.
    """

    layer: type[Any]
    state: tuple[str, ...]
    input_bias: Callable[[Any], Tensor]
    step: Callable[[Any, Tensor, State, Product], State]

    def projected(self, weights: Any, inputs: Tensor, product: Product) -> Tensor:
        """What the inputs bring to the gates: it does not depend on the state."""
        return product(inputs, weights.kernel) + self.input_bias(weights)

    def scan(self, weights: Any, inputs: Tensor, valid: Tensor, start: State, product: Product) -> tuple[Tensor, State]:
        """The layer's output `[series, rounds, units]` along `inputs` `[series, rounds, …]`, and its last state."""
        every, last = self.states(weights, inputs, valid, start, product)
        return every[0], last

    def states(
        self, weights: Any, inputs: Tensor, valid: Tensor, start: State, product: Product
    ) -> tuple[State, State]:
        """The layer's state `[series, rounds, units]` after each round of `inputs`, and the last one.

        Rounds where `valid` `[series, rounds]` is false leave the state alone. The products of the inputs are taken
        for all rounds at once.
        """

        def one(state: State, row: tuple[Tensor, Tensor]) -> tuple[State, State]:
            from_input, is_valid = row
            after = self.step(weights, from_input, state, product)
            kept = tuple(ops.where(is_valid, new, old) for new, old in zip(after, state, strict=True))
            return kept, kept  # Keras on TensorFlow wants outputs made as the state is

        projected = ops.swapaxes(self.projected(weights, inputs, product), 0, 1)
        last, every = ops.scan(one, start, (projected, ops.expand_dims(ops.swapaxes(valid, 0, 1), -1)))
        return tuple(ops.swapaxes(rounds, 0, 1) for rounds in every), last


def gru_step(weights: Any, from_input: Tensor, state: State, product: Product) -> State:
    """Gated recurrent unit (Cho et al. 2014) in the `reset_after` form, which cuDNN has: `(hidden,)`."""
    (hidden,) = state
    units = weights.units
    from_hidden = product(hidden, weights.recurrent_kernel) + ops.convert_to_tensor(weights.bias)[1]
    update = ops.sigmoid(from_input[:, :units] + from_hidden[:, :units])
    reset = ops.sigmoid(from_input[:, units : 2 * units] + from_hidden[:, units : 2 * units])
    candidate = ops.tanh(from_input[:, 2 * units :] + reset * from_hidden[:, 2 * units :])
    return (candidate + update * (hidden - candidate),)


def lstm_step(weights: Any, from_input: Tensor, state: State, product: Product) -> State:
    """Long short-term memory (Hochreiter and Schmidhuber 1997, forget gate of Gers et al. 2000): `(hidden, cell)`."""
    hidden, cell = state
    gates = from_input + product(hidden, weights.recurrent_kernel)
    admit, forget, candidate, expose = ops.split(gates, 4, axis=-1)
    cell = ops.sigmoid(forget) * cell + ops.sigmoid(admit) * ops.tanh(candidate)
    return ops.sigmoid(expose) * ops.tanh(cell), cell


CELLS: dict[CellKind, Cell] = {
    "gru": Cell(keras.layers.GRU, ("hidden",), lambda weights: ops.convert_to_tensor(weights.bias)[0], gru_step),
    "lstm": Cell(
        keras.layers.LSTM, ("hidden", "hidden.cell"), lambda weights: ops.convert_to_tensor(weights.bias), lstm_step
    ),
}
