"""The arithmetic of the benchmarks; what they measure is theirs to show."""

import json

import pytest

from benchmarks.harness import START_MS, Series
from benchmarks.load import latencies
from benchmarks.report import Report, verdict


def test_a_tick_is_given_once_and_its_place_is_found_from_its_forecast():
    series = Series(3)
    ticks = series.ticks(2) + series.ticks(5)
    decoded = [json.loads(value) for _, value in ticks]
    assert [tick["series"] for tick in decoded] == [f"sensor-{n % 3}" for n in range(7)]
    assert [series.place(key, tick["ts"]) for (key, _), tick in zip(ticks, decoded, strict=True)] == list(range(7))


def test_a_tick_that_is_sent_late_counts_from_when_it_was_due():
    series = Series(2)
    series.sent = 4
    forecasts = [b'{"origin":%d}' % (START_MS + 1_000 * step) for step in (2, 2, 3)]
    keys = [b"sensor-0", b"sensor-1", b"sensor-0"]
    arrived = [(100.5, keys[0], forecasts[0]), (100.5, keys[1], forecasts[1]), (100.25, keys[2], forecasts[2])]
    assert latencies(arrived, series, rate=10.0, began=100.0).tolist() == pytest.approx([0.5, 0.4, 0.05])


def test_a_ratio_is_the_one_of_two_medians_and_absent_where_one_was_not_measured():
    report = Report({"daemon": [80.0, 10.0, 90.0], "echo": [100.0, 300.0, 1.0]})
    report.ratio("over_echo", "daemon", "echo")
    report.ratio("over_peer", "daemon", "peer")
    assert report.rounds["over_echo"] == [0.8]
    assert "over_peer" not in report.rounds


def test_what_is_missing_stands_in_the_table_and_in_the_last_line_with_its_reason():
    report = Report({"latency.p50_ms": [3.0]}, {"throughput.librdkafka": "ended with 2: no such client"})
    assert "MISSING  ended with 2: no such client" in report.table()
    assert json.loads(report.line("bench", {}))["missing"] == report.missing


@pytest.mark.parametrize(
    ("name", "figure", "holds"),
    [
        ("throughput.kafka-python.over_echo", 0.8, True),
        ("throughput.kafka-python.over_echo", 0.79, False),
        ("memory.bytes_per_series", 1_300, True),
        ("memory.bytes_per_series", 1_301, False),
    ],
)
def test_a_figure_holds_on_the_side_of_its_bound_that_is_good(name, figure, holds):
    assert verdict(name, figure).endswith("holds" if holds else "SHORT")
