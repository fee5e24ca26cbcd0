"""Recorded ticks as rows of observations, made by the very steps that serve: the windows of the daemon.

Rows of one run stand together, in time order, and runs of one series beside each other. What does not
fit into memory is kept in scratch files, which vanish with the process.
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.recording import Recording
from forecaster.records import Float, Int
from forecaster.windows import Block, Windows
from training.left_out import LeftOut

IN_MEMORY = 64 << 20  # bytes of one array from which on it is a file
COUNTED = 1 << 20  # rows by which time is cut
ROW = [("slot", "i8"), ("index", "i8"), ("value", "f8"), ("fresh", "?")]


class Scratch:
    """Room for large arrays: memory, or unnamed files in `folder` (the system's own folder for such if None)."""

    def __init__(self, folder: Path | None = None, in_memory: int = IN_MEMORY) -> None:
        self._folder, self.in_memory = folder, in_memory

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """An array of `shape` that holds nothing but 0; raises `ConfigError` where the disk has no room."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size <= self.in_memory:
            return np.zeros(shape, dtype)
        with self._readable_faults(), self.file() as file:
            os.posix_fallocate(file.fileno(), 0, size)  # a full disk is told now, not by a signal later
            return np.memmap(file, dtype, "r+", shape=shape)

    def file(self) -> IO[bytes]:
        """A file without a name, which is gone when it is closed."""
        with self._readable_faults():
            return tempfile.TemporaryFile(dir=self._folder)

    @contextmanager
    def _readable_faults(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ConfigError(f"{self._folder or tempfile.gettempdir()}: no scratch file: {error.strerror}") from error


class Spool:
    """Blocks of rows of one kind, in the order they came: in memory while they are few, then in a scratch file."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch, self._blocks, self._lengths = scratch, list[np.ndarray](), list[int]()
        self._file: IO[bytes] | None = None
        self.dtype = np.dtype(ROW)  # of the blocks

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, rows: np.ndarray) -> None:
        """Take `rows` as the next block."""
        self.dtype = rows.dtype
        self._blocks.append(rows)
        if sum(block.nbytes for block in self._blocks) > self._scratch.in_memory:
            self._file = self._file or self._scratch.file()
            for block in self._blocks:
                block.tofile(self._file)
                self._lengths.append(len(block))
            self._blocks.clear()

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._file is not None:
            self._file.flush()
            low = 0
            for length in self._lengths:
                yield self._read(self._file, low, length)
                low += length
        yield from self._blocks

    def _read(self, file: IO[bytes], low: int, length: int) -> np.ndarray:
        kind = self.dtype
        return np.memmap(file, kind, "r", low * kind.itemsize, length) if length else np.zeros(0, kind)


@dataclass(frozen=True, slots=True)
class Sequences:
    """Runs of observations without a restart between, one after another.

    Of each run: the series' name, its `first` row, `length`, and the grid `index` of its first row. Where series have
    several `channels`, a run is of one of them, whose place is in `channel` `[runs]`, and so is its name.
    Of each row: `value`, NaN where it is missing, `origin_ms`, event time in epoch milliseconds, and `covariates`
    `[rows, covariates]` as they are at its own step.
    """

    names: list[str]
    first: Int
    length: Int
    index: Int
    value: Float
    origin_ms: Int
    covariates: Float
    channel: Int
    channels: int = 0

    def rows(self, run: int) -> slice:
        """Rows of `run`."""
        return slice(int(self.first[run]), int(self.first[run] + self.length[run]))

    def run_of(self, row: Int) -> Int:
        """The run that each `row` `[n]` belongs to."""
        return np.searchsorted(self.first, row, "right") - 1

    def by_series(self) -> dict[str, list[int]]:
        """The runs of each series, by name."""
        runs: dict[str, list[int]] = {}
        for run, name in enumerate(self.names):
            runs.setdefault(name, []).append(run)
        return runs

    def covariates_ahead(self, row: Int, horizon: int) -> Float:
        """What they are at the next `horizon` rows of the run of each `row` `[n]`: `[n, horizon, covariates]`."""
        run = self.run_of(row)
        last = (self.first[run] + self.length[run] - 1)[:, None]
        ahead = row[:, None] + np.arange(1, horizon + 1)
        return np.where((ahead <= last)[..., None], self.covariates[np.minimum(ahead, last)], np.nan)

    def before(self, time_ms: int) -> Int:
        """How many rows of each run lie before event time `time_ms` `[runs]`."""
        runs = range(len(self.first))
        counts = (int(np.searchsorted(self.origin_ms[self.rows(run)], time_ms)) for run in runs)
        return np.fromiter(counts, np.int64, len(runs))


