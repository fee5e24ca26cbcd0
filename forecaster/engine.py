"""Inference with carried state: gather, one compiled scan over the rounds, scatter.

Shapes are padded to a ladder on both axes, so that nothing is compiled once the daemon runs.
"""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from forecaster.network import Network
from forecaster.records import Bool, Float, Int
from forecaster.series import with_room
from forecaster.tile import Stage, Tile

SERIES_LADDER = (2, 16, 128, 1024)
ROUNDS_LADDER = (1, 8, 64, 512)
HEAD_LADDER = (2, 16, 128, 1024)
MOST_CELLS = 16_384  # series × rounds of one call: bounds the memory of a tile
CALL_CELLS = 512  # what starting a call costs, in cells of work


class Engine:
    """The network with the hidden state of every slot, `[layers][slots, units]` in float32."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.hidden = [np.zeros((0, units), np.float32) for units in network.settings.units]
        self.compiled_shapes = 0
        self._advance = compile_function(self._counted(network.advance))
        self._head = compile_function(self._counted(network.head))

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*arguments: Any) -> Any:
            self.compiled_shapes += 1  # Python code of a compiled function runs only while it is traced
            return function(*arguments)

        return traced

    def warm_up(self) -> None:
        """Compile every shape of the ladders."""
        inputs, units = self.network.settings.inputs, self.network.settings.units
        for series in SERIES_LADDER:
            for rounds in ROUNDS_LADDER:
                if series * rounds <= MOST_CELLS:
                    state = [np.zeros((series, n), np.float32) for n in units]
                    zeros = np.zeros((series, rounds, inputs), np.float32)
                    self._advance(zeros, np.zeros((series, rounds), bool), state)
        each_step = self.network.settings.horizon, self.network.settings.recents
        for rows in HEAD_LADDER:
            self._head(*(np.zeros((rows, *shape), np.float32) for shape in ((units[-1],), (inputs,), each_step)))

    def arrays(self) -> dict[str, np.ndarray]:
        """The hidden state by layer, slots first."""
        return {f"hidden.{layer}": hidden for layer, hidden in enumerate(self.hidden)}

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`."""
        self.hidden = [with_room(hidden, capacity) for hidden in self.hidden]

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state before the first observation."""
        for hidden in self.hidden:
            hidden[slots] = 0

    def forecast(self, tile: Tile, stage: Stage) -> np.ndarray:
        """Scaled quantiles `[n, horizon, quantiles]` at the tile's cells; every state moves on to its last round."""
        with stage("features"):
            inputs = tile.step.inputs()
        with stage("infer"):
            hidden = self.advance(tile.slot, inputs, tile.valid)
            recent = tile.step.recent(tile.row, tile.column, self.network.settings.horizon)
            return self.head(hidden[tile.row, tile.column], inputs[tile.row, tile.column], recent)

    def baseline(self, tile: Tile) -> Float:
        """Level plus profiles of the next steps, `[n, horizon]`."""
        return tile.step.baseline(tile.row, tile.column, self.network.settings.horizon)

    def advance(self, slot: Int, inputs: np.ndarray, valid: Bool) -> np.ndarray:
        """Carry the state of `slot` through `inputs` `[series, rounds, inputs]`.

        Returns the last layer's output `[series, rounds, units]`; rounds that are not `valid`
        leave the state alone.
        """
        series, rounds = valid.shape
        rows, columns = rung(series, SERIES_LADDER), rung(rounds, ROUNDS_LADDER)
        gathered = [pad_rows(hidden[slot], rows) for hidden in self.hidden]
        padded = np.pad(inputs, ((0, rows - series), (0, columns - rounds), (0, 0)))
        mask = np.pad(valid, ((0, rows - series), (0, columns - rounds)))
        output, carried = self._advance(padded, mask, gathered)
        for hidden, last in zip(self.hidden, carried, strict=True):
            hidden[slot] = keras.ops.convert_to_numpy(last)[:series]
        return np.asarray(keras.ops.convert_to_numpy(output)[:series, :rounds])

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Carry the state of `slot` anew through the first `length` `[series]` rounds of `inputs`."""
        self.forget(slot)
        for runs, done, rounds in tiles(length):
            valid = np.arange(done, done + rounds) < length[runs][:, None]
            self.advance(slot[runs], inputs[runs, done : done + rounds], valid)

    def head(self, hidden: np.ndarray, inputs: np.ndarray, recent: np.ndarray) -> np.ndarray:
        """Scaled quantiles `[n, horizon, quantiles]` for rows of `hidden`, `inputs` and `recent`."""
        settings = self.network.settings
        parts = [np.zeros((0, settings.horizon, len(settings.quantiles)), np.float32)]
        for low in range(0, len(hidden), HEAD_LADDER[-1]):
            part = slice(low, min(low + HEAD_LADDER[-1], len(hidden)))
            count = part.stop - part.start
            rows = rung(count, HEAD_LADDER)
            output = self._head(*(pad_rows(array[part], rows) for array in (hidden, inputs, recent)))
            parts.append(keras.ops.convert_to_numpy(output)[:count])
        return np.concatenate(parts)


def tiles(length: Int) -> Iterator[tuple[Int, int, int]]:
    """Cover runs of `length` rounds by rectangles of ladder shapes, as (runs, first round, rounds).

    Every run's rounds come in order. The size of each rectangle is the one that wastes least,
    counting the padding and what a call costs in itself.
    """
    longest_first = np.argsort(-length, kind="stable")
    for low in range(0, len(length), SERIES_LADDER[-1]):
        runs = longest_first[low : low + SERIES_LADDER[-1]]
        done = 0
        while len(runs):
            left = length[runs] - done
            rounds = max(ROUNDS_LADDER, key=lambda r: _efficiency(left, r))
            yield runs, done, int(min(rounds, left[0]))
            done += rounds
            runs = runs[length[runs] > done]


def _efficiency(left: Int, rounds: int) -> float:
    """Useful share of the work of one call that takes up to `rounds` of the rounds `left`."""
    cells = rung(len(left), SERIES_LADDER) * rounds
    if cells > MOST_CELLS:
        return 0.0
    return float(np.minimum(left, rounds).sum()) / (cells + CALL_CELLS)


def rung(size: int, ladder: tuple[int, ...]) -> int:
    """The smallest rung of `ladder` that holds `size`."""
    return next(rung for rung in ladder if rung >= size)


def pad_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """`rows` with zero rows behind, `count` in all."""
    return np.pad(rows, ((0, count - len(rows)), *[(0, 0)] * (rows.ndim - 1)))


def compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled by XLA once per shape, on whichever backend Keras runs."""
    if keras.backend.backend() == "jax":
        import jax  # noqa: PLC0415  # only one of the two backends is installed

        return jax.jit(function)  # type: ignore[no-any-return]
    import tensorflow as tf  # noqa: PLC0415

    return tf.function(function, jit_compile=True, autograph=False)  # type: ignore[no-any-return]
