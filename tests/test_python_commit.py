"""One commit may be under way: the next one confirms it, and sends again what failed for a reason that passes."""

import threading

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError, CoordinatorLoadInProgressError
from kafka.future import Future

from forecaster.kafka.python_commit import Commits

FIRST, SECOND = ({TopicPartition("ticks", 0): OffsetAndMetadata(offset, "", -1)} for offset in (5, 9))


class Consumer:
    """Stands in for kafka-python's: commits are answered by the test; waiting is over at once."""

    def __init__(self, *, unknown=False):
        self.sent, self.at_once = [], []
        self._unknown = unknown
        self._coordinator = self._net = self._manager = self

    def coordinator_unknown(self):
        return self._unknown

    def commit_async(self, offsets):
        self.sent.append((offsets, Future()))
        return self.sent[-1][1]

    def commit(self, offsets, timeout_ms):
        assert timeout_ms == 2_000
        self.at_once.append(offsets)

    def wait_for(self, future, timeout_ms):
        assert timeout_ms == 2_000
        if future.exception is not None:
            raise future.exception

    def run(self, function, *arguments):
        function(*arguments)


def sent(consumer):
    return [offsets for offsets, _ in consumer.sent]


def test_a_commit_that_succeeds_is_followed_by_the_next_one():
    consumer, commits = Consumer(), Commits(2_000)
    commits.send(consumer, FIRST)
    consumer.sent[0][1].success(None)
    commits.send(consumer, SECOND)
    assert sent(consumer) == [FIRST, SECOND]
    assert consumer.at_once == []


def test_what_failed_for_a_reason_that_passes_is_sent_again_before_anything_else():
    consumer, commits = Consumer(), Commits(2_000)
    commits.send(consumer, FIRST)
    consumer.sent[0][1].failure(CoordinatorLoadInProgressError())
    commits.check()
    assert consumer.at_once == [FIRST]
    commits.confirm()
    assert consumer.at_once == [FIRST]


def test_what_the_broker_refuses_is_told_at_the_next_step_and_once():
    consumer, commits = Consumer(), Commits(2_000)
    commits.send(consumer, FIRST)
    consumer.sent[0][1].failure(CommitFailedError())
    with pytest.raises(CommitFailedError):
        commits.send(consumer, SECOND)
    assert sent(consumer) == [FIRST]
    commits.send(consumer, SECOND)
    assert sent(consumer) == [FIRST, SECOND]


def test_nothing_waits_for_an_answer_that_is_not_there_yet():
    consumer, commits = Consumer(), Commits(2_000)
    commits.send(consumer, FIRST)
    done = threading.Event()
    consumer.wait_for = lambda *_: done.set()
    commits.check()
    assert not done.is_set()
    commits.confirm()
    assert done.is_set()


def test_a_coordinator_that_is_not_known_is_looked_for_and_waited_for():
    consumer, commits = Consumer(unknown=True), Commits(2_000)
    commits.send(consumer, FIRST)
    assert consumer.at_once == [FIRST]
    assert sent(consumer) == []


def test_what_is_forgotten_is_asked_no_more():
    consumer, commits = Consumer(), Commits(2_000)
    commits.send(consumer, FIRST)
    consumer.sent[0][1].failure(CommitFailedError())
    commits.forget()
    commits.confirm()
