"""Recordings in parts: however a file is cut they hold the same ticks, in bounded memory."""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.config import InputSettings
from forecaster.recording import Columns, Fingerprint, Recording, csv_file, join, read_parts

ROOT = Path(__file__).parents[1]
MEGABYTE = 2**20


def drawn(ticks: list[tuple[str, int, float]]) -> Recording:
    """`ticks` as a recording of as many names as there are ticks, most of them not in use."""
    names = [f"unused-{n}" for n in range(len(ticks))] + sorted({name for name, _, _ in ticks}, reverse=True)
    return Recording(
        names,
        np.array([names.index(name) for name, _, _ in ticks], np.int64),
        np.array([time_ms for _, time_ms, _ in ticks], np.int64),
        np.array([value for _, _, value in ticks], np.float64),
    )


TICKS = st.tuples(st.sampled_from("abc"), st.integers(0, 9), st.sampled_from([0.5, 1.0, float("nan")]))


@given(ticks=st.lists(TICKS, max_size=20), cuts=st.sets(st.integers(0, 20)))
def test_neither_the_fingerprint_nor_the_ticks_depend_on_how_parts_are_cut(ticks, cuts) -> None:
    bounds = [0, *sorted(cut for cut in cuts if cut < len(ticks)), len(ticks)]
    parts = [drawn(ticks[low:high]) for low, high in pairwise(bounds)]
    fingerprint = Fingerprint()
    joined = join(fingerprint.passing(parts))
    assert fingerprint.hexdigest() == joined.fingerprint() == drawn(ticks).fingerprint()
    assert (fingerprint.ticks, fingerprint.series) == (len(ticks), len(joined.names))
    assert [str(tick) for tick in joined.ticks()] == [str(tick) for tick in ticks]


@pytest.mark.parametrize("change", [("b", 1, 0.5), ("a", 2, 0.5), ("a", 1, 0.25)])
def test_another_series_time_or_value_gives_another_fingerprint(change) -> None:
    ticks = [("a", 1, 0.5), ("b", 1, 0.5), ("a", 1, 0.5)]
    assert drawn(ticks).fingerprint() != drawn([*ticks[:2], change]).fingerprint()


def test_another_name_gives_another_fingerprint() -> None:
    assert drawn([("a", 1, 0.5)]).fingerprint() != drawn([("b", 1, 0.5)]).fingerprint()


@pytest.mark.parametrize("characters", [1, 7, 40, 10_000])
@pytest.mark.parametrize("ending", ["\n", "\r\n", ""])
def test_a_csv_file_gives_the_same_ticks_in_blocks_of_any_size(tmp_path, monkeypatch, characters, ending) -> None:
    lines = [f"s{n % 3},{n},{n / 2}" for n in range(50)]
    lines[30] = '"s,\n0",30,15'
    (tmp_path / "ticks.csv").write_text("series,ts,value\n" + "\n".join(lines) + ending, newline="")
    monkeypatch.setattr(csv_file, "CHARACTERS", characters)
    monkeypatch.setattr(csv_file, "CELLS", characters)
    parts = list(read_parts([tmp_path / "ticks.csv"], InputSettings(), Columns()))
    names = ["s,\n0" if n == 30 else f"s{n % 3}" for n in range(50)]
    assert list(join(parts).ticks()) == [(names[n], n, n / 2) for n in range(50)]
    assert (len(parts) == 1) is (characters == 10_000)


def test_a_mistake_in_a_later_part_is_named_by_its_row_of_the_file(tmp_path, monkeypatch) -> None:
    rows = [f"{n},1" for n in range(50)]
    rows[40] = "40,high"
    (tmp_path / "ticks.csv").write_text("ts,a\n" + "\n".join(rows))
    monkeypatch.setattr(csv_file, "CHARACTERS", 20)
    with pytest.raises(Exception, match="row 42: 'high' in column 'a'"):
        list(read_parts([tmp_path / "ticks.csv"], InputSettings(), Columns()))


PEAK = """
import re, sys
from pathlib import Path
from forecaster.config import InputSettings
from forecaster.recording import Columns, Fingerprint, read_parts
fingerprint = Fingerprint()
for part in read_parts([Path(sys.argv[1])], InputSettings(), Columns()):
    fingerprint.add(part)
print(fingerprint.ticks, re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
"""


def peak_bytes(path: Path, rows: int) -> int:
    """Peak resident memory of a process that reads the file and finds `rows` ticks in it.

    Asked of Linux: what `getrusage` tells begins with the peak of the parent process.
    """
    command = [sys.executable, "-c", PEAK, str(path)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    ticks, peak = map(int, done.stdout.split())
    assert ticks == rows
    return 1024 * peak


def write_csv(path: Path, rows: int) -> None:
    with path.open("w") as file:
        file.write("series,ts,value\n")
        for low in range(0, rows, 10_000):
            file.writelines(f"pump-{n % 50},{n},{n / 7:.6f}\n" for n in range(low, low + 10_000))


def write_parquet(path: Path, rows: int) -> None:
    """One row group, as many writers make it."""
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    number = np.arange(rows)
    columns = {"series": [f"pump-{n % 50}" for n in range(rows)], "ts": number, "value": number / 7}
    parquet.write_table(pa.table(columns), path, row_group_size=rows)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux to tell a process' peak memory")
@pytest.mark.parametrize(("write", "suffix"), [(write_csv, ".csv"), (write_parquet, ".parquet")])
def test_memory_does_not_grow_with_the_file(tmp_path, write, suffix) -> None:
    peaks = []
    for rows in (400_000, 1_600_000):  # both fill several parts; the larger file is of 40 MB as CSV
        write(tmp_path / f"{rows}{suffix}", rows)
        peaks.append(peak_bytes(tmp_path / f"{rows}{suffix}", rows))
    assert peaks[1] - peaks[0] < 12 * MEGABYTE
