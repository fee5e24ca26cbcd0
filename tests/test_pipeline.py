"""The whole line in memory: outcomes add up, batches and poll boundaries leave no trace, replay equals live."""

from collections import Counter

import numpy as np
import pytest
from builders import (
    FEATURES,
    FLAT,
    START_MS,
    Row,
    Tick,
    assert_equal,
    batch,
    by_source,
    manifest,
    network,
    pipeline,
    published,
    records_of,
    run,
    segment_network,
    with_inputs_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.config import Settings, StreamSettings
from forecaster.errors import ConfigError
from forecaster.networks.many_to_many import Network

NO_STATE = {"max_examples": 50, "deadline": None}
values = st.one_of(st.none(), st.floats(-5, 5, width=32))


@st.composite
def streams(draw, names=("a", "b", "c", "d"), most=60):
    """Ticks that mostly move on, with late ones, duplicates, missing values, gaps and jumps between."""
    ticks, clock = [], dict.fromkeys(names, 0.0)
    for _ in range(draw(st.integers(1, most))):
        name = draw(st.sampled_from(names))
        clock[name] += draw(st.sampled_from([1, 1, 1, 1, 1, 0, 0.3, 2, 4, -1, -3, 30]))
        clock[name] = max(clock[name], 0.0)
        ticks.append(Tick(name, clock[name], draw(values), names.index(name) % 2))
    return ticks


cut_lists = st.lists(st.integers(1, 60), max_size=6)
KINDS = st.fixed_dictionaries(
    {
        "bar": st.sampled_from([None, None, "mean", "last"]),
        "allowed_lateness": st.sampled_from(["0s", "2s", "10s"]),
        "late_restart": st.sampled_from([2, 100]),
        "step": st.sampled_from(["1s", "2s"]),
    }
)


MADE = st.sampled_from([None, segment_network(), network(cell="lstm", aggregate="max")])
NETWORKS = pytest.mark.parametrize("made", [None, segment_network()], ids=["carried", "segment"])


def fresh_lines(kind, *, per_event=False, emit="every", made=None):
    """A function that makes pipelines; `per_event` takes step = "tick" where `kind` has no bar."""
    if per_event and not kind["bar"]:
        setup = Settings(emit=emit, stream=StreamSettings(**kind | {"step": "tick"}))
        made = with_inputs_of(made, FLAT) if isinstance(made, Network) else made
        return lambda: pipeline(setup, made, features=FLAT)
    return lambda: pipeline(Settings(emit=emit, stream=StreamSettings(**kind)), made)


def totals(outputs):
    return +sum((output.outcomes for output in outputs), Counter())


def assert_same_set(left, right):
    """Equal but for the order between series that one tick triggers."""
    one, other = by_source(left), by_source(right)
    assert one.keys() == other.keys()
    for key, forecasts in one.items():
        assert_equal(forecasts, other[key])


def held_ticks(line):
    """Ticks without an outcome yet: a tick held back for order; one in a bar has its outcome at once."""
    return 0 if line.settings.stream.bar else len(line.windows.event_time.held)


@given(streams(), cut_lists, KINDS, st.booleans(), st.sampled_from(["every", "latest"]))
@settings(**NO_STATE)
def test_outcomes_sum_to_the_ticks_decoded_less_those_still_held(ticks, cuts, kind, per_event, emit):
    line = fresh_lines(kind, per_event=per_event, emit=emit)()
    outputs = run(line, records_of(ticks), cuts)
    counted = totals(outputs)
    assert counted.total() + held_ticks(line) == len(ticks)
    assert counted.keys() <= {"forecast", "superseded", "aggregated", "late", "duplicate", "rejected"}
    if not kind["bar"]:
        assert counted["forecast"] == len(published(outputs))


@given(streams(), cut_lists, KINDS, st.integers(0, 60), MADE)
@settings(**NO_STATE)
def test_a_silent_prefix_then_the_rest_gives_what_the_undisturbed_run_gave_from_there(ticks, cuts, kind, resume, made):
    fresh, records = fresh_lines(kind, made=made), records_of(ticks)
    undisturbed = run(fresh(), records, cuts)

    before = run(fresh(), records[:resume])
    replayed = [row._replace(silent=n < resume) for n, row in enumerate(records)]
    after = run(fresh(), replayed, cuts)

    assert sum(output.replayed for output in after) == min(resume, len(records))
    assert totals(before) + totals(after) == totals(undisturbed)
    new = {(row.partition, row.offset) for row in records[resume:]}
    expected = [f for f in published(undisturbed) if (f["source"]["partition"], f["source"]["offset"]) in new]
    assert_equal(published(after), expected)


@given(streams(), cut_lists)
@settings(max_examples=20, deadline=None)
def test_silent_records_give_no_message_and_no_outcome(ticks, cuts):
    poison = Row(b"{", 0, 10_000)
    far = Row(b'{"series":"a","ts":%d,"value":1}' % (START_MS + 10**9), 0, 10_001, timestamp_ms=START_MS)
    records = [row._replace(silent=True) for row in [*records_of(ticks), poison, far]]
    outputs = run(pipeline(), records, cuts)
    assert [message for output in outputs for message in output.messages] == []
    assert totals(outputs).total() == sum((o.dead_letters for o in outputs), Counter()).total() == 0
    assert sum(output.replayed for output in outputs) == len(records)


@given(streams(), cut_lists, KINDS, st.booleans(), MADE)
@settings(**NO_STATE)
def test_poll_boundaries_never_change_what_every_publishes(ticks, cuts, kind, per_event, made):
    fresh, records = fresh_lines(kind, per_event=per_event, made=made), records_of(ticks)
    whole, parts = run(fresh(), records), run(fresh(), records, cuts)
    assert totals(whole) == totals(parts)
    assert_same_set(published(parts), published(whole))


@NETWORKS
def test_hundreds_of_rounds_at_once_forecast_as_hundreds_of_polls_of_one_tick(made):
    draw = np.random.default_rng(1)
    records = records_of([Tick("a", n, float(v)) for n, v in enumerate(draw.normal(0, 1, 700)) if n % 97])
    once = published(run(pipeline(made=made), records))
    assert_equal(published(run(pipeline(made=made), records, range(200))), once)
    assert_equal(published(run(pipeline(made=made), records, range(0, 700, 9))), once)


@given(
    streams(names=("b", "c", "d", "e")), streams(names=("target",), most=25), cut_lists, cut_lists, st.randoms(), MADE
)
@settings(**NO_STATE)
def test_batch_mates_do_not_change_a_forecast(mates, own, cuts, cuts_alone, random, made):
    records = records_of(own, first_offset=1_000)
    others = [row._replace(partition=random.randrange(2), offset=n) for n, row in enumerate(records_of(mates))]
    mixed, left = [], list(records)
    for row in others:
        while left and random.random() < 0.5:
            mixed.append(left.pop(0))
        mixed.append(row)
    alone = published(run(pipeline(made=made), records, cuts_alone))
    among = [f for f in published(run(pipeline(made=made), mixed + left, cuts)) if f["series"] == "target"]
    assert_equal(sorted(among, key=lambda f: f["source"]["offset"]), alone)


@NETWORKS
def test_two_thousand_batch_mates_of_all_lengths_do_not_change_a_forecast(made):
    draw = np.random.default_rng(2)
    own = [Tick("target", n, float(v)) for n, v in enumerate(draw.normal(0, 1, 40))]
    mates = [Tick(f"s{s}", n, float(draw.normal())) for s in range(2_000) for n in range(int(draw.integers(1, 6)))]
    busy = [Tick(f"busy{s}", n, float(draw.normal())) for s in range(3) for n in range(700)]
    records = records_of(own, first_offset=100_000)
    crowd = records_of(mates + busy)
    among = published(run(pipeline(made=made), crowd[:4_000] + records + crowd[4_000:]))
    assert_equal([f for f in among if f["series"] == "target"], published(run(pipeline(made=made), records)))


@NETWORKS
def test_a_reused_slot_remembers_nothing_of_the_series_before(made):
    draw = np.random.default_rng(3)
    setup = Settings(stream=StreamSettings(allowed_lateness="2s", late_restart=2))
    before = records_of([Tick(f"old{n % 5}", n // 5, float(v), 1) for n, v in enumerate(draw.normal(50, 9, 200))])
    after = records_of([Tick(f"new{n % 5}", n // 5, float(v), 1) for n, v in enumerate(draw.normal(0, 1, 100))])
    line = pipeline(setup, made)
    run(line, before, [90])
    slots = len(line.windows.slots.names)
    line.drop(1)
    used = published(run(line, after, [33]))
    assert len(line.windows.slots.names) == slots
    assert_same_set(used, published(run(pipeline(setup, made), after, [33])))


def test_dropping_a_partition_leaves_the_series_of_the_others_alone():
    ticks = [Tick("ab"[n % 2], n // 2, float(n % 7), n % 2) for n in range(60)]
    records = records_of(ticks)
    line = pipeline()
    run(line, records[:30])
    line.drop(1)
    kept = [f for f in published(run(line, records[30:])) if f["series"] == "a"]
    assert_equal(kept, [f for f in published(run(pipeline(), records, [30])) if f["series"] == "a"][15:])


def test_latest_publishes_the_newest_observation_of_each_series_and_supersedes_the_rest():
    ticks = [Tick("a", 0, 1.0), Tick("b", 0, 5.0), Tick("a", 1, 2.0), Tick("a", 2, 3.0)]
    line = pipeline(Settings(emit="latest"))
    outputs = run(line, records_of(ticks))
    newest = {forecast["series"]: forecast["origin"] - START_MS for forecast in published(outputs)}
    assert newest == {"a": 2_000, "b": 0}
    assert totals(outputs) == {"forecast": 2, "superseded": 2}


@NETWORKS
def test_latest_forecasts_what_every_forecasts_at_the_same_observation(made):
    ticks = [Tick("ab"[n % 2], n // 2, float(n * n % 11)) for n in range(80)]
    records = records_of(ticks)
    every = by_source(published(run(pipeline(made=made), records)))
    latest = published(run(pipeline(Settings(emit="latest"), made), records, [13, 40, 41]))
    assert len(latest) == 7
    for forecast in latest:
        (same,) = by_source([forecast])
        assert_equal([forecast], every[same])


def test_a_series_is_ready_after_its_context_and_a_season_and_warming_again_after_a_long_gap():
    ticks = [Tick("a", n, 1.0 if n % 3 else None) for n in range(1, 20)] + [Tick("a", 100, 1.0)]
    forecasts = published(run(pipeline(context_length=6), records_of(ticks)))
    values_seen = np.cumsum([tick.value is not None for tick in ticks[:-1]])
    expected = ["ready" if seen >= 6 else "warming" for seen in values_seen]
    assert [f["maturity"] for f in forecasts] == [*expected, "warming"]


def test_a_full_season_longer_than_the_context_makes_a_series_ready():
    ticks = [Tick("a", n, 1.0) for n in range(6)]
    forecasts = published(run(pipeline(context_length=2), records_of(ticks)))
    assert [f["maturity"] for f in forecasts] == ["warming"] * (FEATURES.seasons[0] - 1) + ["ready"] * 3


def test_missing_values_before_the_first_value_are_rejected_and_later_ones_forecast_from_what_is_known():
    ticks = [Tick("a", 0, None), Tick("a", 1, None), Tick("a", 2, 4.0), Tick("a", 3, None)]
    outputs = run(pipeline(), records_of(ticks))
    assert totals(outputs) == {"rejected": 2, "forecast": 2}
    assert [f["origin"] - START_MS for f in published(outputs)] == [2_000, 3_000]


def test_a_tick_too_far_ahead_of_its_records_time_is_dead_lettered_and_moves_no_event_time():
    ahead = Row(b'{"series":"a","ts":%d,"value":1}' % (START_MS + 4_000_000), 0, 7, b"a", timestamp_ms=START_MS)
    fine = records_of([Tick("a", 1, 1.0), Tick("a", 2, 1.0)])
    (output,) = run(pipeline(), [fine[0], ahead._replace(offset=1), fine[1]._replace(offset=2)])
    assert totals([output]) == {"rejected": 1, "forecast": 2}
    assert [f["origin"] - START_MS for f in published([output])] == [1_000, 2_000]
    assert output.dead_letters == {"future": 1}
    assert output.messages[-1].value == ahead.value
    assert dict(output.messages[-1].headers)["forecaster-source"] == b"ticks/0/1"


def test_a_forecast_that_is_not_finite_is_dead_lettered_and_the_others_go_out():
    broken = network(units=(3,), seed=99)
    broken.output_layer.bias.assign(np.full(broken.output_layer.bias.shape, np.nan, np.float32))
    outputs = run(pipeline(made=broken), records_of([Tick("a", 0, 1.0), Tick("a", 1, None)]))
    assert published(outputs) == []
    assert totals(outputs) == {"rejected": 2}
    assert [o.dead_letters for o in outputs] == [{"not_finite_forecast": 2}]


def test_a_dead_letter_carries_the_record_unchanged_and_its_own_headers_behind():
    headers = (("trace", b"\xff\x00"), ("forecaster-reason", b"old"))
    (output,) = run(pipeline(), [Row(b"\xff{", 3, 41, b"\x00k", headers)])
    (message,) = output.messages
    assert (message.topic, message.key, message.value) == ("forecasts.dlq", b"\x00k", b"\xff{")
    assert message.headers[:2] == headers
    assert [name for name, _ in message.headers[2:]] == ["forecaster-reason", "forecaster-error", "forecaster-source"]
    assert message.headers[2][1] == b"not_utf8"
    assert message.headers[4][1] == b"ticks/3/41"


def test_an_empty_poll_gives_nothing():
    output = pipeline().process(batch([]))
    assert (output.messages, output.outcomes.total(), output.replayed) == ([], 0, 0)


def test_the_source_names_the_tick_in_a_record_of_many():
    ticks = b",".join(b'{"series":"%c","ts":%d,"value":1}' % (97 + n, START_MS) for n in range(3))
    outputs = run(pipeline(), [Row(b"[" + ticks + b"]", 2, 5)])
    assert [(f["series"], f["source"]) for f in published(outputs)] == [
        (name, {"topic": "ticks", "partition": 2, "offset": 5, "index": n}) for n, name in enumerate("abc")
    ]


def test_a_bar_forecasts_from_its_end():
    setup = Settings(stream=StreamSettings(step="10s", bar="mean"))
    aligned = -(START_MS // 1_000) % 10
    ticks = [Tick("a", aligned + t, float(t)) for t in (0, 4, 9, 10)]
    outputs = run(pipeline(setup), records_of(ticks))
    (forecast,) = published(outputs)
    assert forecast["origin"] == START_MS + (aligned + 10) * 1_000
    assert forecast["step_ms"] == 10_000
    assert totals(outputs) == {"aggregated": 4}


def test_a_value_that_has_no_logarithm_is_a_dead_letter_and_the_others_are_forecast():
    features = FEATURES.model_copy(update={"transform": "log"})
    line = pipeline(features=features)
    outputs = run(line, records_of([Tick("a", 0, 2.0), Tick("a", 1, 0.0), Tick("a", 2, -3.0), Tick("a", 3, 4.0)]))
    forecasts = published(outputs)
    assert [forecast["source"]["offset"] for forecast in forecasts] == [0, 3]
    assert all(number > 0 for forecast in forecasts for number in forecast["quantiles"]["0.1"])
    assert totals(outputs) == {"forecast": 2, "rejected": 2}
    letters = [message for output in outputs for message in output.messages if message.topic == "forecasts.dlq"]
    assert [dict(letter.headers)["forecaster-reason"] for letter in letters] == [b"not_positive"] * 2


def test_a_bundle_that_reads_no_windows_fits_whatever_the_settings_say_of_short_ones():
    for asked in ("masked", "filled"):
        manifest(network()).check_stream(Settings(model={"short_windows": asked}))


def test_settings_that_the_bundle_was_not_trained_for_are_refused():
    setup = Settings(stream=StreamSettings(step="2s"))
    with pytest.raises(ConfigError, match=r"^stream\.step: the configuration says '2s'.*'1s'$"):
        manifest(network()).check_stream(setup)
    for name, asked, made in (("aggregate", "max", "None"), ("cell", "lstm", "'gru'")):
        with pytest.raises(ConfigError, match=rf"^model\.{name}: the configuration says '{asked}'.*for {made}$"):
            manifest(network()).check_stream(Settings(model={name: asked}))
    setup = Settings(model={"transform": "log"})
    with pytest.raises(ConfigError, match=r"^model\.transform: the configuration says 'log'.*'none'$"):
        manifest(network()).check_stream(setup)
