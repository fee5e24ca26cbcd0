"""A Parquet file as tables of a bounded size, through pyarrow, which is imported only here."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.errors import ConfigError
from forecaster.recording.cells import Column, Table

CELLS = 200_000  # of a table


class ParquetFile:
    """The columns of an open file as its `header`, and its rows; the first one is row 1."""

    def __init__(self, path: Path) -> None:
        try:
            import pyarrow as pa  # noqa: PLC0415  # an extra
            from pyarrow import parquet  # noqa: PLC0415
        except ImportError:
            raise ConfigError(f'{path}: reading Parquet needs pyarrow: pip install "forecaster[parquet]"') from None
        self.path, self._pa = path, pa
        try:
            # ahead of the reader it would hold whole row groups, however small the batches
            self._file: Any = parquet.ParquetFile(path, pre_buffer=False, buffer_size=2**20)
        except (OSError, pa.ArrowException) as error:
            raise self._unreadable(error) from error
        self.header: list[str] = self._file.schema_arrow.names

    def close(self) -> None:
        self._file.close()

    def tables(self, names: Sequence[str]) -> Iterator[Table]:
        """The rows with the columns `names`, in order; raises `ConfigError` for a column of an unknown type."""
        first = 1
        size = max(1, CELLS // len(names))
        try:
            for batch in self._file.iter_batches(size, columns=list(names), use_threads=False):
                rows = range(first, first + batch.num_rows)
                yield Table(self.path, rows, {name: self._column(name, batch.column(name)) for name in names})
                first += batch.num_rows
        except (OSError, self._pa.ArrowException) as error:
            raise self._unreadable(error) from error

    def _column(self, name: str, array: Any) -> Column:
        """Numbers and times as an array with NaN or NaT for null, all else as texts with an empty one."""
        pa, types = self._pa, self._pa.types
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = array.type
        if types.is_null(kind):
            return np.full(len(array), np.nan)
        if types.is_decimal(kind):
            array = array.cast(pa.float64())
        elif types.is_date(kind):
            array = array.cast(pa.timestamp("ms"))
        elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
            return ["" if text is None else text for text in array.to_numpy(zero_copy_only=False).tolist()]
        elif not (types.is_integer(kind) or types.is_floating(kind) or types.is_timestamp(kind)):
            raise ConfigError(f"{self.path}: column {name!r} holds {kind}, neither times nor numbers nor text")
        column: np.ndarray = array.to_numpy(zero_copy_only=False)
        return column

    def _unreadable(self, error: BaseException) -> ConfigError:
        return ConfigError(f"{self.path}: cannot be read as Parquet: {error}")
