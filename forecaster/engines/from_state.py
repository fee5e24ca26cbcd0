"""The engine whose answers are made of the state of all layers: probabilities, and continuations of the series."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from forecaster.engines.carried import Engine
from forecaster.engines.compiling import Compiler, compile_function, to_numpy
from forecaster.engines.sampling import keys, uniforms
from forecaster.engines.shapes import pad_rows, rung
from forecaster.engines.tile import Emitted, Pending, Stage, Tile
from forecaster.features.running import FeatureStep
from forecaster.networks.codes import MISSING, CodeNetwork
from forecaster.networks.paths import PathNetwork
from forecaster.records import Float

MOST_NUMBERS = 1 << 23  # probabilities of one round of paths: bounds the memory of a call


class StateEngine(Engine):
    """A network that goes on from its state, with the state of every slot; of these here the inputs are codes."""

    network: CodeNetwork | PathNetwork

    def __init__(self, network: CodeNetwork | PathNetwork, resident: int | None = None) -> None:
        super().__init__(network, resident)
        paths, widest = network.sampling.paths, max(network.outputs, *network.settings.units)
        most = min(self.shapes.most_cells, MOST_NUMBERS // widest)
        abreast = most // paths if self._generates else most
        few, *more = self.shapes.series
        self._rungs = few, *(rows for rows in more if rows <= abreast)
        self.heads = self._rungs  # that are used: while they are compiled one by one, those that are

    @property
    def width(self) -> int:
        """Of the whole state."""
        return sum(self.network.state_widths.values())

    @property
    def _generates(self) -> bool:
        return not self.network.settings.labels

    def _compile(self, compiler: Compiler) -> None:
        """The head by XLA in any case: it is a loop of small operations, of which XLA makes one program."""
        super()._compile(compiler)
        self._head = compile_function(self._counted(self.network.head))

    def warm_up(self) -> None:
        """Compile what can answer everything: the smallest and the largest head, and the shapes of one round."""
        self.heads = ()
        super().warm_up()

    def _compile_all(self) -> Iterator[bool]:
        ends = dict.fromkeys((self._rungs[-1], self._rungs[0]))
        yield from self._compile_rungs(ends)
        yield from self._compile_steps()
        yield from self._compile_rungs(rows for rows in self._rungs if rows not in ends)
        yield from self._compile_scans()

    def _compile_rungs(self, rungs: Iterable[int]) -> Iterator[bool]:
        for rows in rungs:
            self._head(np.zeros((rows, self.width), np.float32), *self.nothing_besides(rows))
            self.heads = tuple(sorted({*self.heads, rows}))
            yield True

    def _zeros(self, rows: int) -> tuple[np.ndarray, ...]:
        return (np.zeros((rows, self.network.settings.inputs), np.float32),)

    def nothing_besides(self, rows: int) -> tuple[np.ndarray, ...]:
        """Zeros of the shapes of `besides`, of so many rows."""
        shape = rows, self.network.settings.horizon, self.network.sampling.paths
        return (np.zeros(shape, np.float32),) if self._generates else ()

    def inputs(self, step: FeatureStep, values: Float) -> np.ndarray:  # noqa: ARG002  # a code has no features
        """Ids `[series, rounds, 1]` of `values` `[series, rounds]`."""
        return np.where(np.isnan(values), MISSING, np.rint(values))[..., None].astype(np.float32)

    def forecast(self, tile: Tile, stage: Stage) -> "Answers":  # type: ignore[override]  # of another network
        """Probabilities at the tile's cells, and continuations from there; every state moves on to its last round."""
        with stage("features"):
            inputs = self.inputs(tile.step, tile.values)
            besides = self.besides(tile, inputs)
        with stage("infer"):
            hidden = self.carried(tile, inputs)
            return self.answers(hidden[tile.row, tile.column], *besides)

    def carried(self, tile: Tile, inputs: np.ndarray) -> np.ndarray:
        """The whole state `[series, rounds, width]` after each round of `tile`."""
        if tile.valid.shape[1] > 1:
            return self.advance(tile.slot, inputs, tile.valid)
        rows = rung(len(tile.slot), self.shapes.series)
        output = self.hidden.carry(self._step, tile.slot, rows, pad_rows(inputs[:, 0], rows))
        return to_numpy(output)[: len(tile.slot), None]

    def besides(self, tile: Tile, inputs: np.ndarray) -> tuple[np.ndarray, ...]:  # noqa: ARG002  # a path begins from the state alone
        """What the head takes besides the state: numbers for paths, which series, origin and seed decide alone."""
        if not self._generates:
            return ()
        sampling = self.network.sampling
        series = [tile.names[slot] for slot in tile.slot[tile.row].tolist()]
        return (uniforms(keys(sampling.seed, series, tile.index), self.network.settings.horizon, sampling.paths),)

    def answers(self, hidden: np.ndarray, *besides: np.ndarray) -> "Answers":
        """What the network makes of rows of `hidden` and of what the head takes besides."""
        heads = self.heads  # which another thread replaces while it compiles
        most, calls = heads[-1], []
        for low in range(0, len(hidden), most):
            parts = [array[low : low + most] for array in (hidden, *besides)]
            rows = rung(len(parts[0]), heads)
            calls.append(self._head(*(pad_rows(part, rows) for part in parts)))
        return self.answered(calls, len(hidden))

    def answered(self, calls: Sequence[Any], count: int) -> "Answers":
        """The first `count` rows of what `calls` of the head gave."""
        return Answers(calls, count)

    def baseline(self, tile: Tile) -> Float:
        """Nothing: there is no number to count from."""
        return np.zeros((len(tile.row), 0))


class Answers:
    """Probabilities and ids of paths on their way from the device: the first `count` rows of `calls`, end to end."""

    def __init__(self, calls: Sequence[Sequence[Any]], count: int) -> None:
        self._calls, self._count = calls, count

    def fetch(self) -> list[np.ndarray]:
        """`[n, labels or codes]`, and where paths were drawn `[n, horizon, paths]`."""
        columns = ([to_numpy(tensor) for tensor in column] for column in zip(*self._calls, strict=True))
        return [np.concatenate(column)[: self._count] for column in columns]

    def emitted(self, fetched: list[np.ndarray], tile: Pending) -> Emitted:
        """Implement `Answer.emitted`."""
        count, (probabilities, *paths) = len(tile.row), fetched
        none = np.zeros((count, 0, 0))
        return Emitted(tile.cell, none, np.ones(count), tile.seen(), paths[0] if paths else None, probabilities)
