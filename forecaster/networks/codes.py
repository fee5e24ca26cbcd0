"""The networks for streams of codes in Keras 3 operations: an embedding, GRU layers with carried state, a softmax.

Many-to-one they give the probability of each label, many-to-many that of each code to come next; from there they
generate: a code is drawn, taken for the next input, and so on.
"""

from typing import Any

import keras
from keras import ops

from forecaster.engines.sampling import draw
from forecaster.networks.from_state import StateNetwork

Tensor = Any
MISSING = -1  # in place of an id: nothing was observed, and the state stays as it is
WIDEST = 32  # of an embedding


class CodeNetwork(StateNetwork):
    """Takes ids `[…, 1]` of the vocabulary, from 1 on, 0 for a code that it has not, `MISSING` for none."""

    def _make_head(self, drawn: int) -> None:
        settings = self.settings
        codes, labels = len(settings.vocabulary), len(settings.labels)
        self.embedding = keras.layers.Embedding(
            codes + 1,
            min(codes + 1, WIDEST),
            embeddings_initializer=keras.initializers.RandomNormal(0, 0.3, seed=drawn + 2),
            name="embedding",
        )
        self.outputs = {0: codes, 2: 1}.get(labels, labels)
        self.output_layer = keras.layers.Dense(
            self.outputs, kernel_initializer=keras.initializers.GlorotUniform(drawn + 200), name="output"
        )

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        return [self.embedding, *self.recurrent, self.output_layer]

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make all weights; `input_shape` is `(None, None, 1)`."""
        self.embedding.build((None, None))
        self._build_layers(self.embedding.output_dim)
        self.built = True

    def call(self, inputs: Tensor, training: bool | None = None) -> Tensor:  # type: ignore[override]  # noqa: FBT001  # a code has no profiles
        """Logits `[batch, rounds, outputs]` at every round of `inputs` `[batch, rounds, 1]`, none of them missing."""
        return self.logits(self.hidden(self.embedded(inputs), training=training))

    def embedded(self, inputs: Tensor) -> Tensor:
        """The vectors `[…, width]` of ids `[…, 1]`."""
        ids = ops.cast(ops.maximum(inputs[..., 0], 0), "int32")
        return ops.take(ops.convert_to_tensor(self.embedding.embeddings), ids, axis=0)

    def below(self, inputs: Tensor) -> Tensor:
        """The vectors of ids."""
        return self.embedded(inputs)

    def observed(self, inputs: Tensor, valid: Tensor) -> Tensor:
        """Rounds with a code."""
        return valid & (inputs[..., 0] >= 0)

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits `[…, outputs]` from the last layer's output."""
        return self._product(hidden, self.output_layer.kernel) + self.output_layer.bias

    def probabilities(self, hidden: Tensor) -> Tensor:
        """Of each label, or of each code to come next, `[…, labels or codes]`, from the last layer's output."""
        logits = self.logits(hidden)
        if self.outputs > 1:
            return ops.softmax(logits, axis=-1)
        second = ops.sigmoid(logits)
        return ops.concatenate([1.0 - second, second], axis=-1)

    def head(self, hidden: Tensor, *uniform: Tensor) -> list[Tensor]:
        """Probabilities `[series, labels or codes]` from the whole state `[series, width]`.

        With numbers `uniform` `[series, horizon, paths]` also the ids of as many codes, drawn one after another.
        """
        state = self.parts_of(hidden)
        found = [self.probabilities(self.output_of(state))]
        return [*found, self._continued(state, *uniform)] if uniform else found

    def _continued(self, state: list[Tensor], uniform: Tensor) -> Tensor:
        """Ids `[series, horizon, paths]`: each path goes on from the state by itself."""
        series, horizon, paths = uniform.shape

        def step(before: list[Tensor], row: Tensor) -> tuple[list[Tensor], list[Tensor]]:
            *now, _ = before
            place, _ = draw(self.logits(self.output_of(now)), row, self.sampling)
            drawn = place + 1
            after = self.moved(now, ops.take(ops.convert_to_tensor(self.embedding.embeddings), drawn, axis=0))
            return [*after, drawn], [*after, drawn]  # Keras keeps of each round what is carried, and nothing else

        start = [*(ops.repeat(part, paths, axis=0) for part in state), ops.zeros(series * paths, "int32")]
        rows = ops.reshape(ops.swapaxes(uniform, 0, 1), (horizon, series * paths))
        drawn = ops.scan(step, start, rows)[1][-1]
        return ops.swapaxes(ops.reshape(drawn, (horizon, series, paths)), 0, 1)
