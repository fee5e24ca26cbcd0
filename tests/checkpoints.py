"""A state topic in memory, and what the tests of checkpoints ask of a pipeline's state."""

from collections import Counter

import numpy as np

from forecaster.checkpoint.reader import Reader
from forecaster.checkpoint.writer import Writer

GROUP = "group"
SOURCE = "topic-1"
ENOUGH = 1 << 30


class StateTopic:
    """What a compacted topic keeps: the latest value of every key."""

    def __init__(self, content=()):
        self.content = dict(content)

    def apply(self, records):
        for record in records:
            self.content.pop(record.key, None)
            if record.value is not None:
                self.content[record.key] = record.value

    def write(self, writer, budget=ENOUGH):
        """Everything that is under way; the manifests of the checkpoints that became whole."""
        whole = []
        while writer.busy:
            self.apply(writer.next(budget))
            whole.append(writer.delivered())
        return [manifest for manifest in whole if manifest]

    def find(self, line, partition=0, committed=ENOUGH, source=SOURCE):
        reader = Reader(GROUP, partition, line.identity)
        for key, value in self.content.items():
            reader.add(key, value)
        return reader.newest(committed, source)

    def changed(self, **values):
        """A copy with other values under the keys of partition 0, such as `m0`; None takes it away."""
        copy = StateTopic(self.content)
        for part, value in values.items():
            del copy.content[key(part)]
            if value is not None:
                copy.content[key(part)] = value
        return copy

    def parts(self):
        return sorted(key.decode().split("/", 2)[2] for key in self.content)


def key(part, partition=0):
    return f"{GROUP}/{partition}/{part}".encode()


def checkpointed(line, offsets):
    """A state topic with one full checkpoint of each of the partitions in `offsets`."""
    topic, writer = StateTopic(), Writer(GROUP)
    for partition, offset in offsets.items():
        assert writer.take(line, partition, offset, SOURCE) == "full"
    topic.write(writer)
    return topic


def offsets_after(records):
    """The offset of the next record of every partition in `records`."""
    return dict(Counter(row.partition for row in records))


def state_of(line, partition=0):
    """Everything that `partition` is, by series, to be compared by `assert_same_state`."""
    snapshot = line.snapshot(partition, 0, SOURCE)
    order = np.argsort(snapshot.part.names)
    held = snapshot.part.held
    named = sorted((snapshot.part.names[item["slot"]], *(item[name] for name in held.dtype.names[1:])) for item in held)
    arrays = {name: array[order] for name, array in snapshot.part.arrays.items()}
    return [snapshot.part.names[n] for n in order], snapshot.event_time_ms, named, arrays


def assert_same_state(one, other):
    assert one[:2] == other[:2]
    np.testing.assert_equal(one[2], other[2])  # NaN is NaN
    for name, array in one[3].items():
        assert array.tobytes() == other[3][name].tobytes(), name
