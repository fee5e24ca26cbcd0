"""How the page reads a topic: from a little before the end, never faster than it may, and on after an outage."""

from types import SimpleNamespace

import pytest
from integration.helpers import wait_until
from kafka import TopicPartition
from kafka.errors import KafkaConnectionError

from forecaster.config import Settings
from forecaster.web import reader as reader_module
from forecaster.web.reader import TopicReader

RATE = 1_000  # records a second
PART = TopicPartition("ticks", 0)


class Topic:
    """One partition of a broker in memory, and the only consumer of it."""

    def __init__(self, begin: int, end: int) -> None:
        self.begin, self.end, self.position_now = begin, end, 0
        self.seeks: list[int] = []
        self.fails = False

    def __call__(self, **_: object) -> "Topic":
        return self

    def partitions_for_topic(self, _: str) -> set[int]:
        return {0}

    def assign(self, _: object) -> None:
        pass

    def beginning_offsets(self, parts: list[TopicPartition], **_: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, self.begin)

    def end_offsets(self, parts: list[TopicPartition], **_: int) -> dict[TopicPartition, int]:
        return dict.fromkeys(parts, self.end)

    def seek(self, _: TopicPartition, offset: int) -> None:
        self.seeks.append(offset)
        self.position_now = offset

    def position(self, _: TopicPartition) -> int:
        return self.position_now

    def highwater(self, _: TopicPartition) -> int:
        return self.end

    def poll(self, timeout_ms: int, max_records: int) -> dict:  # noqa: ARG002
        if self.fails:
            raise KafkaConnectionError("away")
        first, self.position_now = self.position_now, min(self.end, self.position_now + max_records)
        rows = [
            SimpleNamespace(offset=n, timestamp=0, key=None, value=b"%d" % n) for n in range(first, self.position_now)
        ]
        return {PART: rows} if rows else {}

    def close(self) -> None:
        pass


@pytest.fixture
def follow(monkeypatch):
    """Starts a reader of a `Topic`; returns it, the offsets that it has read, and how many it has skipped."""
    monkeypatch.setattr(reader_module, "BEAT_S", 0.02)
    monkeypatch.setattr(reader_module, "RETRY_S", 0.01)
    monkeypatch.setattr(reader_module, "BACKLOG_S", 0.5)
    monkeypatch.setattr(reader_module, "KEPT_S", 0.1)
    running = []

    def follow(topic: Topic):
        monkeypatch.setattr(reader_module, "KafkaConsumer", topic)
        read, skipped = [], []
        settings = Settings(web={"records_per_second": RATE})
        take = lambda records, _: read.extend(records.offset.tolist())  # noqa: E731
        made = TopicReader(settings, "ticks", take, skipped.append)
        running.append(made.__enter__())
        return made, read, skipped

    yield follow
    for reader in running:
        reader.__exit__()


def test_it_begins_a_little_before_the_end(follow):
    reader, read, skipped = follow(Topic(0, 10_000))
    wait_until(lambda: reader.caught_up and len(read) == 500, what="the end")
    assert (read, skipped, reader.connected) == (list(range(9_500, 10_000)), [], True)


def test_of_a_short_log_it_reads_all(follow):
    _, read, _ = follow(Topic(3, 50))
    wait_until(lambda: read == list(range(3, 50)), what="all of it")


def test_what_it_cannot_keep_up_with_it_skips_and_counts(follow):
    topic = Topic(0, 100)
    _, read, skipped = follow(topic)
    wait_until(lambda: len(read) == 100, what="the end")
    topic.end = 1_000_000
    wait_until(lambda: read[-1] == 999_999, what="the new end")
    assert len(read) + sum(skipped) == 1_000_000
    assert read[-100:] == list(range(999_900, 1_000_000))  # in one piece


def test_after_an_outage_it_goes_on_where_it_was(follow):
    topic = Topic(0, 100)
    reader, read, _ = follow(topic)
    wait_until(lambda: len(read) == 100, what="the end")
    topic.fails = True
    wait_until(lambda: not reader.connected, what="its noticing")
    topic.end, topic.fails = 200, False
    wait_until(lambda: len(read) == 200, what="the new end")
    assert read == list(range(200))
    assert reader.connected
