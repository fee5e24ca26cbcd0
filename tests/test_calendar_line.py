"""The whole line in sessions and on a wall clock: neighbours over a weekend, closed ticks, times, restarts."""

import json
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from builders import (
    FEATURES,
    FLAT,
    START_MS,
    Tick,
    assert_equal,
    code_network,
    manifest,
    network,
    pipeline,
    published,
    records_of,
    run,
)
from checkpoints import checkpointed, offsets_after, state_of
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from slow_calendar import HOUR, MINUTE, moment

from forecaster.bundle.manifest import Manifest
from forecaster.calendar.clock import Clock
from forecaster.config import Settings, StreamSettings
from forecaster.errors import ConfigError
from forecaster.tasks import make_encoder
from training.seasons import features_of

SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "forecast.schema.json").read_text("utf-8"))
NEW_YORK = {"step": "5min", "time_zone": "America/New_York"}
SESSIONS = {"hours": ["09:30-16:00"], "holidays": ["2025-06-19"], "early_closes": ["2025-07-03 13:00"]}
STOCKS = NEW_YORK | {"sessions": SESSIONS}


def at(day, hour, minute, month=6):
    """A moment of 2025 in New York, in epoch milliseconds."""
    return moment(datetime(2025, month, day, hour, minute), "America/New_York")  # noqa: DTZ001


