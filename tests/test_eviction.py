"""Series that end: idle too long, above the limit, or in a second partition."""

from collections import Counter

import numpy as np
import pytest
from builders import START_MS, Row, Tick, assert_equal, pipeline, polls, published, records_of, run
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pipeline import KINDS, assert_same_set, cut_lists, held_ticks, streams, totals

from forecaster.config import Settings
from forecaster.windows import BATCH_ROOM


def line_with(stream=None, **state):
    return pipeline(Settings(stream=stream or {}, state=state))


def names(line):
    return {line.windows.slots.names[slot] for slot in line.windows.slots.taken()}


def evicted(outputs):
    return +sum((output.evicted for output in outputs), Counter())


def dead_letters(outputs):
    found = [message for output in outputs for message in output.messages if message.topic == "forecasts.dlq"]
    return [{name: value.decode() for name, value in message.headers} for message in found]


@given(streams(), cut_lists, KINDS, st.sampled_from(["13s", "17s", "29s"]))
@settings(max_examples=60, deadline=None)
def test_what_an_idle_ttl_publishes_does_not_depend_on_poll_boundaries(ticks, cuts, kind, ttl):
    records, one, other = records_of(ticks), line_with(kind, idle_ttl=ttl), line_with(kind, idle_ttl=ttl)
    whole, parts = run(one, records), run(other, records, cuts)
    assert_same_set(published(parts), published(whole))
    assert totals(parts) == totals(whole)
    assert held_ticks(other) == held_ticks(one)


def test_a_series_that_comes_back_after_its_ttl_starts_anew_whether_or_not_its_memory_was_freed():
    #  step        0 … 9 of a and b     b alone up to 12 or 40     a again, with all gaps filled
    common = [Tick(name, n, float(n)) for n in range(10) for name in "ab"]
    for more, slots in ((12, 2), (40, 1)):
        line = line_with({"max_gap": "1h"}, idle_ttl="10s")
        run(line, records_of(common))
        run(line, records_of([Tick("b", n, 1.0) for n in range(10, more)], 100))
        assert len(line.windows.slots) == slots
        outputs = run(line, records_of([Tick("b", more, 1.0), Tick("a", 21, 7.0)], 200))
        again = published(outputs)[-1]
        alone = published(run(line_with(), records_of([Tick("a", 21, 7.0)])))[-1]
        assert_equal([again | {"source": None}], [alone | {"source": None}])


def test_a_late_tick_of_a_series_that_has_ended_starts_it_anew():
    line = line_with(idle_ttl="10s")
    outputs = run(line, records_of([Tick("a", 5, 1.0), Tick("b", 30, 1.0), Tick("a", 2, 1.0)]))
    assert totals(outputs) == {"forecast": 3}
    assert evicted(outputs) == {"idle": 1}


def test_a_sensor_that_runs_far_behind_its_partition_is_not_idle():
    ticks = [Tick("behind" if n % 2 else "ahead", n + 100_000 * ((n + 1) % 2), 1.0) for n in range(100)]
    line = line_with(idle_ttl="10s")
    outputs = run(line, records_of(ticks), range(0, 100, 7))
    assert totals(outputs) == {"forecast": 100}
    assert evicted(outputs) == {}


def test_what_a_slow_sensor_holds_back_is_released_by_the_record_that_shows_it_idle():
    line = line_with({"allowed_lateness": "3s"}, idle_ttl="20s")
    ticks = [Tick("b", 50, 1.0), Tick("slow", 10, 1.0), *(Tick("b", step, 1.0) for step in (70, 71, 75))]
    outputs = run(line, records_of(ticks), range(6))
    assert [f["source"]["offset"] for f in published(outputs) if f["series"] == "slow"] == [3]
    assert names(line) == {"b"}
    assert line.windows.slots.begun[0] - len(line.windows.slots) == 1


def test_a_ttl_shorter_than_what_is_held_back_is_refused():
    with pytest.raises(ValueError, match=r"state\.idle_ttl: must be longer .* 6s"):
        Settings(stream={"allowed_lateness": "5s"}, state={"idle_ttl": "6s"})


@given(streams(names="abcdefgh"), cut_lists, KINDS, st.integers(1, 6), st.sampled_from([None, "15s"]))
@settings(max_examples=80, deadline=None)
def test_above_the_limit_series_leave_after_each_batch_and_every_tick_still_has_one_outcome(
    ticks, cuts, kind, most, ttl
):
    line, outputs = line_with(kind, max_series=most, idle_ttl=ttl), []
    for poll in polls(records_of(ticks), cuts):
        outputs.append(line.process(poll))
        assert len(line.windows.slots) <= most
        assert set(line.windows.event_time.held["slot"].tolist()) <= set(line.windows.slots.taken().tolist())
    assert totals(outputs).total() + held_ticks(line) == len(ticks)
    assert line.windows.slots.begun.total() - len(line.windows.slots) <= evicted(outputs).total()


def test_the_oldest_idle_leave_first_then_the_shortest_and_those_that_hold_something_back_last():
    ticks = [Tick("old", 0, 1.0), *(Tick("long", n, 1.0) for n in range(5)), Tick("new", 4, 1.0)]
    line = line_with(max_series=2)
    run(line, records_of(ticks))
    assert names(line) == {"long", "new"}
    run(line, records_of([Tick("newer", 4, 1.0), Tick("newest", 5, 1.0)], 100))
    assert names(line) == {"long", "newest"}

    line = line_with({"allowed_lateness": "2s"}, max_series=2)
    run(line, records_of([Tick("longer", 100, 1.0), Tick("holds", 50, 1.0), Tick("ahead", 103, 1.0)]))
    assert names(line) == {"holds", "ahead"}


