"""What is written, when, and under which keys: budgets, two generations, deltas, revoked partitions."""

import pytest
from builders import Tick, pipeline, records_of, run
from checkpoints import GROUP, SOURCE, StateTopic, assert_same_state, checkpointed, key, state_of
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.checkpoint import chunks, writer
from forecaster.checkpoint.writer import Writer
from forecaster.config import Settings, StreamSettings

NAMES = [f"series-{n}" for n in range(9)]


pytestmark = pytest.mark.usefixtures("small_records")


class Line:
    """A pipeline of one partition that takes one step of some series at a time, its writer and its topic."""

    def __init__(self, names=NAMES):
        self.line, self.writer, self.topic, self.offset, self.step = pipeline(), Writer(GROUP), StateTopic(), 0, 0
        self.feed(names)

    def feed(self, names):
        run(self.line, records_of([Tick(name, self.step, 1.0 + self.step) for name in names], self.offset))
        self.offset, self.step = self.offset + len(names), self.step + 1

    def take(self):
        return self.writer.take(self.line, 0, self.offset, SOURCE)

    def checkpoint(self):
        return self.take(), [manifest.offset for manifest in self.topic.write(self.writer)]

    def assert_restores(self):
        restored = pipeline()
        restored.load(0, self.topic.find(restored).checkpoint)
        assert_same_state(state_of(restored), state_of(self.line))


def generations(topic):
    return sorted({part.split("/")[0] for part in topic.parts()})


def test_up_to_half_of_the_series_are_written_as_a_delta_over_the_last_full_copy_and_more_as_a_full_one():
    own = Line()
    assert own.checkpoint() == ("full", [9])
    own.feed(NAMES[:2])
    assert own.checkpoint() == ("delta", [11])
    own.feed(NAMES[2:4])  # four changed since the full copy
    assert own.checkpoint() == ("delta", [13])
    assert own.topic.find(own.line).checkpoint.manifest.delta.number == 1
    own.assert_restores()
    own.feed(NAMES[4:5])
    assert own.checkpoint() == ("full", [14])
    own.assert_restores()
    own.feed([*NAMES[:1], "new"])
    assert own.checkpoint() == ("delta", [16])
    own.assert_restores()


def test_a_delta_has_the_series_that_only_others_moved_on_and_what_was_open_in_the_full_copy_is_closed():
    setup = Settings(stream=StreamSettings(allowed_lateness="2s"))
    line, own, topic = pipeline(setup), Writer(GROUP), StateTopic()
    records = records_of([*(Tick(name, 0, 1.0) for name in "cdef"), Tick("x", 10, 2.0), Tick("a", 11, 3.0)])
    run(line, records)
    assert own.take(line, 0, 6, SOURCE) == "full"
    topic.write(own)
    run(line, records_of([Tick("x", 14, 4.0)], 6))  # completes the observation of a at 11
    assert own.take(line, 0, 7, SOURCE) == "delta"
    topic.write(own)
    restored = pipeline(setup)
    restored.load(0, topic.find(restored).checkpoint)
    assert len(restored.windows.event_time.held) == 1
    assert_same_state(state_of(restored), state_of(line))


def test_where_nothing_has_come_there_is_nothing_to_write():
    own = Line()
    own.checkpoint()
    assert own.take() == "unchanged"
    assert not own.writer.busy


def test_a_change_while_a_full_copy_is_written_is_in_the_next_delta():
    own = Line()
    assert own.take() == "full"
    own.feed(NAMES[:1])
    assert own.take() == "busy"
    own.topic.write(own.writer)
    assert own.checkpoint() == ("delta", [10])
    own.assert_restores()


def test_a_series_that_is_gone_forces_a_full_copy():
    own = Line()
    own.checkpoint()
    own.line.windows.slots._slot_of[0].pop(NAMES[0])
    own.feed(["came", "instead"])
    assert own.checkpoint() == ("full", [11])
    own.assert_restores()


def test_the_next_full_copy_leaves_the_last_whole_checkpoint_alone_and_takes_the_third_ones_place():
    own = Line()
    own.checkpoint()
    first = dict(own.topic.content)
    own.feed(NAMES)
    own.checkpoint()
    assert own.topic.content.items() >= first.items()
    assert generations(own.topic) == ["f0", "f1", "m0", "m1"]
    second = {part: own.topic.content[key(part)] for part in own.topic.parts() if part[1] == "1"}
    own.feed(NAMES)
    own.checkpoint()
    assert all(own.topic.content[key(part)] == value for part, value in second.items())
    assert generations(own.topic) == ["f0", "f1", "m0", "m1"]


