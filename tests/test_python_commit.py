"""One commit is under way at a time: what comes meanwhile follows, and what failed for a reason that passes too."""

import pytest
from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import CommitFailedError, CoordinatorLoadInProgressError, KafkaTimeoutError
from kafka.future import Future

from forecaster.kafka.python_commit import Commits

FIRST, SECOND = ({TopicPartition("ticks", 0): OffsetAndMetadata(offset, "", -1)} for offset in (5, 9))
OTHER = {TopicPartition("ticks", 1): OffsetAndMetadata(3, "", -1)}


class Consumer:
    """Stands in for kafka-python's: commits are answered by the test; waiting is over at once."""

    def __init__(self, *, unknown=False):
        self.sent, self.at_once = [], []
        self.waited, self.unanswered, self.refusal = 0, None, None
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
        if self.refusal is not None:
            raise self.refusal

    def wait_for(self, future, timeout_ms):
        assert 0 <= timeout_ms <= 2_000
        self.waited += 1
        if failure := future.exception or self.unanswered:
            raise failure

    def run(self, function, *arguments):
        function(*arguments)


def sent(consumer):
    return [offsets for offsets, _ in consumer.sent]


@pytest.fixture
def consumer():
    return Consumer()


@pytest.fixture
def commits():
    return Commits(2_000)


def test_what_comes_before_the_answer_is_sent_behind_it_all_at_once(consumer, commits):
    commits.send(consumer, FIRST)
    commits.send(consumer, SECOND)
    commits.send(consumer, OTHER)
    commits.check(consumer)
    assert sent(consumer) == [FIRST]
    consumer.sent[0][1].success(None)
    commits.check(consumer)
    assert sent(consumer) == [FIRST, SECOND | OTHER]
    assert consumer.at_once == []


def test_what_failed_for_a_reason_that_passes_is_sent_again_before_anything_else(consumer, commits):
    commits.send(consumer, FIRST)
    consumer.sent[0][1].failure(CoordinatorLoadInProgressError())
    commits.send(consumer, SECOND)
    assert consumer.at_once == [FIRST]
    assert sent(consumer) == [FIRST, SECOND]


def test_what_the_broker_refuses_is_told_at_the_next_step(consumer, commits):
    commits.send(consumer, FIRST)
    consumer.sent[0][1].failure(CommitFailedError())
    with pytest.raises(CommitFailedError):
        commits.send(consumer, SECOND)
    assert sent(consumer) == [FIRST]


def test_an_answer_that_does_not_come_in_time_is_told(consumer):
    commits = Commits(0)
    commits.send(consumer, FIRST)
    consumer.unanswered = KafkaTimeoutError()
    with pytest.raises(KafkaTimeoutError):
        commits.check(consumer)
    assert consumer.at_once == []


def test_confirming_waits_for_what_is_sent_and_for_what_is_owed(consumer, commits):
    commits.send(consumer, FIRST)
    commits.send(consumer, SECOND)
    commits.confirm(consumer)
    assert sent(consumer) == [FIRST, SECOND]
    assert consumer.waited == 2


def test_a_coordinator_that_is_not_known_is_looked_for_and_waited_for(commits):
    consumer = Consumer(unknown=True)
    commits.send(consumer, FIRST)
    assert consumer.at_once == [FIRST]
    assert sent(consumer) == []


def test_nothing_is_owed_of_a_partition_that_has_left(consumer, commits):
    commits.send(consumer, FIRST)
    commits.send(consumer, SECOND | OTHER)
    commits.forget([0])
    commits.confirm(consumer)
    assert sent(consumer) == [FIRST, OTHER]


def test_of_a_partition_that_has_left_nothing_is_sent_again(consumer, commits):
    commits.send(consumer, FIRST | OTHER)
    consumer.sent[0][1].failure(CoordinatorLoadInProgressError())
    commits.forget([0])
    commits.check(consumer)
    assert consumer.at_once == [OTHER]


def test_what_failed_stays_owed_until_it_is_forgotten(consumer, commits):
    commits.send(consumer, FIRST | OTHER)
    consumer.sent[0][1].failure(CommitFailedError())
    with pytest.raises(CommitFailedError):
        commits.send(consumer, SECOND)
    commits.check(consumer)
    assert sent(consumer) == [FIRST | OTHER, SECOND | OTHER]


def test_what_failed_again_stays_owed_too(consumer, commits):
    commits.send(consumer, FIRST)
    consumer.sent[0][1].failure(CoordinatorLoadInProgressError())
    consumer.refusal = KafkaTimeoutError()
    with pytest.raises(KafkaTimeoutError):
        commits.check(consumer)
    commits.check(consumer)
    assert sent(consumer) == [FIRST, FIRST]


def test_what_is_forgotten_is_asked_no_more(consumer, commits):
    commits.send(consumer, FIRST)
    commits.send(consumer, SECOND)
    consumer.sent[0][1].failure(CommitFailedError())
    commits.forget()
    commits.confirm(consumer)
    assert sent(consumer) == [FIRST]
