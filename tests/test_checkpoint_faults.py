"""Whatever the state topic holds: the newest whole checkpoint, an older one or none, and why; never a wrong state."""

import hashlib
import json
from functools import cache

import numpy as np
import pytest
from builders import FEATURES, FLAT, Tick, network, pipeline, records_of, run
from checkpoints import GROUP, SOURCE, StateTopic, assert_same_state, key, state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from forecaster.checkpoint import chunks
from forecaster.checkpoint.manifest import BODY, HEAD, MIDDLE
from forecaster.checkpoint.writer import Writer
from forecaster.config import InputSettings, Settings, StreamSettings, TopicSettings

CODES = {"missing", "corrupt", "newer_format", "other_settings", "ahead"}


pytestmark = pytest.mark.usefixtures("small_records")


@cache
def history(second):
    """A topic with a full checkpoint and a `second` one, and the state at the offset of each."""
    line, writer, topic, states = pipeline(), Writer(GROUP), StateTopic(), {}
    offset = 0
    for step, names in enumerate(("abcde", "ab" if second == "delta" else "abcde")):
        records = records_of([Tick(name, 5 * step + n, 1.0 + n, 0) for n in range(5) for name in names], offset)
        run(line, records)
        offset += len(records)
        assert writer.take(line, 0, offset, SOURCE) == ("full" if step == 0 else second)
        topic.write(writer)
        states[offset] = state_of(line)
    return topic, states


def assert_no_wrong_state(topic, states):
    """What is restored is a state that was; returns its offset, None where there is none."""
    line = pipeline()
    found = topic.find(line)
    assert {code for code, _ in found.problems} <= CODES
    assert all(text and "\n" not in text and len(text) < 500 for _, text in found.problems)
    if found.checkpoint is None:
        return None, found.problems
    line.load(0, found.checkpoint)
    assert_same_state(state_of(line), states[found.checkpoint.manifest.offset])
    return found.checkpoint.manifest.offset, found.problems


def parts_of(topic, line, committed):
    """The parts that the newest checkpoint at `committed` is made of."""
    made = topic.find(line, committed=committed).checkpoint.manifest
    parts = [f"m{made.number}", *(f"f{made.full.number}/{n}" for n in range(made.full.records))]
    return parts + ([f"d{made.delta.number}/{n}" for n in range(made.delta.records)] if made.delta else [])


KINDS = pytest.mark.parametrize("second", ["full", "delta"])


@KINDS
def test_without_a_record_of_the_newest_checkpoint_the_other_one_is_found_or_none(second):
    topic, states = history(second)
    first, newest = states
    assert assert_no_wrong_state(topic, states) == (newest, ())
    both = set(parts_of(topic, pipeline(), first))
    for part in parts_of(topic, pipeline(), newest):
        offset, problems = assert_no_wrong_state(topic.changed(**{part: None}), states)
        assert offset == (None if part in both else first)
        manifest_alone = [] if part.startswith("m") else ["missing"] * (2 if part in both else 1)
        assert [code for code, _ in problems] == manifest_alone


@KINDS
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_record_with_other_bytes_never_gives_a_wrong_state(second, data):
    topic, states = history(second)
    newest = max(states)
    part = data.draw(st.sampled_from(topic.parts()))
    value = topic.content[key(part)]
    at = data.draw(st.integers(0, len(value) - 1))
    flipped = value[:at] + bytes([value[at] ^ 1 << data.draw(st.integers(0, 7))]) + value[at + 1 :]
    other = topic.content[key(data.draw(st.sampled_from(topic.parts())))]
    changed = data.draw(st.sampled_from([flipped, value[:at], value + value[at:], other, b"", b"\0" * len(value)]))
    offset, problems = assert_no_wrong_state(topic.changed(**{part: changed}), states)
    if changed != value and part in parts_of(topic, pipeline(), newest):
        assert offset != newest
        assert problems
    if changed == value or part not in parts_of(topic, pipeline(), newest):
        assert offset == newest


@KINDS
def test_every_single_byte_of_a_manifest_counts(second):
    topic, states = history(second)
    part = parts_of(topic, pipeline(), max(states))[0]
    value = topic.content[key(part)]
    line = pipeline()
    for at in range(len(value)):
        for bit in (0, 5):
            flipped = value[:at] + bytes([value[at] ^ 1 << bit]) + value[at + 1 :]
            found = topic.changed(**{part: flipped}).find(line)
            assert found.checkpoint.manifest.offset == min(states)
            assert [code for code, _ in found.problems] == ["corrupt"]


