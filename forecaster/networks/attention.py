"""Attention over the outputs of an encoder (Bahdanau et al. 2015, Luong et al. 2015): which past steps matter now.

Scores are dot products, or additive through a hidden layer; either way the query is the decoder's new state, and
what is attended to joins it in a layer of its own, as Luong has it. Padding has weight 0.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import keras
import numpy as np
from keras import ops

if TYPE_CHECKING:
    from forecaster.config import AttentionKind

Tensor = Any
NEVER = -1e9  # the score of padding: its weight is 0 in float32


class Memory(NamedTuple):
    """An encoder's outputs and the keys for queries, both `[batch, steps, units]`; `mask` `[batch, steps]`."""

    outputs: Tensor
    keys: Tensor
    mask: Tensor


class Attention(keras.layers.Layer):  # type: ignore[misc]  # keras ships no types
    """Attention of `units` wide queries to outputs as wide."""

    def __init__(self, kind: "AttentionKind", units: int, seed: int) -> None:
        super().__init__(name="attention")
        self._additive, self._units, self._seed = kind == "additive", units, seed

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make the weights."""
        units = self._units

        def drawn(name: str, rows: int, columns: int, number: int) -> Any:
            uniform = keras.initializers.GlorotUniform(self._seed + number)
            return self.add_weight(shape=(rows, columns), initializer=uniform, name=name)

        if self._additive:
            self.query, self.key = drawn("query", units, units, 0), drawn("key", units, units, 1)
            self.score = drawn("score", units, 1, 2)
        self.joined = drawn("joined", 2 * units, units, 3)
        self.built = True

    def memory(self, outputs: Tensor, length: Tensor) -> Memory:
        """What can be attended to: the first `length` `[batch]` of an encoder's `outputs`."""
        keys = ops.matmul(outputs, ops.convert_to_tensor(self.key)) if self._additive else outputs
        steps = ops.convert_to_tensor(np.arange(outputs.shape[1], dtype=np.int32))
        return Memory(outputs, keys, steps < ops.expand_dims(length, -1))

    def weights(self, queries: Tensor, memory: Memory) -> Tensor:
        """The share of each step `[batch, queries, steps]` for `queries` `[batch, queries, units]`; they sum to 1."""
        if self._additive:
            asked = ops.expand_dims(ops.matmul(queries, ops.convert_to_tensor(self.query)), 2)
            hidden = ops.tanh(asked + ops.expand_dims(memory.keys, 1))
            scores = ops.squeeze(ops.matmul(hidden, ops.convert_to_tensor(self.score)), -1)
        else:
            scores = ops.matmul(queries, ops.swapaxes(memory.keys, 1, 2)) / self._units**0.5
        return ops.softmax(ops.where(ops.expand_dims(memory.mask, 1), scores, NEVER), axis=-1)

    def joined_with(self, state: Tensor, memory: Memory) -> Tensor:
        """The attentional state `[batch, units]`: `state` joined with what it attends to."""
        queries = ops.expand_dims(state, 1)
        context = ops.squeeze(ops.matmul(self.weights(queries, memory), memory.outputs), 1)
        return ops.tanh(ops.matmul(ops.concatenate([context, state], -1), ops.convert_to_tensor(self.joined)))
