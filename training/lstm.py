"""A layer of LSTM over whole windows with a gradient by hand, for a CPU, as `training.gru` has one of GRU."""

from typing import Any

import tensorflow as tf

Tensor = Any


def lstm(cell: Any, inputs: Tensor, start: tuple[Tensor, ...] = ()) -> tuple[Tensor, ...]:
    """Hidden and cell states `[rounds, windows, units]` of `cell` along `inputs` `[rounds, windows, inputs]`.

    They go on from `start`, two of `[windows, units]`, or from zero.
    """
    zero = tf.zeros((tf.shape(inputs)[1], cell.units), inputs.dtype)
    projected = tf.tensordot(inputs, tf.convert_to_tensor(cell.kernel), 1) + tf.convert_to_tensor(cell.bias)
    states: tuple[Tensor, ...] = _recurrence(
        projected, tf.convert_to_tensor(cell.recurrent_kernel), *(start or (zero, zero))
    )
    return states


@tf.custom_gradient  # type: ignore[untyped-decorator]  # tensorflow ships no types
def _recurrence(projected: Tensor, kernel: Tensor, start: Tensor, cell_start: Tensor) -> tuple[Any, Any]:
    """Hochreiter and Schmidhuber (1997), forget gate of Gers et al. (2000), on `projected` inputs.

    These are `[rounds, windows, 4 · units]`; columns are input, forget, candidate and output, as Keras has them.
    `kernel` is `[units, 4 · units]`.
    """
    units = kernel.shape[0]
    empty = tf.zeros_like(start)

    def step(before: tuple[Tensor, ...], row: Tensor) -> tuple[Tensor, ...]:
        hidden, cell, *_ = before
        gates = row + tf.matmul(hidden, kernel)
        both = tf.sigmoid(gates[:, : 2 * units])
        admit, forget = both[:, :units], both[:, units:]
        candidate, expose = tf.tanh(gates[:, 2 * units : 3 * units]), tf.sigmoid(gates[:, 3 * units :])
        cell = forget * cell + admit * candidate
        return expose * tf.tanh(cell), cell, admit, forget, candidate, expose

    hidden, cell, admit, forget, candidate, expose = tf.scan(
        step, projected, initializer=(start, cell_start, *(empty,) * 4)
    )

    def gradient(from_above: Tensor, from_beside: Tensor) -> tuple[Tensor, ...]:
        cell_before = tf.concat([cell_start[None], cell[:-1]], 0)
        squashed = tf.tanh(cell)
        to_cell = expose * (1 - squashed**2)  # by the hidden state of its round
        to_admit = candidate * admit * (1 - admit)
        to_forget = cell_before * forget * (1 - forget)
        to_candidate = admit * (1 - candidate**2)
        to_expose = squashed * expose * (1 - expose)
        factors = tf.concat([to_admit, to_forget, to_candidate, to_expose], -1)
        turned = tf.transpose(kernel)

        def back(after: tuple[Tensor, Tensor], row: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
            of_hidden, of_cell = after
            above, beside, kept, factor, through = row
            total = above + tf.matmul(tf.concat([of_cell] * 3 + [of_hidden], 1) * factor, turned)
            return total, beside + of_cell * kept + total * through

        rows = from_above[:-1], from_beside[:-1], forget[1:], factors[1:], to_cell[:-1]
        newest = from_above[-1], from_beside[-1] + from_above[-1] * to_cell[-1]
        totals = tuple(last[None] for last in newest)
        if projected.shape[0] != 1:  # of one round there is nothing to go back along, and XLA refuses an empty loop
            earlier = tf.scan(back, rows, initializer=newest, reverse=True)
            totals = tuple(tf.concat(parts, 0) for parts in zip(earlier, totals, strict=True))
        of_hidden, of_cell = totals
        to_projected = tf.concat([of_cell] * 3 + [of_hidden], -1) * factors
        before = tf.concat([start[None], hidden[:-1]], 0)
        flat = tf.reshape(before, (-1, units)), tf.reshape(to_projected, (-1, 4 * units))
        to_start = back((of_hidden[0], of_cell[0]), (empty, empty, forget[0], factors[0], empty))
        return to_projected, tf.matmul(*flat, transpose_a=True), *to_start

    return (hidden, cell), gradient