def test_records_that_change_places_are_noticed():
    topic, states = history("full")
    for one in topic.parts():
        for other in topic.parts():
            swapped = topic.changed(**{one: topic.content[key(other)], other: topic.content[key(one)]})
            offset, problems = assert_no_wrong_state(swapped, states)
            assert (offset == max(states)) == (
                problems == () or set(parts_of(topic, pipeline(), max(states))).isdisjoint({one, other})
            )


def resealed(value, change):
    """A manifest with `change` made to its content, and a sha256 that says so."""
    content = json.loads(value[BODY:-1])
    change(content)
    return sealed(json.dumps(content).encode())


def sealed(body):
    return HEAD + hashlib.sha256(body).hexdigest().encode() + MIDDLE + body + b"}"


def test_a_newer_format_is_passed_over_and_said():
    topic, states = history("full")
    newer = resealed(topic.content[key("m1")], lambda content: content.update(format_version=2, other={"shape": 1}))
    offset, problems = assert_no_wrong_state(topic.changed(m1=newer), states)
    assert offset == min(states)
    assert [code for code, _ in problems] == ["newer_format"]


def test_above_the_committed_offset_the_older_one_counts_and_below_both_none():
    topic, states = history("full")
    first, newest = states
    line = pipeline()
    assert topic.find(line, committed=newest).checkpoint.manifest.offset == newest
    older = topic.find(line, committed=newest - 1)
    assert older.checkpoint.manifest.offset == first
    assert [code for code, _ in older.problems] == ["ahead"]
    none = topic.find(line, committed=first - 1)
    assert none.checkpoint is None
    assert [code for code, _ in none.problems] == ["ahead", "ahead"]


def test_what_was_made_of_a_topic_that_had_the_name_before_is_not_used():
    topic, _ = history("full")
    found = topic.find(pipeline(), source="topic-2")
    assert found.checkpoint is None
    assert [code for code, _ in found.problems] == ["other_topic", "other_topic"]


def test_after_offsets_were_set_back_what_was_written_before_never_comes_back():
    #   checkpoints 1 and 2 at offsets 25 and 50, the group is set back to 10, checkpoint 3 at 20 is lost in part
    topic, _ = history("full")
    topic, line, writer = StateTopic(topic.content), pipeline(), Writer(GROUP)
    found = topic.find(line, committed=10)
    writer.restored(0, found)
    run(line, records_of([Tick(name, n, 2.0) for n in range(4) for name in "abcde"]))
    assert writer.take(line, 0, 20, SOURCE) == "full"
    (made,) = topic.write(writer)
    assert topic.find(line, committed=1_000).checkpoint.manifest == made
    assert made.sequence == 3
    lost = topic.changed(**{f"f{made.full.number}/0": None}).find(line, committed=1_000)
    assert lost.checkpoint is None
    assert [code for code, _ in lost.problems] == ["missing", "ahead"]


