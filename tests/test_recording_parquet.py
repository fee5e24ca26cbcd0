"""Parquet files give the ticks that the same CSV gives, whatever types their writer chose."""

import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forecaster.config import InputSettings
from forecaster.errors import ConfigError
from forecaster.recording import Columns, Recording, parquet_file, read_parts, read_recording

pa = pytest.importorskip("pyarrow", reason="needs the extra parquet")
parquet = pytest.importorskip("pyarrow.parquet")

MOMENTS = [datetime(2024, 5, 1, 0, 0, second, 500_000, UTC) for second in range(3)]
MOMENTS_MS = [1_714_521_600_500 + 1000 * second for second in range(3)]


def write(tmp_path: Path, name: str = "ticks.parquet", **columns: Any) -> Path:
    parquet.write_table(pa.table(columns), tmp_path / name)
    return tmp_path / name


def read(path: Path, **columns: Any) -> Recording:
    return read_recording([path], InputSettings(), Columns(**columns))


def test_a_parquet_file_and_the_same_csv_have_one_fingerprint(tmp_path) -> None:
    (tmp_path / "long.csv").write_text("series,ts,value\na,1000,1.5\nb,1000,\na,2000,2\n")
    path = write(tmp_path, series=["a", "b", "a"], ts=[1000, 1000, 2000], value=[1.5, None, 2.0])
    assert read(path).fingerprint() == read(tmp_path / "long.csv").fingerprint()

    (tmp_path / "wide.csv").write_text("date,a,b\n2024-05-01,1,2\n2024-05-02,,4\n")
    path = write(tmp_path, date=[date(2024, 5, 1), date(2024, 5, 2)], a=[1, None], b=[2, 4])
    assert read(path).fingerprint() == read(tmp_path / "wide.csv").fingerprint()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin", "+05:30"])
def test_timestamps_of_any_unit_and_zone_are_the_moment_they_are(tmp_path, unit, zone) -> None:
    at = pa.array([time_ms * 10**6 for time_ms in MOMENTS_MS], pa.timestamp("ns", zone))
    recording = read(write(tmp_path, time=at.cast(pa.timestamp(unit, zone), safe=False), a=[1.0, 2.0, 3.0]))
    expected = [time_ms - 500 * (unit == "s") for time_ms in MOMENTS_MS]
    assert recording.time_ms.tolist() == expected


@pytest.mark.parametrize(
    "times",
    [
        pa.array(MOMENTS_MS),
        pa.array(MOMENTS_MS, pa.uint64()),
        pa.array([float(time_ms) for time_ms in MOMENTS_MS]),
        pa.array([str(time_ms) for time_ms in MOMENTS_MS]),
        pa.array([moment.isoformat() for moment in MOMENTS]),
        pa.array([moment.isoformat() for moment in MOMENTS], pa.large_string()),
        pa.array([moment.isoformat() for moment in MOMENTS]).dictionary_encode(),
        pa.array(MOMENTS).dictionary_encode(),
    ],
    ids=lambda array: str(array.type)[:30],
)
def test_times_may_be_numbers_or_text(tmp_path, times) -> None:
    assert read(write(tmp_path, ts=times, a=[1.0, 2.0, 3.0])).time_ms.tolist() == MOMENTS_MS


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1.5, None, 3.0]),
        pa.array([1.5, None, 3.0], pa.float32()),
        pa.array([Decimal("1.5"), None, Decimal("3.0")]),
        pa.array(["1.5", None, "3"]),
        pa.array(["1.5", "NA", "3"]).dictionary_encode(),
        pa.array([1.5, float("nan"), 3.0]).dictionary_encode(),
    ],
    ids=lambda array: str(array.type)[:30],
)
def test_values_may_be_of_any_type_that_holds_numbers(tmp_path, values) -> None:
    recording = read(write(tmp_path, ts=[1, 2, 3], series=pa.array(["a"] * 3).dictionary_encode(), value=values))
    np.testing.assert_array_equal(recording.value, [1.5, np.nan, 3.0])


def test_a_column_of_nulls_alone_is_a_series_that_is_missing(tmp_path) -> None:
    recording = read(write(tmp_path, ts=[1, 2], a=pa.nulls(2), b=pa.array([1, None])))
    assert recording.names == ["a", "b"]
    assert np.isnan(recording.value).tolist() == [True, False, True, True]


def test_series_may_be_numbers(tmp_path) -> None:
    recording = read(write(tmp_path, ts=[1, 2, 3], id=[7, 5, 7], value=[1.0, 2.0, 3.0]), series="id")
    assert [name for name, _, _ in recording.ticks()] == ["7", "5", "7"]


def test_a_time_may_be_spread_over_columns_one_of_which_has_a_dot_in_its_name(tmp_path) -> None:
    columns = {"year": [2010, 2010], "month": [1, 2], "day": [31, 28], "hour": [0, 23], "pm2.5": [1.0, None]}
    recording = read(write(tmp_path, **columns, wind=["NW", "SE"]), time="year,month,day,hour", value=("pm2.5",))
    assert recording.time_ms.tolist() == [1_264_896_000_000, 1_267_398_000_000]


def test_parts_are_small_and_a_row_is_named_by_its_number_in_the_file(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(parquet_file, "CELLS", 6)
    texts = [str(n) for n in range(10)]
    path = write(tmp_path, ts=list(range(10)), a=texts)
    parts = list(read_parts([path], InputSettings(), Columns()))
    assert [len(part) for part in parts] == [3, 3, 3, 1]
    path = write(tmp_path, ts=list(range(10)), a=[*texts[:7], "high", *texts[8:]])
    with pytest.raises(ConfigError, match=r"ticks.parquet: row 8: 'high' in column 'a' is no number"):
        read(path)


@pytest.mark.parametrize(
    ("columns", "named"),
    [
        ({"ts": pa.array([], pa.int64()), "a": pa.array([], pa.float64())}, "no rows"),
        ({"when": [1], "a": [1.0]}, "no column 'ts'"),
        ({"ts": [1, None], "a": [1.0, 2.0]}, "row 2: .* is no time"),
        ({"time": pa.array([MOMENTS[0], None]), "a": [1.0, 2.0]}, "row 2: .* is no time"),
        ({"ts": [1, 2], "series": ["a", None], "value": [1.0, 2.0]}, "row 2: '' in column 'series' is no series"),
        ({"ts": [1, 2], "a": [1.0, 1e39]}, "row 2: .*1e\\+39.* does not fit"),
        ({"ts": [1, 2], "a": [[1.0], [2.0]]}, "column 'a' holds list<"),
        ({"ts": [1, 2], "a": MOMENTS[:2]}, "row 1: .* in column 'a' is no number"),
        ({"ts": [True, False], "a": [1.0, 2.0]}, "column 'ts' holds bool"),
    ],
)
def test_a_mistake_in_a_file_ends_in_a_line_that_names_it(tmp_path, columns, named) -> None:
    path = write(tmp_path, **columns)
    with pytest.raises(ConfigError, match=named) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_parquet_is_named(tmp_path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"ts,a\n1,1\n")
    for name in ("none.parquet", "bad.parquet"):
        with pytest.raises(ConfigError, match=f"{name}: cannot be read as Parquet"):
            read(tmp_path / name)


def test_without_pyarrow_one_line_names_the_extra(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r'x.parquet: .* pip install "forecaster\[parquet\]"'):
        read(tmp_path / "x.parquet")