def test_what_an_evicted_series_held_back_is_rejected_unless_it_is_in_a_bar():
    for bar, expected in ((None, {"rejected": 2}), ("mean", {"aggregated": 3})):
        line = line_with({"allowed_lateness": "9s", "bar": bar}, max_series=1)
        outputs = run(line, records_of([Tick("a", 0, 1.0), Tick("a", 1, 1.0), Tick("b", 4, 1.0)]))
        assert (totals(outputs), evicted(outputs)) == (expected, {"limit": 1})
        assert set(names(line)) == {"b"}


def test_a_batch_with_more_new_series_than_the_limit_is_taken_in_full():
    line = line_with(max_series=10)
    outputs = run(line, records_of([Tick(f"s{n}", n, 1.0) for n in range(1_000)]))
    assert totals(outputs) == {"forecast": 1_000}
    assert names(line) == {f"s{n}" for n in range(990, 1_000)}


def test_a_slot_that_is_used_again_remembers_nothing_of_the_series_evicted_from_it():
    setup = {"allowed_lateness": "2s", "late_restart": 2}
    draw = np.random.default_rng(3)
    before = records_of([Tick(f"old{n % 5}", n // 5, float(v)) for n, v in enumerate(draw.normal(50, 9, 200))])
    after = records_of([Tick(f"new{n % 5}", 60 + n // 5, float(v), 1) for n, v in enumerate(draw.normal(0, 1, 100))])
    line = line_with(setup, idle_ttl="1min")
    run(line, before, [90])
    run(line, records_of([Tick("far", 900, 1.0)], 1_000))
    assert line.windows.slots.begun[0] - len(line.windows.slots) == 5
    assert not line.inference.features.seen.any()
    assert_same_set(published(run(line, after, [33])), published(run(line_with(setup), after, [33])))
    assert len(line.windows.slots.names) == 6


def test_a_stream_of_new_keys_keeps_arrays_dictionaries_and_names_within_the_limit_and_one_batch():
    most, batch = 3_000, 500
    line = line_with(max_series=most)
    for n in range(40):
        run(line, records_of([Tick(f"{n}-{k}", n, 1.0) for k in range(batch)]))
    windows, features = line.windows, line.inference.features
    assert windows.capacity <= most + BATCH_ROOM
    assert {len(array) for array in (windows.rings.rounds, features.level, *line.inference.engine.hidden.layers)} == {
        windows.capacity
    }
    assert len(windows.slots.names) <= most + batch
    assert sum(map(bool, windows.slots.names)) == len(windows.slots) <= most
    assert windows.slots.begun[0] == 40 * batch


def test_a_series_new_to_a_partition_while_another_has_it_is_told_of_once():
    ticks = [Tick("a", 0, 1.0, 0), Tick("b", 0, 1.0, 1)]
    line = line_with()
    run(line, records_of(ticks))
    moved = [Tick("a", 1, 1.0, 1), Tick("a", 2, 1.0, 1), Tick("b", 1, 1.0, 1), Tick("c", 1, 1.0, 2)]
    (output,) = run(line, records_of(moved, 100))
    assert output.elsewhere == [("a", 1, 0)]
    assert totals([output]) == {"forecast": 4}
    (output,) = run(line, records_of(moved, 200))
    assert output.elsewhere == []


def test_a_series_that_one_batch_brings_from_three_partitions_belongs_to_the_first():
    line = line_with(series_in_two_partitions="refuse")
    (output,) = run(line, records_of([Tick("a", 0, 1.0, p) for p in (2, 0, 1)]))
    assert sorted(output.elsewhere) == [("a", 1, 0), ("a", 2, 0)]
    assert totals([output]) == {"forecast": 1, "rejected": 2}


def test_refused_ticks_are_dead_letters_that_name_both_partitions_until_the_old_place_lets_go():
    line = line_with(series_in_two_partitions="refuse", idle_ttl="10s")
    run(line, records_of([Tick("a", 0, 1.0, 0)]))
    array = b"[%b]" % b",".join(b'{"series":"%b","ts":%d,"value":1}' % (name, START_MS) for name in (b"x", b"a"))
    outputs = run(line, [Row(array, 3, 7)])
    assert totals(outputs) == {"forecast": 1, "rejected": 1}
    (letter,) = dead_letters(outputs)
    assert letter["forecaster-reason"] == "two_partitions"
    assert letter["forecaster-error"].startswith("tick 1: series 'a' came in partition 3, and partition 0 has it")
    assert ("x" in names(line), len(line.windows.slots)) == (True, 2)

    run(line, records_of([Tick("b", 60, 1.0, 0)], 100))
    assert totals(run(line, records_of([Tick("a", 61, 1.0, 3)], 100))) == {"forecast": 1}


def test_a_series_stays_refused_in_one_partition_while_it_goes_on_in_the_other():
    line = line_with(series_in_two_partitions="refuse")
    ticks = [Tick("a", n, 1.0, p) for n in range(20) for p in (0, 1)]
    outputs = run(line, records_of(ticks), range(3, 40, 5))
    assert totals(outputs) == {"forecast": 20, "rejected": 20}
    assert {f["source"]["partition"] for f in published(outputs)} == {0}
