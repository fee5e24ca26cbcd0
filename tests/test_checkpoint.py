"""A checkpoint and the rest of the stream give what an undisturbed pipeline gives, wherever it was cut."""

import numpy as np
import pytest
from builders import (
    CONTEXT,
    FEATURES,
    Tick,
    assert_equal,
    manifest,
    network,
    pipeline,
    published,
    records_of,
    run,
    segment_network,
    share_compiled,
)
from checkpoints import GROUP, SOURCE, StateTopic, assert_same_state, checkpointed, offsets_after, state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from test_pipeline import KINDS, MADE, assert_same_set, cut_lists, fresh_lines, streams, totals

from forecaster.checkpoint.writer import Writer
from forecaster.config import Settings, StreamSettings
from forecaster.engines.carried import MOST_CELLS, ROUNDS_LADDER, SERIES_LADDER
from forecaster.grid import NEVER
from forecaster.pipeline import Pipeline
from forecaster.rings import refitted

NO_STATE = {"max_examples": 50, "deadline": None}


pytestmark = pytest.mark.usefixtures("small_records")


def assert_goes_on(before, after, undisturbed, taken):
    """`before` and `after`, which begins behind the records `taken`, are one undisturbed run."""
    assert totals(before) + totals(after) == totals(undisturbed)
    done = offsets_after(taken)
    expected = [f for f in published(undisturbed) if f["source"]["offset"] >= done.get(f["source"]["partition"], 0)]
    assert_same_set(published(after), expected)


@given(streams(), cut_lists, KINDS, st.booleans(), st.integers(0, 60), MADE)
@settings(**NO_STATE)
def test_a_checkpoint_at_any_cut_is_the_state_and_the_rest_gives_the_same(ticks, cuts, kind, per_event, cut, made):
    fresh, records = fresh_lines(kind, per_event=per_event, made=made), records_of(ticks)
    undisturbed = run(fresh(), records, cuts)

    line = fresh()
    before = run(line, records[:cut], cuts)
    offsets = offsets_after(records[:cut])
    topic = checkpointed(line, offsets)
    restored = fresh()
    for partition, offset in offsets.items():
        found = topic.find(restored, partition, offset)
        assert found.problems == ()
        assert found.checkpoint.manifest.offset == offset
        assert restored.load(partition, found.checkpoint) == len(line.windows.slots.of(partition))
        assert_same_state(state_of(restored, partition), state_of(line, partition))
    after = run(restored, records[cut:], [c - cut for c in cuts])
    assert_goes_on(before, after, undisturbed, records[:cut])


@given(streams(), st.lists(st.integers(1, 60), max_size=20), KINDS, st.integers(1, 4_000), st.data(), MADE)
@settings(**NO_STATE)
def test_a_crash_at_any_point_of_any_run_of_checkpoints_restores_the_last_whole_one(
    ticks, cuts, kind, budget, data, made
):
    fresh, records = fresh_lines(kind, made=made), records_of(ticks)
    line, topic, writer, whole = fresh(), StateTopic(), Writer(GROUP), {}
    ends = sorted({cut for cut in cuts if cut < len(records)} | {len(records)})
    for low, high in zip([0, *ends], ends, strict=False):
        run(line, records[low:high])
        for partition, offset in offsets_after(records[:high]).items():
            writer.take(line, partition, offset, SOURCE)
        for _ in range(data.draw(st.integers(0, 8), label="transactions")):
            topic.apply(writer.next(budget))
            if done := writer.delivered():
                whole[done.partition] = done
    lost = writer.next(budget)  # at_least_once: of what was never confirmed any part may have arrived
    topic.apply(lost[: data.draw(st.integers(0, max(0, len(lost) - 1)), label="arrived")])

    restored, taken = fresh(), {}
    for partition in offsets_after(records):
        found = topic.find(restored, partition)
        assert (found.checkpoint.manifest if found.checkpoint else None) == whole.get(partition)
        if found.checkpoint:
            taken[partition] = found.checkpoint.manifest.offset
            restored.load(partition, found.checkpoint)
    run(restored, [row for row in records if row.offset >= taken.get(row.partition, 0)])
    for partition in offsets_after(records):
        one, other = state_of(restored, partition), state_of(line, partition)
        assert one[:2] == other[:2]
        for name, array in one[3].items():
            np.testing.assert_allclose(array, other[3][name], 1e-5, 1e-5, err_msg=name)


@st.composite
def shuffled(draw):
    """Ticks in the order of their time, and in an order in which none comes more than a lateness too late."""
    lateness = draw(st.integers(1, 6))
    names = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=60))
    steps = sorted(draw(st.lists(st.integers(0, 40), min_size=len(names), max_size=len(names))))
    ticks = dict.fromkeys(zip(names, steps, strict=True))
    ordered = [Tick(name, step, draw(st.floats(-5, 5, width=32))) for name, step in ticks]
    # one step less: where both fall on one instant, a tick still waits for its own series
    delay = [draw(st.integers(0, 4 * (lateness - 1))) / 4 for _ in ordered]
    arrival = sorted(range(len(ordered)), key=lambda n: ordered[n].step + delay[n])
    return lateness, ordered, [ordered[n] for n in arrival]