def line_of(stream, cycles=("1d",), **changes):
    """A pipeline whose seasons are read on the clock of `stream`."""
    settings = Settings(stream=stream)
    model = Settings(stream=stream, model={"seasons": cycles}).model
    of = Clock.of(settings.stream, tuple(season // settings.stream.step for season in model.seasons))
    features = FEATURES.model_copy(update={"seasons": of.seasons, "clock": of})
    return pipeline(settings, network(features=features), features=features, **changes)


def ticks_at(times, series="a"):
    return [Tick(series, (time_ms - START_MS) / 1_000, float(n)) for n, time_ms in enumerate(times)]


def outcomes(outputs):
    return +sum((output.outcomes for output in outputs), Counter())


def test_the_last_bar_before_a_weekend_and_the_first_after_it_are_neighbours():
    line = line_of(STOCKS | {"bar": "last"})
    ticks = ticks_at([at(6, 15, 51), at(6, 15, 59), at(9, 9, 31), at(9, 9, 36)])
    outputs = run(line, records_of(ticks))
    origins = [forecast["origin"] for forecast in published(outputs)]
    assert origins == [at(6, 15, 55), at(6, 16, 0), at(9, 9, 35)]
    assert (line.windows.filled, line.windows.gap_restarts) == (0, 0)


def test_a_reader_is_told_when_each_step_of_the_horizon_is():
    line = line_of(STOCKS)
    (forecast,) = published(run(line, records_of(ticks_at([at(18, 15, 50)]))))
    assert forecast["times"] == [at(18, 15, 55), at(20, 9, 30), at(20, 9, 35)]
    assert forecast["step_ms"] == 5 * MINUTE
    Draft202012Validator(SCHEMA).validate({name: member for name, member in forecast.items() if name != "scale"})
    (always_open,) = published(run(line_of(NEW_YORK), records_of(ticks_at([at(18, 15, 45)]))))
    assert "times" not in always_open


def test_a_tick_in_closed_hours_is_a_dead_letter_and_moves_no_clock():
    line = line_of(STOCKS)
    times = [at(6, 15, 55), at(6, 16, 0), at(7, 12, 0), at(19, 12, 0), at(3, 13, 0, month=7), at(9, 9, 30)]
    outputs = run(line, records_of(ticks_at(times)))
    assert outcomes(outputs) == {"forecast": 2, "rejected": 4}
    letters = [message for output in outputs for message in output.messages if message.topic == "forecasts.dlq"]
    assert [dict(letter.headers)["forecaster-reason"] for letter in letters] == [b"closed"] * 4
    assert f"ts {at(6, 16, 0)} is in closed hours of stream.sessions" in str(letters[0].headers)


def test_a_gap_and_being_idle_are_measured_in_open_time():
    stream = STOCKS | {"max_gap": "10min"}
    over_night = [at(5, 15, 55), at(6, 9, 35)]  # one step is missing
    line = line_of(stream)
    run(line, records_of(ticks_at(over_night)))
    assert (line.windows.filled, line.windows.gap_restarts) == (1, 0)
    line = line_of(stream)
    run(line, records_of(ticks_at([at(5, 12, 0), at(5, 12, 20)])))
    assert line.windows.gap_restarts == 1

    settings = Settings(stream=stream, state={"idle_ttl": "30min"})
    for times, evicted in ((over_night, 0), ([at(5, 12, 0), at(5, 12, 45)], 2)):  # one starts anew, one is forgotten
        line = pipeline(settings, network(features=FEATURES))
        outputs = run(line, records_of([*ticks_at(times[:1], "b"), *ticks_at(times)]), [2])
        assert sum(output.evicted["idle"] for output in outputs) == evicted


def test_what_is_held_back_over_night_is_released_by_the_next_session():
    line = line_of(STOCKS | {"allowed_lateness": "5min"})
    times = [at(5, 15, 50), at(5, 15, 45), at(5, 15, 55), at(6, 9, 30), at(6, 9, 35)]
    outputs = run(line, records_of(ticks_at(times)))
    assert [forecast["origin"] for forecast in published(outputs)] == [*sorted(times)[:4]]
    assert outcomes(outputs) == {"forecast": 4}


@given(
    st.sampled_from(
        [STOCKS, STOCKS | {"bar": "mean"}, NEW_YORK | {"step": "1h"}, STOCKS | {"allowed_lateness": "5min"}]
    ),
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 90), st.floats(-5, 5, width=32)), min_size=4, max_size=60),
    st.integers(0, 60),
    st.lists(st.integers(1, 60), max_size=4),
)
@hypothesis_settings(max_examples=20, deadline=None)
def test_a_restart_from_a_checkpoint_publishes_what_the_undisturbed_run_did(stream, moves, resume, cuts):
    grid, now, ticks = line_of(stream).windows.grid, at(3, 15, 0, month=7), []
    for name, minutes, value in moves:  # over an early close, a weekend and a change of the clock
        now += minutes * MINUTE
        while not grid.is_open(np.array([now]))[0]:
            now += HOUR
        ticks.append(Tick(name, (now - START_MS) / 1_000, value))
    records = records_of(ticks)
    undisturbed = line_of(stream)
    expected = published(run(undisturbed, records))
    before, after = line_of(stream), line_of(stream)
    first = published(run(before, records[:resume]))
    found = checkpointed(before, {0: resume}).find(after).checkpoint if resume else None
    if found is not None:
        after.load(0, found)
    rest = published(run(after, records[resume:], cuts))
    assert_equal(first + rest, expected)
    one, other = state_of(after), state_of(undisturbed)
    assert one[:2] == other[:2]
    np.testing.assert_equal(one[2], other[2])
    for name, array in one[3].items():  # where a batch ends may cost the last bit of a mean
        np.testing.assert_allclose(array, other[3][name], rtol=1e-5, atol=1e-5, err_msg=name)


def test_the_settings_that_a_bundle_is_held_against_name_themselves():
    made = trained_for(STOCKS)
    made.check_stream(Settings(stream=STOCKS))
    made.check_stream(Settings(stream=STOCKS | {"sessions": SESSIONS | {"holidays": ["2026-06-19"]}}))
    for stream, setting in (
        (STOCKS | {"time_zone": "Europe/London"}, "time_zone"),
        (NEW_YORK, "sessions"),
        (STOCKS | {"sessions": SESSIONS | {"hours": ["09:30-16:30"]}}, "sessions"),
    ):
        with pytest.raises(ConfigError, match=rf"^stream\.{setting}: the configuration says .*was trained for"):
            made.check_stream(Settings(stream=stream))
    with pytest.raises(ConfigError, match=r"^stream\.time_zone: .*was trained for 'UTC'$"):
        trained_for({"step": "5min"}).check_stream(Settings(stream=NEW_YORK))


