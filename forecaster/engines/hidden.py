"""Hidden state of every slot: in the process' memory, or resident on the device that computes.

A network's function takes the state's rows `[series, units]` of each layer and its inputs, and returns an
output and the rows to come. Either store runs it over the rows of some slots.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from keras import ops

from forecaster.engines.compiling import Compiler, Resident, compile_function, to_numpy
from forecaster.engines.shapes import pad_rows
from forecaster.records import Int
from forecaster.series import copied, with_room

PIECE = 1024  # slots read or written at once on a device: one shape

Function = Callable[..., Any]


class Hidden(Protocol):
    """Rows of hidden state by layer, float32 `[units]` each."""

    def compile(self, function: Function, compiler: Compiler) -> Function:
        """`function` made ready to be carried."""

    def carry(self, function: Function, slot: Int, rows: int, *inputs: np.ndarray) -> Any:
        """Run a compiled `function` over the rows of `slot`, padded to `rows`; its output, as a tensor."""

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`."""

    def read(self, slot: Int) -> list[np.ndarray]:
        """A copy of the rows of `slot`, `[series, units]` by layer."""

    def write(self, slot: Int, layers: Sequence[np.ndarray | float]) -> None:
        """Make `layers`, `[series, units]` each or one number for all, the rows of `slot`."""


class HostHidden:
    """Rows in this process' memory: gathered and scattered around each call."""

    def __init__(self, units: Sequence[int]) -> None:
        self.layers = [np.zeros((0, width), np.float32) for width in units]

    def compile(self, function: Function, compiler: Compiler) -> Function:
        """Implement `Hidden.compile`."""
        return compile_function(function, compiler)

    def carry(self, function: Function, slot: Int, rows: int, *inputs: np.ndarray) -> Any:
        """Implement `Hidden.carry`."""
        output, carried = function([pad_rows(layer[slot], rows) for layer in self.layers], *inputs)
        for layer, last in zip(self.layers, carried, strict=True):
            layer[slot] = to_numpy(last)[: len(slot)]
        return output

    def grow(self, capacity: int) -> None:
        """Implement `Hidden.grow`."""
        self.layers = [with_room(layer, capacity) for layer in self.layers]

    def read(self, slot: Int) -> list[np.ndarray]:
        """Implement `Hidden.read`."""
        return [copied(layer, slot) for layer in self.layers]

    def write(self, slot: Int, layers: Sequence[np.ndarray | float]) -> None:
        """Implement `Hidden.write`."""
        for layer, rows in zip(self.layers, layers, strict=True):
            layer[slot] = rows


class DeviceHidden:
    """Rows on the device: gathered and scattered inside the compiled function, which is one call.

    There is room for `capacity` slots from the start, as a larger array would be another shape to compile for.
    """

    def __init__(self, units: Sequence[int], capacity: int) -> None:
        self._units = units
        self._spare = capacity  # the row that padding goes to
        self._layers = Resident([np.zeros((capacity + 1, width), np.float32) for width in units])
        self._read = compile_function(lambda layers, slot: [ops.take(layer, slot, axis=0) for layer in layers])
        self._write = self._layers.compile(lambda layers, slot, *rows: (0, _scattered(layers, slot, rows)))

    def compile(self, function: Function, compiler: Compiler) -> Function:
        """Implement `Hidden.compile`."""

        def over_all(layers: Sequence[Any], slot: Any, *inputs: Any) -> Any:
            output, carried = function([ops.take(layer, slot, axis=0) for layer in layers], *inputs)
            return output, _scattered(layers, slot, carried)

        return self._layers.compile(over_all, compiler)

    def carry(self, function: Function, slot: Int, rows: int, *inputs: np.ndarray) -> Any:
        """Implement `Hidden.carry`."""
        return function(self._padded(slot, rows), *inputs)

    def grow(self, capacity: int) -> None:
        """Implement `Hidden.grow`; a larger store has to be another one."""
        if capacity > self._spare:
            raise ValueError(f"room for {self._spare} series on the device, {capacity} asked for")

    def read(self, slot: Int) -> list[np.ndarray]:
        """Implement `Hidden.read`."""
        found = [np.zeros((len(slot), width), np.float32) for width in self._units]
        for low in range(0, len(slot), PIECE):
            piece = slot[low : low + PIECE]
            layers = [ops.convert_to_tensor(layer) for layer in self._layers.arrays]
            for layer, rows in zip(found, self._read(layers, self._padded(piece, PIECE)), strict=True):
                layer[low : low + PIECE] = to_numpy(rows)[: len(piece)]
        return found

    def write(self, slot: Int, layers: Sequence[np.ndarray | float]) -> None:
        """Implement `Hidden.write`."""
        whole = [np.broadcast_to(np.asarray(rows, np.float32), (len(slot), width))
                 for rows, width in zip(layers, self._units, strict=True)]  # fmt: skip
        for low in range(0, len(slot), PIECE):
            piece = slot[low : low + PIECE]
            rows = [pad_rows(layer[low : low + PIECE], PIECE) for layer in whole]
            self._write(self._padded(piece, PIECE), *rows)

    def _padded(self, slot: Int, rows: int) -> np.ndarray:
        padded = np.full(rows, self._spare, np.int32)
        padded[: len(slot)] = slot
        return padded


def _scattered(layers: Sequence[Any], slot: Any, rows: Sequence[Any]) -> list[Any]:
    return [ops.scatter_update(layer, ops.expand_dims(slot, -1), row) for layer, row in zip(layers, rows, strict=True)]
