"""A network that draws paths of values, in Keras 3 operations: a bin is drawn, taken for the next input, and so on.

What is drawn is scaled and counted from the baseline that its origin knows. The bins are unequal: each holds about
the same share of what training has seen, and inside of one all values are alike.
"""

from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.engines.sampling import draw
from forecaster.networks.from_state import StateNetwork

Tensor = Any


class PathNetwork(StateNetwork):
    """Observes features as `Network` does; along a path a bin's embedding stands in for all but the calendar terms."""

    def _make_head(self, drawn: int) -> None:
        settings = self.settings
        self.edges = np.array(settings.bins, np.float32)
        bins, self.calendar_terms = len(self.edges) - 1, 4 * len(settings.seasons)
        self.embedding = keras.layers.Embedding(
            bins,
            settings.inputs - self.calendar_terms,
            embeddings_initializer=keras.initializers.RandomNormal(0, 0.3, seed=drawn + 2),
            name="embedding",
        )
        self.outputs = bins
        self.output_layer = keras.layers.Dense(
            bins, kernel_initializer=keras.initializers.GlorotUniform(drawn + 200), name="output"
        )
        self.recent = keras.layers.Dense(bins, use_bias=False, kernel_initializer="zeros", name="recent")

    @property
    def parts(self) -> list[Any]:
        """The layers that have weights."""
        return [self.embedding, *self.recurrent, self.output_layer, *([self.recent] if self.settings.recents else [])]

    def build(self, input_shape: tuple[int | None, ...]) -> None:  # noqa: ARG002  # Keras' signature
        """Make all weights; `input_shape` is `(None, None, inputs)`."""
        self.embedding.build((None, None))
        self._build_layers(self.settings.inputs)
        if self.settings.recents:
            self.recent.build((None, self.settings.recents))
        self.built = True

    def logits(self, hidden: Tensor, recent: Tensor) -> Tensor:
        """Logits `[…, bins]` of the next value, from the last layer's output and the `recent` profiles of its step."""
        found = self._product(hidden, self.output_layer.kernel) + self.output_layer.bias
        return found + self._product(recent, self.recent.kernel) if self.settings.recents else found

    def head(self, hidden: Tensor, inputs: Tensor, recent: Tensor, uniform: Tensor) -> Tensor:  # type: ignore[override]  # numbers to draw by besides
        """Scaled values `[series, horizon, paths]`, each path drawn from the state by itself.

        `hidden` `[series, width]`, the whole state, and `inputs` `[series, inputs]` are those of the origin, `recent`
        `[series, horizon, recents]` of the steps ahead, and `uniform` `[series, horizon, paths]`.
        """
        series, horizon, paths = uniform.shape
        low, width = ops.convert_to_tensor(self.edges[:-1]), ops.convert_to_tensor(np.diff(self.edges))

        def step(before: list[Tensor], row: tuple[Tensor, Tensor, Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            *state, _ = before
            number, ahead, calendar = row
            logits = self.logits(self.output_of(state), ops.repeat(ahead, paths, axis=0))
            place, share = draw(logits, number, self.sampling)
            value = ops.take(low, place) + share * ops.take(width, place)
            after = self.moved(state, self._along(place, ops.repeat(calendar, paths, axis=0)))
            return [*after, value], [*after, value]  # Keras keeps of each round what is carried, and nothing else

        start = [*(ops.repeat(part, paths, axis=0) for part in self.parts_of(hidden)), ops.zeros(series * paths)]
        numbers = ops.reshape(ops.swapaxes(uniform, 0, 1), (horizon, series * paths))
        rows = numbers, ops.swapaxes(recent, 0, 1), ops.swapaxes(self._calendar(inputs), 0, 1)
        values = ops.scan(step, start, rows)[1][-1]
        return ops.swapaxes(ops.reshape(values, (horizon, series, paths)), 0, 1)

    def followed(self, inputs: Tensor, places: Tensor) -> Tensor:
        """Inputs `[n, horizon − 1, inputs]` along a known path: bins `places` `[n, horizon]` from origins' `inputs`."""
        return self._along(places[:, :-1], self._calendar(inputs)[:, :-1])

    def _along(self, places: Tensor, calendar: Tensor) -> Tensor:
        """The input `[…, inputs]` that a value in the bin at `places` `[…]` is, at a step with `calendar` terms."""
        return ops.concatenate(
            [ops.take(ops.convert_to_tensor(self.embedding.embeddings), places, axis=0), calendar], -1
        )

    def _calendar(self, inputs: Tensor) -> Tensor:
        """The calendar terms `[n, horizon, terms]` of the steps ahead: those of the origin's `inputs`, turned on."""
        settings = self.settings
        ahead = np.arange(1, settings.horizon + 1)
        turns = [2 * np.pi * k * ahead / season for season in settings.seasons for k in (1, 2)]
        terms = inputs[:, settings.inputs - self.calendar_terms :]
        turned = []
        for number, angle in enumerate(turns):
            sine, cosine = (terms[:, 2 * number + n][:, None] for n in (0, 1))
            by_sine, by_cosine = (ops.convert_to_tensor(of(angle)[None].astype(np.float32)) for of in (np.sin, np.cos))
            turned += [sine * by_cosine + cosine * by_sine, cosine * by_cosine - sine * by_sine]
        if not turned:
            return ops.zeros((inputs.shape[0], settings.horizon, 0))
        return ops.stack(turned, axis=-1)