def test_a_bundle_is_served_with_the_holidays_of_the_configuration():
    later = StreamSettings(**STOCKS | {"sessions": SESSIONS | {"holidays": ["2026-06-19"]}})
    served = trained_for(STOCKS).with_holidays_of(later)
    assert served.features.clock.sessions == later.sessions
    assert served.features.seasons == (78,)
    plain = trained_for({"step": "5min"})
    assert plain.with_holidays_of(StreamSettings(step="5min")) is plain


def test_a_manifest_reads_back_and_its_seasons_are_those_of_its_clock():
    made = trained_for(STOCKS)
    assert Manifest.model_validate_json(made.model_dump_json()) == made
    content = json.loads(made.model_dump_json())
    content["features"]["clock"]["sessions"]["hours"] = ["09:30-17:00"]
    with pytest.raises(ValueError, match="seasons are not as long as the cycles of its clock"):
        Manifest.model_validate(content)


def test_the_span_to_rebuild_from_has_nights_and_weekends_in_it():
    always, stocks = (trained_for(stream).rebuild_span_ms() for stream in (NEW_YORK, STOCKS))
    assert always == 30 * 288 * 5 * MINUTE  # thirty days
    assert 41 * 24 * HOUR < stocks < 46 * 24 * HOUR  # thirty sessions, six weekends, and the holiday


def test_a_class_is_of_now_and_has_no_times():
    made = manifest(code_network(labels=("calm", "fault")))
    assert make_encoder(made, Settings(stream=STOCKS))._envelope.ahead_ms is None


def test_where_every_event_is_a_step_nobody_knows_the_times_ahead():
    settings = Settings(stream=STOCKS | {"step": "tick"})
    (forecast,) = published(run(pipeline(settings, features=FLAT), records_of(ticks_at([at(18, 15, 45)]))))
    assert (forecast["step_ms"], forecast["origin"]) == (None, at(18, 15, 45))
    assert "times" not in forecast


def trained_for(stream):
    settings = Settings(stream=stream, model={"context_length": 8})
    features = features_of((288,), settings)
    return manifest(network(features=features), features=features, step_ms=settings.stream.step)


def test_state_of_another_time_zone_is_not_used_and_says_so():
    records = records_of(ticks_at([at(5, 12, 5 * n) for n in range(6)]))
    line = line_of(NEW_YORK)
    run(line, records)
    found = checkpointed(line, offsets_after(records)).find(line_of(NEW_YORK | {"time_zone": "Europe/London"}))
    assert found.checkpoint is None
    assert "features.clock" in found.problems[0][1]


@pytest.mark.parametrize(
    ("changes", "used"),
    [
        ({"holidays": ["2025-06-19", "2025-12-25"]}, True),
        ({"holidays": []}, True),
        ({"early_closes": ["2025-06-10 13:00"]}, True),
        ({"holidays": ["2025-06-04", "2025-06-19"]}, False),  # before the checkpoint: it has counted that day
        ({"early_closes": ["2025-06-05 15:00"]}, False),
        ({"hours": ["09:30-15:00"]}, False),
    ],
)
def test_state_goes_on_under_a_new_list_of_holidays_but_for_days_that_it_has_counted(changes, used):
    records = records_of(ticks_at([at(5, 12, 5 * n) for n in range(6)] + [at(6, 9, 30)]))
    line = line_of(STOCKS)
    run(line, records)
    listed = line_of(STOCKS | {"sessions": SESSIONS | changes})
    found = checkpointed(line, offsets_after(records)).find(listed)
    assert (found.checkpoint is not None) == used
    assert [code for code, _ in found.problems] == ([] if used else ["other_settings"])
    if used:
        listed.load(0, found.checkpoint)
        anew, after = line_of(STOCKS | {"sessions": SESSIONS | changes}), records_of(ticks_at([at(6, 9, 35)]), 7)
        run(anew, records)
        assert_equal(published(run(listed, after)), published(run(anew, after)))
