"""A CSV file, plain or gzipped, as tables of a bounded size."""

import csv
import gzip
import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO

import numpy as np

from forecaster.errors import ConfigError
from forecaster.recording.cells import Table

CHARACTERS = 2**21  # of a table; its cells take twenty times as much memory
CELLS = 200_000  # of a table that is read row by row
NEWLINE, COMMA = ord("\n"), ord(",")
ERRORS = (OSError, EOFError, UnicodeDecodeError, csv.Error)


class CsvFile:
    """The `header` of an open file, and its rows, which can be read once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows = 1  # read so far, with the header
        try:
            opener = gzip.open if path.suffix == ".gz" else open
            self._file: IO[str] = opener(path, "rt", encoding="utf-8-sig")
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            self.header: list[str] = next(csv.reader(self._file), [])
        except ERRORS as error:
            self.close()
            raise self._unreadable(error) from error

    def close(self) -> None:
        self._file.close()

    def tables(self, names: Sequence[str]) -> Iterator[Table]:
        """The rows with the columns `names`, in order; raises `ConfigError` for a ragged row."""
        places = [(name, self.header.index(name)) for name in names]
        try:
            while block := self._file.read(CHARACTERS):
                block += self._file.readline()
                cells = _split(block, len(self.header))
                if cells is None:  # a quote may go on into the next block: from here on row by row
                    yield from self._slowly(chain(io.StringIO(block), self._file), places)
                    return
                yield self._table(cells, places)
        except ERRORS as error:
            raise self._unreadable(error) from error

    def _table(self, cells: list[str], places: list[tuple[str, int]]) -> Table:
        width = len(self.header)
        first, self._rows = self._rows + 1, self._rows + len(cells) // width
        return Table(self.path, range(first, self._rows + 1), {name: cells[place::width] for name, place in places})

    def _slowly(self, lines: Iterator[str], places: list[tuple[str, int]]) -> Iterator[Table]:
        """Rows of `lines` with quotes, empty lines and whatever else a CSV file may hold."""
        numbers: list[int] = []
        rows: list[list[str]] = []
        for row in csv.reader(lines):
            self._rows += 1
            if len(row) == len(self.header):
                numbers.append(self._rows)
                rows.append(row)
            elif row:
                problem = f"{len(row)} columns, the header has {len(self.header)}"
                raise ConfigError(f"{self.path}: row {self._rows}: {problem}")
            if len(rows) * len(self.header) >= CELLS:
                yield Table(self.path, numbers, {name: [row[place] for row in rows] for name, place in places})
                numbers, rows = [], []
        if rows:
            yield Table(self.path, numbers, {name: [row[place] for row in rows] for name, place in places})

    def _unreadable(self, error: BaseException) -> ConfigError:
        return ConfigError(f"{self.path}: cannot be read as CSV: {error}")


def _split(block: str, width: int) -> list[str] | None:
    """The cells of whole lines one after another; None where it takes more than cutting at commas and line ends."""
    if '"' in block or block.startswith("\n") or "\n\n" in block:
        return None
    block = block.removesuffix("\n")
    raw = np.frombuffer(block.encode(), np.uint8)
    ends = raw[(raw == COMMA) | (raw == NEWLINE)] == NEWLINE
    lines = int(np.count_nonzero(ends)) + 1
    if len(ends) != lines * width - 1 or not ends[width - 1 :: width].all():
        return None
    return block.replace("\n", ",").split(",")
