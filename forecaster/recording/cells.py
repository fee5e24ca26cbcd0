"""From the cells of a column to numbers and series; what is neither is named by file, row and column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from forecaster.errors import ConfigError
from forecaster.recording.ticks import numbered
from forecaster.records import Float, Int

MISSING = frozenset(("", "na", "n/a", "nan", "null", "none"))
SPELT = {text: "nan" for word in MISSING for text in (word, word.upper(), word.title())}
NUMBERS = "iufb"

Column = list[str] | NDArray[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """Some rows of the file at `path`: columns by name, as texts or as an array, and each row's number in the file."""

    path: Path
    rows: Sequence[int]
    columns: dict[str, Column]

    def fault(self, row: int, name: str, text: object, problem: str) -> ConfigError:
        """What is wrong with the cell of `row` (counted in this table) in column `name`, as one line."""
        return ConfigError(f"{self.path}: row {self.rows[row]}: {str(text)[:40]!r} in column {name!r} {problem}")


def numbers(table: Table, name: str, remedy: str = "") -> Float:
    """The column as float64, NaN where missing; raises `ConfigError` for what is no number of a float32.

    `remedy` is what to say then to someone who did not name the column.
    """
    column = table.columns[name]
    if isinstance(column, list):
        values = _parsed(table, name, column, remedy)
    elif column.dtype.kind in NUMBERS:
        values = column.astype(np.float64)
    else:
        raise table.fault(0, name, column[0], f"is no number{remedy}")
    with np.errstate(over="ignore"):
        infinite = np.isinf(values.astype(np.float32))
    if infinite.any():
        row = int(infinite.argmax())
        raise table.fault(row, name, column[row], "does not fit a float32")
    return values


def _parsed(table: Table, name: str, texts: list[str], remedy: str) -> Float:
    try:
        return np.fromiter(map(float, map(SPELT.get, texts, texts)), np.float64, len(texts))
    except ValueError:
        return np.array([_number(table, name, row, text, remedy) for row, text in enumerate(texts)])


def _number(table: Table, name: str, row: int, text: str, remedy: str) -> float:
    if text.strip().lower() in MISSING:
        return np.nan
    try:
        return float(text)
    except ValueError:
        raise table.fault(row, name, text, f"is no number{remedy}") from None


def code_cells(table: Table, name: str) -> list[str | None]:
    """The column as codes, None where a cell is empty; raises `ConfigError` for what is neither text nor whole."""
    column = table.columns[name]
    if isinstance(column, list):
        return [text or None for text in column]
    if column.dtype.kind not in NUMBERS:
        raise table.fault(0, name, column[0], "is no code")
    values = column.astype(np.float64)
    fractions = np.flatnonzero(values % 1 != 0)
    for row in fractions[~np.isnan(values[fractions])][:1].tolist():
        raise table.fault(row, name, column[row], "is no code: those are texts or whole numbers")
    return [None if np.isnan(value) else str(int(value)) for value in values]


def labels(table: Table, name: str) -> tuple[list[str], Int]:
    """The different texts of the column in order of appearance, and each row's place among them."""
    column = table.columns[name]
    texts = column if isinstance(column, list) else _texts(column)
    names, places = numbered(texts)
    if "" in names:
        raise table.fault(texts.index(""), name, "", "is no series")
    return names, places


def _texts(column: NDArray[Any]) -> list[str]:
    return ["" if value is None or value != value else str(value) for value in column.tolist()]  # noqa: PLR0124  # NaN