def test_records_beyond_a_shorter_copy_are_deleted():
    own = Line([f"s{n}" for n in range(40)])
    own.checkpoint()
    many = len(own.topic.parts())
    for _ in range(2):
        own.line.windows.slots._slot_of[0] = dict(list(own.line.windows.slots._slot_of[0].items())[:3])
        own.feed(["s0", "s1", "s2"])
        assert own.checkpoint()[0] == "full"
    assert len(own.topic.parts()) < many / 2
    assert own.topic.find(own.line).problems == ()
    own.assert_restores()


@given(st.integers(1, 20_000))
@settings(deadline=None, max_examples=30)
def test_a_transaction_takes_no_more_than_its_budget_or_one_record_and_all_of_them_are_the_same_records(budget):
    own = Line()
    own.take()
    given_out = []
    while own.writer.busy:
        some = own.writer.next(budget)
        size = sum(len(record.key) + len(record.value) for record in some)
        assert len(some) == 1 or size <= budget
        assert all(len(record.value) <= chunks.RECORD_BYTES for record in some if b"/m" not in record.key)
        given_out += some
        own.writer.delivered()
    whole = Line()
    whole.take()
    assert given_out == whole.writer.next(1 << 30)
    assert given_out[-1].key == key("m0")


def test_the_same_records_come_until_they_are_delivered():
    own = Line()
    own.take()
    first = own.writer.next(1)
    assert own.writer.next(1 << 20) == first
    assert own.writer.delivered() is None
    assert own.writer.next(1) != first
    own.topic.write(own.writer)
    assert own.writer.next(1 << 20) == []
    assert own.writer.delivered() is None


def test_a_partition_that_is_forgotten_gives_no_more_records_and_the_others_go_on():
    line, own = pipeline(), Writer(GROUP)
    run(line, records_of([Tick(name, 0, 1.0, p) for p in (0, 1) for name in NAMES]))
    own.take(line, 0, 9, SOURCE)
    own.take(line, 1, 9, SOURCE)
    assert {record.partition for record in own.next(1 << 20)} == {0}
    own.forget(0)
    assert own.delivered() is None
    assert {record.partition for record in own.next(1 << 20)} == {1}
    assert own.delivered().partition == 1
    assert not own.busy


def test_after_a_restore_the_first_copy_is_full_in_the_generation_that_is_not_in_use_and_counts_on():
    own = Line()
    own.checkpoint()
    own.feed(NAMES[:1])
    assert own.checkpoint()[0] == "delta"
    before = own.topic.find(own.line)
    own.writer.restored(0, before)
    own.feed(NAMES[:1])
    assert own.checkpoint()[0] == "full"
    after = own.topic.find(own.line).checkpoint.manifest
    assert (after.full.number, after.number) == (1, 0)
    assert after.sequence == before.checkpoint.manifest.sequence + 1
    own.topic.content.pop(key("f1/0"))
    assert own.topic.find(own.line).checkpoint.manifest == before.checkpoint.manifest


def test_with_more_chunks_than_a_manifest_can_name_nothing_is_written(monkeypatch):
    monkeypatch.setattr(writer, "MOST_CHUNKS", 2)
    own = Line()
    assert own.take() == "too_large"
    assert not own.writer.busy
    monkeypatch.setattr(writer, "MOST_CHUNKS", 100)
    assert own.checkpoint() == ("full", [9])


def test_a_copy_of_another_group_or_partition_is_passed_over():
    line = pipeline()
    run(line, records_of([Tick(name, 0, 1.0) for name in NAMES]))
    topic = checkpointed(line, {0: 9})
    others = {k.replace(b"group/0/", b"group/01/").replace(b"f0", b"f1"): b"x" for k in topic.content}
    topic.content |= others | {b"group": b"", b"group/0/": b"", b"group/0/f0/-1": b"", key("f0/00"): b"", key("x"): b""}
    assert topic.find(line).problems == ()
    assert topic.find(line, 1).checkpoint is None
