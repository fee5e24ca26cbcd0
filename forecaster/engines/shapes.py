"""The ladder of shapes that are ever compiled, and how the rounds of a batch are cut into them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from forecaster.records import Int

CALL_CELLS = 512  # what starting a call costs, in series × rounds of work
ROUND_SERIES = 4  # what a round costs in itself, in series
SHORTEST = 16  # rung of a ladder of lengths: shorter ones save next to nothing


class Shape(NamedTuple):
    """A rectangle of series and rounds."""

    series: int
    rounds: int

    @property
    def cells(self) -> int:
        return self.series * self.rounds

    @property
    def cost(self) -> int:
        """What a call of this shape costs, filled or not, in cells."""
        return self.rounds * (self.series + ROUND_SERIES * (self.rounds > 1)) + CALL_CELLS


@dataclass(slots=True)
class Shapes:
    """Rungs on both axes, no rectangle above `most_cells`; only those in `ready` are used."""

    series: tuple[int, ...]
    rounds: tuple[int, ...]
    most_cells: int
    ready: list[Shape] = field(init=False)

    def __post_init__(self) -> None:
        self.ready = self.all()

    def all(self) -> list[Shape]:
        """Every shape, those of one round first: they alone can do everything."""
        shapes = [Shape(series, rounds) for rounds in self.rounds for series in self.series]
        return [shape for shape in shapes if shape.cells <= self.most_cells]

    def holding(self, series: int, rounds: int) -> Shape:
        """The smallest shape that holds so many `series` and `rounds`."""
        return Shape(rung(series, self.series), rung(rounds, self.rounds))

    def tiles(self, length: Int) -> Iterator[tuple[Int, int, int]]:
        """Cover runs of `length` rounds by rectangles of ready shapes, as (runs, first round, rounds).

        Every run's rounds come in order. The shape of each rectangle is the one that does the most for its cost.
        """
        todo = [(np.argsort(-length, kind="stable"), 0)]
        while todo:
            runs, done = todo.pop()
            if not len(runs):
                continue
            left = length[runs] - done
            series, rounds = self._best(left)
            taken = runs[:series]
            yield taken, done, int(min(rounds, left[0]))
            todo += [(runs[series:], done), (taken[left[:series] > rounds], done + rounds)]

    def _best(self, left: Int) -> Shape:
        """The ready shape with the most rounds of `left`, longest first, for its cost."""
        ready = self.ready  # which another thread replaces while it compiles
        sums = {rounds: np.minimum(left, rounds).cumsum() for rounds in {shape.rounds for shape in ready}}

        def worth(shape: Shape) -> float:
            return float(sums[shape.rounds][min(shape.series, len(left)) - 1]) / shape.cost

        return max(ready, key=worth)


def rung(size: int, ladder: tuple[int, ...]) -> int:
    """The smallest rung of `ladder` that holds `size`."""
    return next(rung for rung in ladder if rung >= size)


def halvings(most: int, unit: int = 1) -> tuple[int, ...]:
    """A ladder of lengths up to `most`, ascending, each about half of the next: whole `unit`s, 16 or so at least."""
    pieces = [most // unit]
    while pieces[0] > 1 and pieces[0] * unit > SHORTEST:
        pieces.insert(0, -(-pieces[0] // 2))
    return tuple(piece * unit for piece in pieces)


def pad_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """`rows` with zero rows behind, `count` in all."""
    if len(rows) == count:
        return rows
    padded = np.zeros((count, *rows.shape[1:]), rows.dtype)
    padded[: len(rows)] = rows
    return padded
