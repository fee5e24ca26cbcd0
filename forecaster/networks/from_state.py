"""What networks have in common that go on from the state of all their layers, to a label or along a path."""

from typing import Any

import numpy as np
from keras import ops

from forecaster.config import SamplingSettings
from forecaster.networks.many_to_many import Network
from forecaster.networks.spec import NetworkSettings

Tensor = Any


class StateNetwork(Network):
    """Recurrent layers whose `step` and `advance` give the whole state, and whose `head` starts from it."""

    def __init__(self, settings: NetworkSettings, seed: int = 0) -> None:
        self.sampling = SamplingSettings()
        super().__init__(settings, seed)

    def observed(self, inputs: Tensor, valid: Tensor) -> Tensor:  # noqa: ARG002  # a gap of numbers is told by its features
        """The rounds `[series, rounds]` that move the state on, of those that are `valid`."""
        return valid

    def step(self, state: list[Tensor], inputs: Tensor) -> tuple[Tensor, list[Tensor]]:  # type: ignore[override]  # the head has the rest
        """The whole state `[series, width]` after one round of `inputs` `[series, inputs]`, and its parts."""
        valid = ops.ones_like(inputs[:, :1], dtype="bool")
        hidden, carried = self.advance(state, ops.expand_dims(inputs, 1), valid)
        return hidden[:, 0], carried

    def advance(self, state: list[Tensor], inputs: Tensor, valid: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The whole state side by side `[series, rounds, width]`, and the last one in the parts of `state_widths`.

        Rounds of `inputs` `[series, rounds, inputs]` that are not observed leave the state alone.
        """
        observed, below = self.observed(inputs, valid), self.below(inputs)
        states: list[Tensor] = []
        carried: list[Tensor] = []
        for layer, start in zip(self.recurrent, self._by_layer(state), strict=True):
            every, last = self._cell.states(layer.cell, below, observed, start, self._product)
            states += every
            carried += last
            below = every[0]
        return ops.concatenate(states, axis=-1), carried

    def parts_of(self, hidden: Tensor) -> list[Tensor]:
        """The parts of the whole state `hidden` `[…, width]`."""
        ends = np.cumsum(list(self.state_widths.values()))[:-1].tolist()
        return list(ops.split(hidden, ends, axis=-1)) if ends else [hidden]

    def output_of(self, state: list[Tensor]) -> Tensor:
        """What the last layer puts out in a state."""
        return self._by_layer(state)[-1][0]

    def moved(self, state: list[Tensor], below: Tensor) -> list[Tensor]:
        """The state after a round of which the first layer takes `below` `[rows, width]`."""
        cell = self._cell
        moved: list[Tensor] = []
        for layer, start in zip(self.recurrent, self._by_layer(state), strict=True):
            after = cell.step(layer.cell, cell.projected(layer.cell, below, self._product), start, self._product)
            moved += after
            below = after[0]
        return moved
