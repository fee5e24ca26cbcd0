"""The oracle can fail: what is lost, doubled or different in a made-up topic is counted."""

import json
from typing import NamedTuple

import pytest

from chaos.ledger import add, failed
from chaos.oracle import Published, due, judge, judge_letters
from chaos.streams import BASE_MS, STEP_MS
from chaos.ticks import Ticks

TICKS = Ticks(series=2, partitions=1)
PRODUCED = 20


class Record(NamedTuple):
    value: bytes


def forecast(series: int, round_: int, point: float = 5.0, offset: int = 0) -> Record:
    content = {
        "series": f"s{series}", "origin": BASE_MS + STEP_MS * round_, "point": [point],
        "quantiles": {"0.5": [point]}, "source": {"partition": 0, "offset": offset},
    }  # fmt: skip
    return Record(json.dumps(content).encode())


ALL = [forecast(series, round_) for round_ in range(10) for series in range(2)]


def verdict(records: list[Record], **again: object) -> tuple[int, int, int]:
    found = judge(TICKS, PRODUCED, Published(records), Published(ALL), **again)
    return found["lost"], found["doubled"], found["different"]


def test_the_same_forecasts_in_any_order_are_right() -> None:
    assert verdict(ALL[::-1]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("records", "counts"),
    [
        (ALL[1:], (1, 0, 0)),
        ([*ALL, ALL[3]], (0, 1, 0)),
        ([*ALL, forecast(0, 99)], (0, 1, 0)),
        ([forecast(0, 0, 5.1), *ALL[1:]], (0, 0, 1)),
        ([forecast(0, 0, offset=1), *ALL[1:]], (0, 0, 1)),
        ([*ALL, forecast(0, 0, 5.1)], (0, 1, 1)),
    ],
)
def test_a_lost_doubled_unknown_or_different_forecast_is_counted(records, counts) -> None:
    assert verdict(records) == counts


def test_numbers_within_the_tolerance_of_the_design_are_equal() -> None:
    assert verdict([forecast(0, 0, 5.00001), *ALL[1:]]) == (0, 0, 0)


@pytest.mark.parametrize(
    ("said", "other"),
    [
        ({"class": "calm"}, {"class": "rough"}),
        ({"paths": [["low", "high"]]}, {"paths": [["low", "low"]]}),
        ({"channels": {"x": {"point": [1.0]}}}, {"channels": {"x": {"point": [1.1]}}}),
        ({"channels": {"x": {"point": [1.0]}}}, {"channels": {"x": None}}),
        ({"times": [BASE_MS]}, {"times": [BASE_MS + STEP_MS]}),
        ({"maturity": "ready"}, {"maturity": "warming"}),
    ],
)
def test_whatever_a_message_says_is_compared(said, other) -> None:
    def published(member: object) -> Published:
        return Published([Record(json.dumps(json.loads(ALL[0].value) | member).encode())])

    assert judge(TICKS, 1, published(said), published(said))["different"] == 0
    assert judge(TICKS, 1, published(said), published(other))["different"] == 1


def test_what_neither_run_has_is_lost_all_the_same() -> None:
    found = judge(TICKS, PRODUCED, Published(ALL[1:]), Published(ALL[1:]))
    assert found["lost"] == 1


def test_forecasts_that_must_be_there_again_are_lost_when_they_are_not() -> None:
    assert verdict([*ALL, ALL[0]], again={(0, BASE_MS)}) == (0, 0, 0)
    assert verdict(ALL, again={(0, BASE_MS)}) == (1, 0, 0)


def test_a_stream_that_holds_ticks_back_does_not_owe_its_last_rounds() -> None:
    shuffled = Ticks(series=2, partitions=1, shuffled=3)
    assert {origin for _, origin in due(shuffled, 20)} == {BASE_MS + STEP_MS * round_ for round_ in range(6)}


def test_dead_letters_are_counted_by_the_number_that_they_carry() -> None:
    ticks = Ticks()
    letters = [Record(f"broken {number}".encode()) for number in range(300) if ticks.is_broken(number)]
    assert judge_letters(ticks, 300, letters) == {"letters_lost": 0, "letters_doubled": 0}
    assert judge_letters(ticks, 300, letters[1:]) == {"letters_lost": 1, "letters_doubled": 0}
    assert judge_letters(ticks, 300, [*letters, letters[0]]) == {"letters_lost": 0, "letters_doubled": 1}


def test_results_add_up_over_runs_and_the_longest_stays() -> None:
    total: dict = {"faults": 0}
    for tally in ({"faults": 2, "lost": 0, "longest_step": 3.0}, {"faults": 1, "lost": 1, "longest_step": 2.0}):
        assert not failed(total)
        add(total, tally)
    assert total == {"faults": 3, "lost": 1, "longest_step": 3.0}
    assert failed(total)
