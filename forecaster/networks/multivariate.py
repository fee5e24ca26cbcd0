"""The network of multivariate series in Keras 3 operations: one for all channels, which tells them by an embedding."""

from typing import Any

import keras
from keras import ops

from forecaster.networks.many_to_many import Network

Tensor = Any
WIDEST = 16  # of an embedding


class ChannelNetwork(Network):
    """Takes features and behind them the number of their channel, whose embedding the first layer and the skip see.

    All embeddings begin as zeros: before it is trained, the network does the same for every channel.
    """

    def _make_head(self, drawn: int) -> None:
        super()._make_head(drawn)
        channels = len(self.settings.channels)
        self.embedding = keras.layers.Embedding(
            channels, min(channels, WIDEST), embeddings_initializer="zeros", name="channels"
        )

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        return [self.embedding, *super().parts]

    @property
    def width_below(self) -> int:
        """The features and an embedding."""
        return self.settings.inputs - 1 + int(self.embedding.output_dim)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make all weights; `input_shape` is `(None, None, inputs)`."""
        self.embedding.build((None, None))
        super().build(input_shape)

    def below(self, inputs: Tensor) -> Tensor:
        """The features of `inputs` `[…, inputs]` and the embedding of their channel, `[…, width_below]`."""
        last = len(self.settings.channels) - 1
        channel = ops.cast(ops.clip(inputs[..., -1], 0, last), "int32")  # what half precision is tried on is noise
        embedded = ops.take(ops.convert_to_tensor(self.embedding.embeddings), channel, axis=0)
        return ops.concatenate([inputs[..., :-1], embedded], axis=-1)