@dataclass(frozen=True, slots=True)
class Split:
    """Event times that end the training part and the validation part, in epoch milliseconds."""

    train_end_ms: int
    validation_end_ms: int


def sequences(
    parts: Iterable[Recording], settings: Settings, scratch: Scratch | None = None, left_out: LeftOut | None = None
) -> Sequences:
    """Push the ticks of `parts` through the event time of serving and put the observations in order.

    What event time refuses is counted in `left_out`.
    """
    scratch, left_out = scratch or Scratch(), left_out or LeftOut()
    stream, length, given = settings.stream, settings.model.context_length, settings.input
    windows = Windows(stream, length, covariates=len(given.covariates), channels=given.channels)
    with Spool(scratch) as spool:
        for read in parts:
            part = left_out.positive(read) if settings.model.transform == "log" else read
            part = left_out.open(part, windows.grid)
            names = [part.names[n] for n in part.series.tolist()]
            where = np.full(len(part), part.partition)
            outcome, block = windows.admit(where, names, part.time_ms, part.value, part.covariates)
            left_out.add(part, outcome)
            spool.append(_rows(windows.channels.spread(block)[0]))
        if not any(len(rows) for rows in spool):
            raise left_out.nothing_complete()
        return _ordered(spool, windows, scratch)


def _rows(block: Block) -> np.ndarray:
    given = np.zeros((len(block), 0)) if block.covariates is None else block.covariates
    rows = np.zeros(len(block), np.dtype([*ROW, ("covariates", "f8", given.shape[1:])]))
    for name, _ in ROW:
        rows[name] = getattr(block, name)
    rows["covariates"] = given
    return rows


def _ordered(spool: Spool, windows: Windows, scratch: Scratch) -> Sequences:
    """Rows by series: the place of each is known once all of them have been counted."""
    names, channels = windows.channels.row_names(windows.slots.names), windows.channels
    series = len(names)
    total = sum((np.bincount(rows["slot"], minlength=series) for rows in spool), np.zeros(series, np.int64))
    count = int(total.sum())
    place = np.concatenate([[0], np.cumsum(total)[:-1]])
    value, origin_ms = scratch.zeros((count,), np.float64), scratch.zeros((count,), np.int64)
    covariates = scratch.zeros((count, *spool.dtype["covariates"].shape), np.float64)
    starts = [np.zeros((3, 0), np.int64)]
    for rows in spool:
        slot = rows["slot"]  # ascends: a block has the rows of one series together
        row = place[slot] + np.arange(len(rows)) - np.searchsorted(slot, slot)
        value[row], origin_ms[row] = rows["value"], windows.grid.origin_ms(rows["index"])
        covariates[row] = rows["covariates"]
        place += np.bincount(slot, minlength=series)
        fresh = rows["fresh"]
        starts.append(np.stack([row[fresh], slot[fresh], rows["index"][fresh]]))
    first, slot, index = (every := np.concatenate(starts, axis=1))[:, np.argsort(every[0])]
    length = np.diff(np.append(first, count))
    of_runs = [names[n] for n in slot.tolist()], first, length, index
    return Sequences(*of_runs, value, origin_ms, covariates, slot % channels.width, len(channels.names))


def spread(first: Int, length: Int, most: int) -> Int:
    """Up to `most` rows, evenly spread over the stretches of `length` rows from each of `first` on."""
    end = np.cumsum(length)
    place = np.unique(np.linspace(0, end[-1] - 1, min(most, int(end[-1]))).astype(np.int64))
    stretch = np.searchsorted(end, place, "right")
    rows: Int = first[stretch] + place - (end - length)[stretch]
    return rows


def split_by_time(data: Sequences, train_fraction: float, validation_fraction: float) -> Split:
    """Cut time where these shares of the observations lie before: every series at the same two moments.

    A market's weekend or a sensor's outage counts for nothing; more than `COUNTED` rows are sampled.
    """
    times = np.sort(data.origin_ms[spread(data.first, data.length, COUNTED)])
    places = (np.cumsum([train_fraction, validation_fraction]) * len(times)).astype(np.int64)
    train_end, validation_end = np.append(times, times[-1] + 1)[np.minimum(places, len(times))].tolist()
    return Split(train_end, validation_end)
