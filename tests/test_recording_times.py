"""Times of recorded ticks: numbers, ISO 8601, several columns, and zones."""

import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecaster.config import InputSettings
from forecaster.errors import ConfigError
from forecaster.recording import Columns, read_recording
from forecaster.recording.cells import Table
from forecaster.recording.times import Times

BEIJING = Path(__file__).parents[2] / "shared/data/beijing_pm25/beijing_pm25.csv.gz"
HOUR_MS = 3_600_000


def times(*texts: str, **settings) -> list[int]:
    """What a time column of `texts` holds, the first of them in row 2."""
    table = Table(Path("x.csv"), range(2, 2 + len(texts)), {"at": list(texts)})
    return Times(("at",), InputSettings(**settings)).read(table).tolist()


def calendar(tmp_path: Path, header: str, row: str) -> list[int]:
    path = tmp_path / "ticks.csv"
    path.write_text(f"{header},pm2.5\n{row},1\n")
    return read_recording([path], InputSettings(), Columns(header, None, ("pm2.5",))).time_ms.tolist()


@given(
    moments=st.lists(st.datetimes(), min_size=1),
    offset=st.sampled_from([None, 0, 330, -600]),
    precision=st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
    separator=st.sampled_from("T "),
)
def test_iso_8601_reads_as_python_reads_it(moments, offset, precision, separator) -> None:
    zone = None if offset is None else timezone(timedelta(minutes=offset))
    texts = [moment.replace(tzinfo=zone).isoformat(separator, precision) for moment in moments]
    exact = [datetime.fromisoformat(text) for text in texts]
    utc = [moment if zone else moment.replace(tzinfo=UTC) for moment in exact]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert times(*texts) == [((moment - epoch) // timedelta(microseconds=1) + 500) // 1000 for moment in utc]
    assert times(*texts, texts[0][:10] + "T00:00" + ("" if zone is None else "Z"))[:-1] == times(*texts)


def test_z_is_utc_and_so_is_no_zone() -> None:
    assert times("2024-05-01T00:00:00Z") == times("2024-05-01T00:00:00") == times("2024-05-01T02:00:00+02:00")


def test_different_offsets_are_all_absolute() -> None:
    assert times("2024-05-01T00:00:00+02:00", "2024-05-01T00:00:00Z", "2024-05-01T00:00:00-01:00") == [
        1_714_514_400_000 + n * HOUR_MS for n in (0, 2, 3)
    ]


@pytest.mark.parametrize(
    ("text", "kind", "other"),
    [
        ("2024-05-01T00:00:00", "a time without a zone", "2024-05-01T00:00:00Z"),
        ("2024-05-01 00:00+01:00", "a time with a zone", "2024-05-01 00:00"),
        ("2024", "a number", "2024-05-01"),
        ("2024-05-01", "a time without a zone", "2024"),
    ],
)
def test_a_column_that_mixes_zones_none_and_numbers_is_refused(text, kind, other) -> None:
    with pytest.raises(ConfigError, match=rf"x.csv: row 4: {re.escape(repr(text))} .* is {kind}, row 2 has a"):
        times(other, other, text)


def test_a_zone_that_ends_in_a_later_part_of_the_file_is_refused_too() -> None:
    reader = Times(("at",), InputSettings())
    reader.read(Table(Path("x.csv"), [2], {"at": ["2024-05-01T00:00:00Z"]}))
    with pytest.raises(ConfigError, match=r"row 900: .* without a zone, row 2 has a time with a zone"):
        reader.read(Table(Path("x.csv"), [900], {"at": ["2024-05-01T00:00:00"]}))


def test_slashes_and_dates_without_leading_zeros_are_read() -> None:
    assert times("1990/1/1 0:00", "1990/1/12 13:05:30", "1990-1-2") == [
        round(datetime(1990, 1, *rest, tzinfo=UTC).timestamp() * 1000) for rest in ((1,), (12, 13, 5, 30), (2,))
    ]


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_numbers_are_in_the_unit_of_the_settings(unit) -> None:
    many = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    assert times(str(1_714_521_600 * many), str(0), time_unit=unit) == [1_714_521_600_000, 0]


@pytest.mark.parametrize("text", ["now", "today", "NaT", "", "2024-13-01", "2024-02-30T00:00", "nan", "inf", "1e30"])
def test_what_is_no_time_is_named(text) -> None:
    with pytest.raises(ConfigError, match=f"x.csv: row 3: '{text}' in column 'at' is no time"):
        times("2024-05-01", text)


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("year,month,day,hour", "2010,2,28,23"),
        ("y,m,d,h,min,sec", "2010,02,28,23,0,0.0"),
        ("date,time", "2010-02-28,23:00"),
    ],
)
def test_a_time_may_be_spread_over_columns(tmp_path, header, row) -> None:
    assert calendar(tmp_path, header, row) == [1_267_398_000_000]


@pytest.mark.parametrize(
    "row", ["2010,2,30,0", "2010,13,1,0", "2010,0,1,0", "2010,1,1,24", "2010,1,1.5,0", "2010,1,NA,0", "10000,1,1,0"]
)
def test_columns_that_make_no_time_are_named_with_their_row(tmp_path, row) -> None:
    with pytest.raises(ConfigError, match=f"row 2: '{row.replace(',', ' ')}' in column 'year,month,day,hour'"):
        calendar(tmp_path, "year,month,day,hour", row)


def test_a_time_has_no_more_columns_than_a_second_needs(tmp_path) -> None:
    with pytest.raises(ConfigError, match="6 columns at most"):
        calendar(tmp_path, "a,b,c,d,e,f,g", "1,1,1,1,1,1,1")


def test_a_part_of_a_time_that_the_file_lacks_is_named(tmp_path) -> None:
    (tmp_path / "ticks.csv").write_text("year,month,value\n2010,1,1\n")
    with pytest.raises(ConfigError, match="has no column 'day'"):
        read_recording([tmp_path / "ticks.csv"], InputSettings(), Columns("year,month,day"))


@pytest.mark.skipif(not BEIJING.exists(), reason=f"needs {BEIJING.name}")
def test_the_hours_of_beijing_are_read_from_four_columns() -> None:
    recording = read_recording([BEIJING], InputSettings(), Columns("year,month,day,hour", None, ("pm2.5",)))
    assert len(recording) == 43_824
    assert set((recording.time_ms[1:] - recording.time_ms[:-1]).tolist()) == {HOUR_MS}
    assert (recording.value != recording.value).sum() == 2_067
