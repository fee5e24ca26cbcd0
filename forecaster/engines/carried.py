"""Inference with carried state: one compiled call gathers nothing twice, scans the rounds and forecasts.

A tile of one round, which is what a live stream brings, is one call from state to quantiles. One of several
rounds is a scan, and the outputs are made for the cells that are forecast from.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from forecaster.channels import with_channel
from forecaster.engines.compiling import Compiler, compile_function, faster, on_accelerator, to_numpy
from forecaster.engines.hidden import DeviceHidden, Hidden, HostHidden
from forecaster.engines.shapes import Shape, Shapes, pad_rows, rung
from forecaster.engines.tile import Scaled, Stage, Tile
from forecaster.features.running import FeatureStep
from forecaster.networks.many_to_many import Network
from forecaster.records import Bool, Float, Int
from forecaster.telemetry.logs import event

if TYPE_CHECKING:
    from forecaster.config import Aggregate, Precision

SERIES_LADDER = (2, 16, 128, 1024, 4096)
ROUNDS_LADDER = (1, 8, 64, 512)
MOST_CELLS = 16_384  # series × rounds of one call: bounds the memory of a tile
ON_ACCELERATOR = (16_384, 65_536)  # rungs that pay where a call of this size takes no longer than a small one
CHECKED_ROUNDS = 64  # over which the error of half precision is shown
TRIED = 1024  # series of the call that compilers are compared by


class Engine:
    """The network with the hidden state of every slot.

    With `resident` there is room for so many slots on the device, which keeps their state.
    """

    def __init__(self, network: Network, resident: int | None = None) -> None:
        self.network = network
        widths = list(network.state_widths.values())
        self.hidden: Hidden = HostHidden(widths) if resident is None else DeviceHidden(widths, resident)
        wide, cells = (ON_ACCELERATOR, ON_ACCELERATOR[-1]) if on_accelerator() else ((), MOST_CELLS)
        self.shapes = Shapes((*SERIES_LADDER, *wide), ROUNDS_LADDER, cells)
        self.compiled_shapes = 0
        self.window_steps = Counter[str]()  # of networks over windows
        self._resident = resident
        self._compile("xla")
        self._compiling = self._compile_all()

    @property
    def width(self) -> int:
        """Of what `advance` returns of a round."""
        return self.network.settings.units[-1]

    def _compile(self, compiler: Compiler) -> None:
        self._compiler = compiler
        self._step = self.hidden.compile(self._counted(self.network.step), compiler)
        self._advance = self.hidden.compile(self._counted(self.network.advance), compiler)
        self._head = compile_function(self._counted(self.network.head), compiler)

    def _counted(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def traced(*arguments: Any) -> Any:
            self.compiled_shapes += 1  # Python code of a compiled function runs only while it is traced
            return function(*arguments)

        return traced

    def warm_up(self) -> None:
        """Choose the compiler, and compile what can serve everything: the shapes of one round.

        State on the device is not to be touched from two threads: there all shapes are compiled at once.
        """
        compiler, seconds = faster(self.network.step, [self._nothing_carried(), *self._zeros(TRIED)])
        self._compile(compiler)
        self.shapes.ready = []
        singles = len(self._singles())
        while (self._resident is not None or len(self.shapes.ready) < singles) and self.compile_next():
            pass
        milliseconds = ", ".join(f"{name} {1_000 * value:.2f}" for name, value in seconds.items())
        event("engine_compiled", compiler=compiler, series=TRIED, milliseconds=milliseconds)
        if self.network.precision != "float32":
            event("half_precision", precision=self.network.precision, largest_error_in_scales=self._half_error())

    def _half_error(self) -> float:
        """By how much quantiles at the network's precision differ at most from those in float32, over some rounds."""
        half, settings, found = self.network.precision, self.network.settings, []
        rounds = np.random.default_rng(0).normal(size=(CHECKED_ROUNDS, TRIED, settings.inputs)).astype(np.float32)
        recent = self._zeros(TRIED)[1]
        precisions: tuple[Precision, ...] = "float32", half
        for precision in precisions:
            self.network.precision = precision
            step = compile_function(self.network.step)
            state: Any = self._nothing_carried()
            for inputs in rounds:
                quantiles, state = step(state, inputs, recent)
            found.append(to_numpy(quantiles))
        return float(np.abs(found[0] - found[1]).max())

    def _nothing_carried(self) -> list[np.ndarray]:
        return [np.zeros((TRIED, width), np.float32) for width in self.network.state_widths.values()]

    def compile_next(self) -> bool:
        """Compile one more of the shapes, which is used from then on; False where there is none left.

        It may run on another thread than `forecast`.
        """
        return next(self._compiling, False)

    def _compile_all(self) -> Iterator[bool]:
        yield from self._compile_steps()
        yield from self._compile_heads()
        yield from self._compile_scans()

    def _compile_steps(self) -> Iterator[bool]:
        for shape in self._singles():
            self.hidden.carry(self._step, np.zeros(0, np.int64), shape.series, *self._zeros(shape.series))
            self.shapes.ready = [*self.shapes.ready, shape]
            yield True

    def _compile_heads(self) -> Iterator[bool]:
        for rows in self.shapes.series:
            hidden = np.zeros((rows, self.width), np.float32)
            self._head(hidden, *self._zeros(rows))
            yield True

    def _compile_scans(self) -> Iterator[bool]:
        for shape in [shape for shape in self.shapes.all() if shape.rounds > 1]:
            inputs = np.zeros((*shape, self.network.settings.inputs), np.float32)
            self.hidden.carry(self._advance, np.zeros(0, np.int64), shape.series, inputs, np.zeros(shape, bool))
            self.shapes.ready = [*self.shapes.ready, shape]
            yield True

    def _singles(self) -> list[Shape]:
        return [shape for shape in self.shapes.all() if shape.rounds == 1]

    def _zeros(self, rows: int) -> tuple[np.ndarray, ...]:
        """Inputs, and what is known of the steps ahead, of so many rows."""
        settings = self.network.settings
        ahead = np.zeros((rows, settings.outputs, settings.ahead), np.float32)
        return np.zeros((rows, settings.inputs), np.float32), ahead

    def rows(self, slot: Int) -> dict[str, np.ndarray]:
        """A copy of the state of `slot` by name."""
        return dict(zip(self.network.state_widths, self.hidden.read(slot), strict=True))

    def put(self, slot: Int, rows: Mapping[str, np.ndarray]) -> None:
        """Make `rows`, as `rows` gave them, the state of `slot`."""
        self.hidden.write(slot, [rows[name] for name in self.network.state_widths])

    def grow(self, capacity: int) -> None:
        """Make room for slots below `capacity`; more than were meant to be on the device is compiled for anew."""
        if self._resident is not None and capacity > self._resident:
            slots = np.arange(self._resident)
            kept, self._resident = self.hidden.read(slots), capacity
            self.hidden = DeviceHidden(list(self.network.state_widths.values()), capacity)
            self.hidden.write(slots, kept)
            self._compile(self._compiler)
        self.hidden.grow(capacity)

    def forget(self, slots: Int) -> None:
        """Return `slots` to the state before the first observation."""
        if len(slots):
            self.hidden.write(slots, [0.0] * len(self.network.state_widths))

    def forecast(self, tile: Tile, stage: Stage) -> Scaled:
        """Scaled quantiles at the tile's cells, on their way; every state moves on to its last round."""
        ahead, (series, rounds) = self._ahead(), tile.valid.shape
        with stage("features"):
            inputs = self.inputs(tile.step, tile.values)
        if rounds == 1:
            with stage("features"):
                known = tile.step.ahead(np.arange(series), np.zeros(series, np.int64), *ahead)
            with stage("infer"):
                return Scaled([self.step(tile.slot, inputs[:, 0], known)], tile.row)
        with stage("infer"):
            hidden = self.advance(tile.slot, inputs, tile.valid)
            known = tile.step.ahead(tile.row, tile.column, *ahead)
            return self.head(hidden[tile.row, tile.column], inputs[tile.row, tile.column], known)

    def inputs(self, step: FeatureStep, values: Float) -> np.ndarray:  # noqa: ARG002  # of numbers the features tell all
        """What the network takes, `[series, rounds, inputs]`, of `values` `[series, rounds]` with their features."""
        channels = len(self.network.settings.channels)
        return with_channel(step.inputs(), step.slot[:, None] % channels) if channels else step.inputs()

    def baseline(self, tile: Tile) -> Float:
        """Level plus profiles of the next steps, or their aggregate: `[n, outputs]`."""
        return tile.step.baseline(tile.row, tile.column, *self._ahead())

    def _ahead(self) -> tuple[int, "Aggregate | None"]:
        return self.network.settings.horizon, self.network.settings.aggregate

    def step(self, slot: Int, inputs: np.ndarray, recent: np.ndarray) -> Any:
        """Carry `slot` through one round; scaled quantiles `[rows, outputs, quantiles]`, those of `slot` first."""
        rows = rung(len(slot), self.shapes.series)
        return self.hidden.carry(self._step, slot, rows, pad_rows(inputs, rows), pad_rows(recent, rows))

    def advance(self, slot: Int, inputs: np.ndarray, valid: Bool) -> np.ndarray:
        """Carry the state of `slot` through `inputs` `[series, rounds, inputs]`.

        Returns the last layer's output `[series, rounds, units]`; rounds that are not `valid`
        leave the state alone.
        """
        series, rounds = valid.shape
        shape = self.shapes.holding(series, rounds)
        padded = np.zeros((*shape, inputs.shape[-1]), np.float32)
        mask = np.zeros(shape, bool)
        padded[:series, :rounds], mask[:series, :rounds] = inputs, valid
        output = self.hidden.carry(self._advance, slot, shape.series, padded, mask)
        return to_numpy(output)[:series, :rounds]

    def rebuild(self, slot: Int, inputs: np.ndarray, length: Int) -> None:
        """Carry the state of `slot` anew through the first `length` `[series]` rounds of `inputs`."""
        self.forget(slot)
        for runs, done, rounds in self.shapes.tiles(length):
            valid = np.arange(done, done + rounds) < length[runs][:, None]
            self.advance(slot[runs], inputs[runs, done : done + rounds], valid)

    def head(self, hidden: np.ndarray, inputs: np.ndarray, recent: np.ndarray) -> Scaled:
        """Scaled quantiles for rows of `hidden`, `inputs` and `recent`."""
        most, tensors = self.shapes.series[-1], []
        for low in range(0, len(hidden), most):
            parts = [array[low : low + most] for array in (hidden, inputs, recent)]
            rows = rung(len(parts[0]), self.shapes.series)
            tensors.append(self._head(*(pad_rows(part, rows) for part in parts)))
        return Scaled(tensors, np.arange(len(hidden)))