@given(shuffled(), st.sampled_from([None, "mean", "last"]), st.integers(0, 60), MADE)
@settings(**NO_STATE)
def test_arrival_order_within_the_lateness_changes_nothing_even_across_a_restore(case, bar, cut, made):
    lateness, ordered, arriving = case
    fresh = fresh_lines({"bar": bar, "allowed_lateness": f"{lateness}s", "max_gap": "40s"}, made=made)
    records = records_of(arriving)
    line = fresh()
    before = run(line, records[:cut])
    restored = fresh()
    if records[:cut]:
        restored.load(0, checkpointed(line, {0: cut}).find(restored).checkpoint)
    outputs = before + run(restored, records[cut:])

    def without_source(outputs):
        made = [forecast | {"source": None} for forecast in published(outputs)]
        return sorted(made, key=lambda forecast: (forecast["series"], forecast["origin"]))

    expected = run(fresh(), records_of(ordered))
    assert_equal(without_source(outputs), without_source(expected))
    assert totals(outputs) == totals(expected)


def test_what_lateness_holds_back_and_open_bars_are_part_of_the_state():
    setup = Settings(stream=StreamSettings(bar="mean", allowed_lateness="10s"))
    line = pipeline(setup)
    records = records_of([Tick("a", 0.0, 1.0), Tick("a", 0.5, 3.0), Tick("b", 2.0, 5.0), Tick("a", 40.0, 9.0)])
    run(line, records[:3])
    assert len(line.windows.event_time.held) == 2
    restored = pipeline(setup)
    run(restored, records_of([Tick("other", 0.0, 1.0, partition=1)]))  # slots and open items of its own
    restored.load(0, checkpointed(line, {0: 3}).find(restored).checkpoint)
    assert_same_state(state_of(restored), state_of(line))
    assert len(restored.windows.event_time.held) == 3
    run(restored, records[3:])
    a, b = restored.windows.slots.of(0)
    assert restored.windows.rings.window(a)[-1] == 2.0
    assert restored.windows.rings.window(b)[-1] == 5.0


def test_a_snapshot_is_a_copy():
    line = pipeline()
    records = records_of([Tick(name, n, 1.0 + n) for n in range(6) for name in "ab"])
    run(line, records[:8])
    snapshot = line.snapshot(0, 8, SOURCE)
    before = {name: array.copy() for name, array in snapshot.part.arrays.items()}
    run(line, records[8:])
    assert all((array == before[name]).all() for name, array in snapshot.part.arrays.items() if name != "values")
    np.testing.assert_array_equal(snapshot.part.arrays["values"], before["values"])
    assert snapshot.part.names == ["a", "b"]


def test_a_partition_without_series_has_a_checkpoint_too():
    line = pipeline()
    found = checkpointed(line, {0: 7}).find(line)
    assert found.checkpoint.manifest.offset == 7
    assert pipeline().load(0, found.checkpoint) == 0
    assert found.checkpoint.manifest.event_time_ms == NEVER


def test_a_restored_partition_leaves_the_others_alone_and_loading_needs_no_more_room_each_time():
    line = pipeline()
    run(
        line,
        records_of([Tick(f"{p}-{n}", step, 1.0 * step, p) for step in range(4) for n in range(600) for p in (0, 1)]),
    )
    other, topic = state_of(line, 1), checkpointed(line, {0: 2_400})
    expected, capacity = state_of(line, 0), line.windows.capacity
    for _ in range(3):
        line.drop(0)
        assert line.load(0, topic.find(line).checkpoint) == 600
    assert_same_state(state_of(line, 0), expected)
    assert_same_state(state_of(line, 1), other)
    assert line.windows.capacity == capacity


def stream(steps, names="abcd", seed=3):
    draw = np.random.default_rng(seed)
    return records_of([Tick(name, n, float(draw.normal())) for n in range(steps) for name in names])


