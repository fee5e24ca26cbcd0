"""Ticks out of JSON: field paths, time units, number formats, keys, and one fault a record."""

import json
from datetime import UTC, datetime

import numpy as np
import pytest
from builders import START_MS, Row, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.config import InputSettings
from forecaster.formats.json_ticks import JsonTickDecoder


def decode(*values, keys=None, **setup):
    keys = keys or [None] * len(values)
    encoded = [v if isinstance(v, bytes | None) else json.dumps(v).encode() for v in values]
    rows = [Row(value, 0, n, key) for n, (value, key) in enumerate(zip(encoded, keys, strict=True))]
    return JsonTickDecoder(InputSettings(**setup)).decode(batch(rows))


def reasons(ticks):
    return [(fault.record, fault.reason) for fault in ticks.faults]


def test_a_field_may_be_a_path_and_everything_else_is_ignored():
    trade = {"stream": "x", "data": {"s": "BTCUSDT", "p": "41000.5", "T": START_MS, "m": [1, {"p": 2}]}}
    paths = {
        "series_field": "data.s",
        "time_field": "data.T",
        "value_field": "data.p",
        "value_format": "numeric_string",
    }
    ticks = decode(trade, trade | {"data": {"s": "a", "T": 1}}, trade | {"data": None}, {"stream": "x"}, **paths)
    assert (ticks.series, ticks.time_ms.tolist(), ticks.value.tolist()) == (["BTCUSDT"], [START_MS], [41000.5])
    assert reasons(ticks) == [(1, "missing_field"), (2, "wrong_type"), (3, "missing_field")]


def test_paths_may_go_to_different_depths():
    record = {"a": {"b": {"c": "s"}, "t": 5}, "v": 1.5}
    ticks = decode(record, series_field="a.b.c", time_field="a.t", value_field="v")
    assert (ticks.series, ticks.time_ms.tolist(), ticks.value.tolist()) == (["s"], [5], [1.5])


@pytest.mark.parametrize(
    ("unit", "given_time", "time_ms"),
    [
        ("s", 1_714_550_400, 1_714_550_400_000),
        ("s", 1_714_550_400.123, 1_714_550_400_123),
        ("s", 0, 0),
        ("ms", 1_714_550_400_123, 1_714_550_400_123),
        ("ms", 1_714_550_400_123.0, 1_714_550_400_123),
        ("us", 1_714_550_400_123_999, 1_714_550_400_124),
        ("ns", 1_714_550_400_123_999_999, 1_714_550_400_124),
        ("s", "2024-05-01T08:00:00.123Z", 1_714_550_400_123),
        ("ns", "2024-05-01T08:00:00Z", 1_714_550_400_000),
        ("ms", "2024-05-01T10:00:00+02:00", 1_714_550_400_000),
        ("ms", "1970-01-01T00:00:00Z", 0),
    ],
)
def test_time_is_read_in_its_unit_or_as_rfc_3339(unit, given_time, time_ms):
    assert decode({"series": "a", "ts": given_time, "value": 1}, time_unit=unit).time_ms.tolist() == [time_ms]