CHANGED = {
    "stream.step": ({"stream": StreamSettings(step="2s")}, {}, "step_ms"),
    "stream.bar": ({"stream": StreamSettings(bar="mean")}, {}, "bar"),
    "topics.input": ({"topics": TopicSettings(input="others")}, {}, "topic"),
    "input.value_field": ({"input": InputSettings(value_field="v")}, {}, "value_field"),
    "transform": ({}, {"features": FEATURES.model_copy(update={"transform": "log"})}, "features.transform"),
    "spans": ({}, {"features": FEATURES.model_copy(update={"scale_span": 13.0})}, "features.scale_span"),
    "seasons": ({}, {"features": FLAT}, "features.seasons"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_state_of_other_settings_is_not_used_and_the_setting_is_named(change):
    topic, _ = history("full")
    of_settings, of_bundle, name = CHANGED[change]
    made = network(features=of_bundle["features"]) if of_bundle else None
    found = topic.find(pipeline(Settings(**of_settings), made, **of_bundle))
    assert found.checkpoint is None
    assert [code for code, _ in found.problems] == ["other_settings"] * 2
    assert name in found.problems[0][1]


deep = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=9)
    | st.sampled_from([2**63, -(10**400), "0" * 64]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def places(tree, path=()):
    """The path of every node of a JSON document."""
    yield path
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for name, inner in items:
        yield from places(inner, (*path, name))


@KINDS
@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_hostile_manifest_is_a_problem_and_nothing_else(second, data):
    topic, _ = history(second)
    part = data.draw(st.sampled_from(["m0", "m1"]))
    value = topic.content[key(part)]
    path = data.draw(st.sampled_from(list(places(json.loads(value[BODY:-1])))[1:]))
    hostile = data.draw(deep)

    def change(content):
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = hostile

    line = pipeline()
    found = topic.changed(**{part: resealed(value, change)}).find(line)
    assert {code for code, _ in found.problems} <= CODES | {"other_topic"}
    if found.checkpoint:  # such as another name of the bundle
        line.load(0, found.checkpoint)
    Writer(GROUP).restored(0, found)


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[" * 100_000, b'{"format_version":' * 50_000, b"null", b"\xff", b'{"format_version":1}',
     b'{"format_version":"2"}',
     b'{"format_version":true}', b'{"format_version":' + b"9" * 5_000 + b"}", b'{"format_version":1e999}', b"NaN"],
)  # fmt: skip
def test_bytes_that_are_no_manifest_are_corrupt(body):
    topic, states = history("full")
    offset, problems = assert_no_wrong_state(topic.changed(m1=sealed(body)), states)
    assert offset == min(states)
    assert [code for code, _ in problems] == ["corrupt"]


def test_a_manifest_may_name_any_number_of_records_without_being_believed():
    topic, states = history("full")

    def change(content):
        content["full"]["chunks"] = [{"records": 1_000_000, "sha256": "0" * 64}] * 8_192

    offset, problems = assert_no_wrong_state(topic.changed(m1=resealed(topic.content[key("m1")], change)), states)
    assert offset == min(states)
    assert [code for code, _ in problems] == ["missing"]


def raw(shape):
    """A safetensors file whose header promises what is not there."""
    header = json.dumps({"values": {"dtype": "F64", "shape": shape, "data_offsets": [0, 0]}}).encode()
    return len(header).to_bytes(8, "little") + header


def edited(**arrays):
    return lambda chunk: save({name: array for name, array in (load(chunk) | arrays).items() if array is not None})


def altered(name, change):
    return lambda chunk: save(load(chunk) | {name: change(load(chunk)[name])})


def with_held_by_nobody(chunk):
    arrays = load(chunk)
    held = {name: np.zeros(1, array.dtype) for name, array in arrays.items() if name.startswith("held.")}
    return save(arrays | held | {"held.slot": np.array([99])})


HOSTILE = {
    "nothing": lambda _: b"",
    "no header": lambda _: (1 << 62).to_bytes(8, "little"),
    "enormous": lambda _: raw([0, 2**63]),
    "overflowing": lambda _: raw([2**32, 2**32, 0]),
    "unknown kind": lambda chunk: chunk.replace(b'"F64"', b'"F8_E4M3"'),
    "array missing": edited(level=None),
    "names missing": edited(names=None),
    "lengths missing": edited(name_length=None),
    "open items missing": edited(**{"held.slot": None}),
    "array too many": edited(another=np.zeros(3)),
    "number instead of an array": edited(name_length=np.array(3, np.uint32)),
    "other kind": altered("level", lambda array: array.astype(np.float32)),
    "fewer rows": altered("seen", lambda array: array[:-1]),
    "longer windows": altered("values", lambda array: np.repeat(array, 2, axis=1)),
    "hidden of another shape": altered("hidden.0", lambda array: array[:, 1:]),
    "negative rounds": altered("rounds", lambda array: array - 2**40),
    "far future": altered("newest", lambda array: array * 0 + 2**62 + 1),
    "open item of nobody": with_held_by_nobody,
    "names not UTF-8": altered("names", lambda array: array * 0 + 255),
    "names too long": altered("name_length", lambda array: array + 2**31),
    "the same series twice": altered("names", lambda array: array * 0 + ord("a")),
    "a series fewer": lambda chunk: save({name: array[:-1] for name, array in load(chunk).items()}),
}


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_chunk_whose_checksum_holds_is_corrupt(hostile, monkeypatch):
    monkeypatch.setattr(chunks, "RECORD_BYTES", 1 << 20)
    line, writer, topic = pipeline(), Writer(GROUP), StateTopic()
    run(line, records_of([Tick(name, n, 1.0) for n in range(5) for name in "abc"]))
    writer.take(line, 0, 15, SOURCE)
    topic.write(writer)
    run(line, records_of([Tick(name, 5, 1.0) for name in "abc"], 15))
    writer.take(line, 0, 18, SOURCE)
    topic.write(writer)
    chunk = HOSTILE[hostile](topic.content[key("f1/0")])

    def change(content):
        content["full"]["chunks"][0]["sha256"] = hashlib.sha256(chunk).hexdigest()

    found = topic.changed(**{"f1/0": chunk, "m1": resealed(topic.content[key("m1")], change)}).find(pipeline())
    assert [code for code, _ in found.problems] == ["corrupt"]
    assert found.checkpoint.manifest.offset == 15