def test_with_another_networks_weights_windows_and_features_are_taken_and_the_hidden_state_is_made_of_them():
    line = pipeline()
    run(line, stream(CONTEXT + 3, "ab") + stream(3, "c"))
    topic = checkpointed(line, {0: 20})
    other = pipeline(made=network(seed=1), weights_sha256="another")
    found = topic.find(other)
    assert found.problems == ()
    other.load(0, found.checkpoint)
    ours, theirs = state_of(other), state_of(line)
    hidden = {name for name in ours[3] if name.startswith("hidden.")}
    for name in ours[3].keys() - hidden:
        assert ours[3][name].tobytes() == theirs[3][name].tobytes(), name
    assert all((ours[3][name] != theirs[3][name]).any() for name in hidden)

    inference = other.inference
    for slot in other.windows.slots.of(0).tolist():
        carried = inference.engine.hidden.read(np.array([slot]))
        window = other.windows.rings.window(slot)[-min(CONTEXT, int(other.windows.rings.rounds[slot])) :]
        inference.engine.forget(np.array([slot]))
        first = other.windows.event_time.newest[slot] - len(window) + 1
        inputs = inference.features.advance(np.array([slot]), np.array([first]), window[None]).inputs()
        for n in range(len(window)):
            inference.engine.advance(np.array([slot]), inputs[:, n : n + 1], np.ones((1, 1), bool))
        for rows, expected in zip(inference.engine.hidden.read(np.array([slot])), carried, strict=True):
            np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_a_network_of_another_shape_or_kind_is_just_another_network():
    line = pipeline()
    run(line, stream(CONTEXT + 3))
    wider = pipeline(made=network(units=(9,)))
    wider.load(0, checkpointed(line, {0: 44}).find(wider).checkpoint)
    (hidden,) = wider.inference.engine.hidden.read(wider.windows.slots.of(0))
    assert hidden.shape == (4, 9)
    assert hidden.all()
    lstm = pipeline(made=network(cell="lstm"))
    lstm.load(0, checkpointed(line, {0: 44}).find(lstm).checkpoint)
    assert all(rows.any() for rows in lstm.inference.engine.hidden.read(lstm.windows.slots.of(0)))

    windowed = pipeline(made=segment_network())
    run(windowed, stream(CONTEXT + 3))
    carried = pipeline(made=network(features=windowed.identity.features), features=windowed.identity.features)
    assert carried.load(0, checkpointed(windowed, {0: 44}).find(carried).checkpoint) == 4
    assert carried.inference.engine.hidden.read(carried.windows.slots.of(0))[0].all()


@pytest.mark.parametrize("length", [CONTEXT - 3, CONTEXT + 5])
@pytest.mark.parametrize("steps", [3, CONTEXT, CONTEXT + 2, 3 * CONTEXT + 1])
def test_with_another_context_length_the_window_is_cut_or_padded_and_all_goes_on(length, steps):
    setup = Settings(stream=StreamSettings(max_gap="5s"))
    line, records = pipeline(setup), stream(steps + 30)
    run(line, records[: 4 * steps])
    resized = pipeline(setup, context_length=length)
    resized.load(0, checkpointed(line, {0: 4 * steps}).find(resized).checkpoint)
    kept = min(length, CONTEXT)
    for slot, other in zip(resized.windows.slots.of(0), line.windows.slots.of(0), strict=True):
        window = resized.windows.rings.window(slot)
        np.testing.assert_array_equal(window[-kept:], line.windows.rings.window(other)[-kept:])
        assert np.isnan(window[:-kept]).all()

    def forecasts(outputs):
        return [forecast | {"maturity": None} for forecast in published(outputs)]

    assert_equal(forecasts(run(resized, records[4 * steps :])), forecasts(run(line, records[4 * steps :])))
    whole = pipeline(setup, context_length=length)
    run(whole, records)
    for slot, other in zip(resized.windows.slots.of(0), whole.windows.slots.of(0), strict=True):
        np.testing.assert_array_equal(resized.windows.rings.window(slot), whole.windows.rings.window(other))


@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 12))
def test_a_ring_of_another_length_holds_the_newest_that_both_hold(rounds, old, new):
    ring = np.full((1, old), np.nan)
    for n in range(rounds):
        ring[0, n % old] = n
    held = [(n % new, n) for n in range(max(0, rounds - min(old, new)), rounds)]
    expected = np.full(new, np.nan)
    for place, n in held:
        expected[place] = n
    fitted = refitted(ring, np.array([rounds]), new)[0]
    if old != new:
        np.testing.assert_array_equal(fitted, expected)
    else:
        np.testing.assert_array_equal(fitted, ring[0])


def test_hidden_state_is_made_in_calls_of_the_ladder_only():
    line = pipeline()
    run(line, stream(CONTEXT + 3, [f"s{n}" for n in range(150)]))
    other = pipeline(weights_sha256="another")
    engine, shapes = other.inference.engine, []
    call = engine._advance
    engine._advance = lambda state, inputs, *rest: shapes.append(inputs.shape[:2]) or call(state, inputs, *rest)
    other.load(0, checkpointed(line, {0: 1_650}).find(other).checkpoint)
    assert shapes
    assert all(s in SERIES_LADDER and r in ROUNDS_LADDER and s * r <= MOST_CELLS for s, r in shapes)


def test_an_equal_bundle_of_another_name_keeps_the_hidden_state():
    line = pipeline()
    run(line, stream(5))
    other = Pipeline(Settings(), manifest(network(), name="renamed", features=FEATURES), network())
    share_compiled(other.inference.engine, network())
    other.load(0, checkpointed(line, {0: 20}).find(other).checkpoint)
    assert_same_state(state_of(other), state_of(line))
