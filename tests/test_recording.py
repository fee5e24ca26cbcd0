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
WIDE = "date,a,b\n1970-01-01 00:00:01,1.5,2\n1970-01-01T00:00:02Z,NA,4\n"


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


def test_several_value_columns_of_a_long_file_are_averaged(tmp_path) -> None:
    text = "at,symbol,bid,ask\n2024-05-01T00:00:00.5+00:00,EURUSD,1.0,3.0\n"
    recording = read(tmp_path, text, time="at", series="symbol", value=("bid", "ask"))
    assert list(recording.ticks()) == [("EURUSD", 1_714_521_600_500, 2.0)]


def test_the_same_series_in_two_files_is_told_apart_by_the_file(tmp_path) -> None:
    for name in ("left", "right"):
        (tmp_path / f"{name}.csv").write_text("timestamp,value\n1000,1\n")
    recording = read_recording([tmp_path / "left.csv", tmp_path / "right.csv"], InputSettings(), Columns())
    assert recording.names == ["left.value", "right.value"]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "no rows"),
        ("date,a\n", "no rows"),
        ("when,a\n1000,1\n", "no column"),
        ("date\n1000\n", "no column beside"),
        ("date,a\n1000\n", "row 2"),
        ("date,a\n1000,1\nyesterday,1\n", "row 3"),
        ("date,a\n1000,1\n,1\n", "row 3"),
        ("date,a\n1000,one\n", "row 2"),
        ("date,a\n1000,1\n2000,1e39\n", "row 3"),
        ("date,a\n1000,1\nnan,1\n", "row 3"),
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
