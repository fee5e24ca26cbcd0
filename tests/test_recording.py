"""Recorded ticks: both shapes of CSV, and every mistake a file can hold."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from forecaster.config import InputSettings, Settings
from forecaster.errors import ConfigError
from forecaster.formats.json_encode import JsonTickEncoder
from forecaster.formats.json_ticks import JsonTickDecoder
from forecaster.produce import due_seconds, produce
from forecaster.recording import Columns, Recording, read_recording
from forecaster.replay import record_batches

LONG = "series,ts,value\na,1000,1.5\nb,1000,2\na,2000,\n"
WIDE = "date,a,b\n1970-01-01 00:00:01,1.5,2\n1970-01-01T00:00:02,NA,4\n"


def read(tmp_path: Path, text: str, name: str = "ticks.csv", **columns) -> Recording:
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return read_recording([path], InputSettings(), Columns(**columns))


@pytest.mark.parametrize("name", ["ticks.csv", "ticks.csv.gz"])
def test_a_long_file_is_a_row_per_tick(tmp_path, name) -> None:
    ticks = list(read(tmp_path, LONG, name).ticks())
    assert ticks[:2] == [("a", 1000, 1.5), ("b", 1000, 2.0)]
    assert ticks[2][:2] == ("a", 2000)
    assert np.isnan(ticks[2][2])


def test_a_wide_file_is_a_column_per_series_and_a_time_without_a_zone_is_utc(tmp_path) -> None:
    ticks = list(read(tmp_path, WIDE).ticks())
    assert [tick[:2] for tick in ticks] == [("a", 1000), ("b", 1000), ("a", 2000), ("b", 2000)]
    assert ticks[1][2] == 2.0
    assert np.isnan(ticks[2][2])


def test_a_column_without_a_name_is_no_series(tmp_path) -> None:
    assert read(tmp_path, ",date,a\n0,1970-01-01,1\n1,1970-01-02,2\n").names == ["a"]


@pytest.mark.parametrize("quoted", [False, True])
def test_quotes_commas_inside_them_and_empty_lines_are_csv_too(tmp_path, quoted) -> None:
    name = '"pump, 7"' if quoted else "pump 7"
    recording = read(tmp_path, f"series,ts,value\r\n{name},1000,1\r\n\r\n{name},2000,2\r\n\r\n")
    assert list(recording.ticks()) == [(name.strip('"'), 1000, 1.0), (name.strip('"'), 2000, 2.0)]


def test_series_come_in_the_order_in_which_they_appear(tmp_path) -> None:
    assert read(tmp_path, "series,ts,value\nb,1,1\na,1,1\nb,2,1\n").names == ["b", "a"]


def test_missing_values_may_be_spelt_in_several_ways(tmp_path) -> None:
    spelt = ["", "NA", "N/A", "nan", "NaN", "NULL", "None", " na "]
    recording = read(tmp_path, "ts,a\n" + "".join(f"{n},{text}\n" for n, text in enumerate(spelt)))
    assert len(recording) == len(spelt)
    assert np.isnan(recording.value).all()


def test_several_value_columns_of_a_long_file_are_averaged(tmp_path) -> None:
    text = "at,symbol,bid,ask\n2024-05-01T00:00:00.5+00:00,EURUSD,1.0,3.0\n"
    recording = read(tmp_path, text, time="at", series="symbol", value=("bid", "ask"))
    assert list(recording.ticks()) == [("EURUSD", 1_714_521_600_500, 2.0)]


def test_the_same_series_in_two_files_is_told_apart_by_the_file(tmp_path) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.csv").write_text("timestamp,value\n1000,1\n")
    recording = read_recording([tmp_path / "left.csv", tmp_path / "right.csv"], InputSettings(), Columns())
    assert recording.names == ["left.value", "right.value"]


def test_only_a_series_that_several_files_have_gets_the_name_of_its_file(tmp_path) -> None:
    (tmp_path / "left.csv").write_text("series,ts,value\na,1,1\nb,1,1\n")
    (tmp_path / "right.csv").write_text("ts,b,c\n1,1,1\n")
    recording = read_recording([tmp_path / "left.csv", tmp_path / "right.csv"], InputSettings(), Columns())
    assert recording.names == ["a", "left.b", "right.b", "c"]


def test_series_that_even_the_name_of_their_file_does_not_tell_apart_are_refused(tmp_path) -> None:
    paths = [tmp_path / "one" / "x.csv", tmp_path / "two" / "x.csv"]
    for path in paths:
        path.parent.mkdir()
        path.write_text("ts,a\n1,1\n")
    with pytest.raises(ConfigError, match=r"two/x.csv: series 'a' cannot be told apart .*one/x.csv"):
        read_recording(paths, InputSettings(), Columns())


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no rows"),
        ("date,a\n", "no rows"),
        ("when,a\n1000,1\n", r"no column 'ts' .* \(--time-column names another\): it has when, a"),
        ("ts;sensor;value\n1000;a;1\n", "not separated by commas: 'ts;sensor;value'"),
        ("ts,sensor,temp\n1000,a,1\n", "'a' in column 'sensor' is no number: .* unless --series-column names one"),
        ("series,ts,temp\na,1000,1\n", r"no column 'value' \(--value-column names another\)"),
        ("date\n1000\n", "no column beside"),
        ("date,a\n1000\n", "row 2"),
        ("date,a\n1000,1\nyesterday,1\n", "row 3"),
        ("date,a\n1000,1\n,1\n", "row 3"),
        ("date,a\n1000,one\n", "row 2: 'one' in column 'a' is no number: every column is a series, unless"),
        ("date,a\n1000,1\n2000,1e39\n", "row 3"),
        ("date,a\n1000,1\nnan,1\n", "row 3"),
        ("date,a\n1000,1\n2000,1,2\n3000\n", "row 3: 3 columns, the header has 2"),
        ("date,a\n1000,1\n\n3000\n", "row 4: 1 columns"),
        ("date,a,a\n1000,1,2\n", "'a' stands in the header 2 times"),
        ("series,ts,value\na,1000,1\n,2000,1\n", "row 3: '' in column 'series' is no series"),
        ("series,ts,value\na,1000,1\na,2000,high\n", "row 3: 'high' in column 'value' is no number"),
        ("date,a\n1000,1\n\n2000,high\n", "row 4: 'high' in column 'a'"),
        ("date,a\n1000,1\n253402300800000,1\n", "row 3: .* is no time"),
    ],
)
def test_a_mistake_in_a_file_ends_in_a_line_that_names_file_and_row(tmp_path, text, named) -> None:
    with pytest.raises(ConfigError, match=named) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(str(tmp_path / "ticks.csv"))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_missing_or_no_gzip_is_named(tmp_path) -> None:
    (tmp_path / "bad.csv.gz").write_bytes(b"plain")
    for name in ("none.csv", "bad.csv.gz"):
        with pytest.raises(ConfigError, match=name):
            read_recording([tmp_path / name], InputSettings(), Columns())


@pytest.mark.parametrize(
    "settings",
    [
        InputSettings(),
        InputSettings(series_field="data.s", time_field="data.T", value_field="data.p", value_format="numeric_string"),
        InputSettings(time_unit="s"),
        InputSettings(time_unit="ns", value_field="100%", series_field="a b"),
    ],
)
def test_what_produce_encodes_the_decoder_reads(tmp_path, settings) -> None:
    recording = read(tmp_path, LONG)
    (records,) = record_batches(recording, Settings(input=settings))
    ticks = JsonTickDecoder(settings).decode(records)
    assert not ticks.faults
    assert (ticks.series, ticks.time_ms.tolist()) == (["a", "b", "a"], [1000, 1000, 2000])
    np.testing.assert_array_equal(ticks.value, [1.5, 2.0, np.nan])


def test_a_series_name_with_a_placeholder_in_it_stays_itself() -> None:
    settings = InputSettings()
    assert b'"%(value)b"' in JsonTickEncoder(settings).encode("%(value)b", 1, 2.0)


def test_a_pace_is_a_rate_or_a_speed_up_of_event_time(tmp_path) -> None:
    recording = read(tmp_path, "ts,series,value\n0,a,1\n1000,a,1\n500,a,1\n3000,a,1\n")
    np.testing.assert_allclose(due_seconds(recording, 10.0, None), [0, 0.1, 0.2, 0.3])
    np.testing.assert_allclose(due_seconds(recording, None, 2.0), [0, 0.5, 0.5, 1.5])
    assert not due_seconds(recording, None, None).any()


def test_produce_sends_every_tick_in_order_and_says_how_many(tmp_path) -> None:
    recording = read(tmp_path, LONG)
    sent = []
    assert produce(recording, Settings(), sent.extend, due_seconds(recording, 200.0, None)) == 3
    assert [message.key for message in sent] == [b"a", b"b", b"a"]