@given(
    st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 30), timezones=st.just(UTC)),  # noqa: DTZ001
    st.sampled_from(["s", "ms", "us", "ns"]),
)
@settings(max_examples=200, deadline=None)
def test_a_time_is_the_same_in_every_unit(time, unit):
    time = time.replace(microsecond=time.microsecond // 1_000 * 1_000)
    time_ms = int((time - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()) * 1_000 + time.microsecond // 1_000
    number = {"s": time_ms / 1_000, "ms": time_ms, "us": time_ms * 1_000, "ns": time_ms * 1_000_000}[unit]
    text = time.isoformat().replace("+00:00", "Z")
    ticks = decode(*({"series": "a", "ts": ts, "value": 1} for ts in (number, text)), time_unit=unit)
    assert ticks.time_ms.tolist() == [time_ms, time_ms]


@pytest.mark.parametrize(
    "time",
    [
        -1,
        -0.5,
        253_402_300_800_000,
        1e300,
        10**400,
        "2024-05-01T08:00:00",
        "1969-12-31T23:59:59Z",
        "0001-01-01T00:00:00Z",
    ],
)
def test_a_time_outside_1970_to_9999_or_without_a_zone_is_no_time(time):
    ticks = decode({"series": "a", "ts": time, "value": 1}, {"series": "b", "ts": START_MS, "value": 2})
    assert reasons(ticks) == [(0, "bad_time")]
    assert (ticks.series, ticks.time_ms.tolist()) == (["b"], [START_MS])


@pytest.mark.parametrize("time", [True, None, [], "yesterday", str(START_MS)])
def test_a_time_of_another_kind_is_a_wrong_type(time):
    assert reasons(decode({"series": "a", "ts": time, "value": 1})) == [(0, "wrong_type")]


def test_a_missing_value_is_null_and_an_absent_one_a_fault():
    ticks = decode({"series": "a", "ts": 1, "value": None}, {"series": "a", "ts": 1})
    assert np.isnan(ticks.value).tolist() == [True]
    assert reasons(ticks) == [(1, "missing_field")]


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
@settings(max_examples=100, deadline=None)
def test_any_finite_number_is_read_exactly_as_number_and_as_text(value):
    number = decode({"series": "a", "ts": 1, "value": value})
    text = decode({"series": "a", "ts": 1, "value": repr(value)}, value_format="numeric_string")
    assert number.value.tolist() == text.value.tolist() == [value]


@pytest.mark.parametrize("text", ["", "one", "nan", "-NaN", "1_000", "0x10", "1,5", "١٢", "1 2"])
def test_a_text_that_is_no_number_is_a_wrong_type(text):
    ticks = decode({"series": "a", "ts": 1, "value": text}, value_format="numeric_string")
    assert reasons(ticks) == [(0, "wrong_type")]


@pytest.mark.parametrize("text", ["inf", "-Infinity", "1e39", "9" * 5_000])
def test_a_number_beyond_float32_is_not_finite(text):
    ticks = decode({"series": "a", "ts": 1, "value": text}, value_format="numeric_string")
    assert reasons(ticks) == [(0, "not_finite")]


def test_a_number_is_refused_where_text_is_asked_for_and_the_other_way_round():
    assert reasons(decode({"series": "a", "ts": 1, "value": 1.5}, value_format="numeric_string")) == [(0, "wrong_type")]
    assert reasons(decode({"series": "a", "ts": 1, "value": "1.5"})) == [(0, "wrong_type")]


def test_a_missing_series_falls_back_to_the_key():
    tick = {"ts": 1, "value": 1}
    keys = [b"pump", "öl".encode(), None, b"", b"\xff", b"other"]
    ticks = decode(tick, tick, tick, tick, tick, tick | {"series": "named"}, keys=keys)
    assert ticks.series == ["pump", "öl", "named"]
    assert reasons(ticks) == [(2, "no_series"), (3, "no_series"), (4, "no_series")]
    assert decode(tick | {"series": None}, keys=[b"k"]).series == ["k"]


def test_a_missing_series_falls_back_to_the_key_also_where_its_path_is_missing():
    paths = {"series_field": "meta.site.id"}
    ticks = decode({"ts": 1, "value": 1}, {"ts": 1, "value": 1, "meta": {}}, keys=[b"k", b"l"], **paths)
    assert (ticks.series, ticks.faults) == (["k", "l"], [])


def test_a_series_id_has_up_to_1024_bytes():
    names = ["", "x" * 1_024, "x" * 1_025, "é" * 512, "é" * 513, "a\x00b"]
    ticks = decode(*({"series": name, "ts": 1, "value": 1} for name in names))
    assert ticks.series == [names[1], names[3], names[5]]
    assert reasons(ticks) == [(0, "bad_series"), (2, "bad_series"), (4, "bad_series")]


def test_an_array_gives_its_ticks_in_order_and_names_the_first_bad_one_once():
    good = {"series": "a", "ts": 1, "value": 1}
    array = [good, {"series": "a"}, good | {"series": "b"}, 7, good | {"ts": -1}]
    ticks = decode([good], array, [], good)
    assert list(zip(ticks.record.tolist(), ticks.index.tolist(), ticks.series, strict=True)) == [
        (0, 0, "a"),
        (1, 0, "a"),
        (1, 2, "b"),
        (3, 0, "a"),
    ]
    (fault,) = ticks.faults
    assert (fault.record, fault.reason) == (1, "missing_field")
    assert fault.error.startswith("tick 1: ")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not_json"),
        (b" ", "not_json"),
        (b'{"series":"a","ts":1,"value":1}x', "not_json"),
        (b'\xef\xbb\xbf{"series":"a","ts":1,"value":1}', "not_json"),
        (b'{"series":"a","ts":1,"value":NaN}', "not_json"),
        (b'{"series":"\\ud800","ts":1,"value":1}', "not_json"),
        (b'{"series":"a","ts":1,"value":1,"x":"\xff"}', "not_utf8"),
        (b'{"series":"a","ts":1,"value":1e999}', "not_finite"),
        (b'{"series":"a","ts":1,"value":' + b"9" * 5_000 + b"}", "not_finite"),
        (b"[" * 100_000, "too_deep"),
        (b'{"x":' * 100_000, "too_deep"),
        (b"5", "wrong_type"),
        (b'{"series":7,"ts":1,"value":1}', "wrong_type"),
        (b'{"series":"a","ts":1,"value":true}', "wrong_type"),
        (b"{}", "missing_field"),
    ],
)
def test_each_kind_of_bad_record_has_its_reason_and_harms_no_other(value, reason):
    ticks = decode({"series": "a", "ts": 1, "value": 1}, value, {"series": "é", "ts": 2, "value": 2})
    assert reasons(ticks) == [(1, reason)]
    assert (ticks.series, ticks.record.tolist()) == (["a", "é"], [0, 2])
    assert 0 < len(ticks.faults[0].error) <= 300


def test_a_poll_of_nothing_is_no_tick():
    assert (len(decode()), decode().faults) == (0, [])
