"""Files of recorded ticks, one after another, in parts."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from forecaster.config import InputSettings
from forecaster.errors import ConfigError
from forecaster.recording.cells import labels
from forecaster.recording.csv_file import CsvFile
from forecaster.recording.layout import Columns, Layout
from forecaster.recording.parquet_file import ParquetFile
from forecaster.recording.ticks import Recording, join
from forecaster.recording.times import Times


def read_recording(paths: Sequence[Path], settings: InputSettings, columns: Columns) -> Recording:
    """All ticks of the files at `paths`, file after file, in one recording; see `read_parts`."""
    return join(read_parts(paths, settings, columns))


def read_parts(paths: Sequence[Path], settings: InputSettings, columns: Columns) -> Iterator[Recording]:
    """The ticks of the files at `paths`, file after file, a few hundred thousand at a time.

    A series name that stands in several files is told apart by the file's name; to know, several files
    are looked through for their names first: headers, and the series column of long files. Raises
    `ConfigError` with one line that names file and row.
    """
    renamed = _renamed(paths, settings, columns)
    for path, new in zip(paths, renamed, strict=True):
        for part in _read_file(path, settings, columns):
            yield replace(part, names=[new.get(name, name) for name in part.names]) if new else part


def _read_file(path: Path, settings: InputSettings, columns: Columns) -> Iterator[Recording]:
    with closing(_open(path)) as file:
        layout = Layout.choose(path, file.header, settings, columns)
        times, empty = Times(layout.time, settings), True
        for table in file.tables(layout.names):
            if len(table.rows):
                empty = False
                yield layout.ticks(table, times)
    if empty:
        raise ConfigError(f"{path}: has no rows below a header")


def _open(path: Path) -> CsvFile | ParquetFile:
    file = ParquetFile(path) if path.suffix.lower() == ".parquet" else CsvFile(path)
    if file.header:
        return file
    file.close()
    raise ConfigError(f"{path}: has no rows below a header")


def _renamed(paths: Sequence[Path], settings: InputSettings, columns: Columns) -> list[dict[str, str]]:
    """For each file the new names of those series that other files have too."""
    if len(paths) == 1:
        return [{}]
    names = [_names(path, settings, columns) for path in paths]
    files = Counter(name for of_file in names for name in of_file)
    renamed = [
        {name: f"{path.name.split('.')[0]}.{name}" for name in of_file if files[name] > 1}
        for path, of_file in zip(paths, names, strict=True)
    ]
    owner: dict[str, Path] = {}
    for path, of_file, new in zip(paths, names, renamed, strict=True):
        for name in of_file:
            other = owner.setdefault(new.get(name, name), path)
            if other is not path:
                raise ConfigError(f"{path}: series {name!r} cannot be told apart from that of {other}: rename a file")
    return renamed


def _names(path: Path, settings: InputSettings, columns: Columns) -> list[str]:
    """All series of the file at `path`, read from its series column if it has one."""
    with closing(_open(path)) as file:
        layout = Layout.choose(path, file.header, settings, columns)
        if layout.series is None:
            return list(layout.wide)
        found: dict[str, None] = {}
        for table in file.tables([layout.series]):
            found |= dict.fromkeys(labels(table, layout.series)[0])
        return list(found)
