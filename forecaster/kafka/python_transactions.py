"""One transaction of kafka-python, with a deadline on every step and no way to lose a failure.

What kafka-python 3.0 does by itself is not enough: its waits for the coordinator have no limit, a commit can
return although nothing was committed, and a producer that was fenced may take its identity back (see `guard`).
"""

import socket
import time
from collections.abc import Mapping
from typing import Any

from kafka import OffsetAndMetadata, TopicPartition
from kafka.errors import (
    CommitFailedError,
    InvalidProducerEpochError,
    KafkaError,
    KafkaTimeoutError,
    ProducerFencedError,
)
from kafka.structs import ConsumerGroupMetadata

from forecaster.config import Settings
from forecaster.errors import FencedError
from forecaster.kafka.python_connect import routed

FENCED = (ProducerFencedError, InvalidProducerEpochError)


def transactional_id(settings: Settings) -> str | None:
    """The name of this worker's transactions, the same after a restart; None where there are none."""
    if settings.delivery != "exactly_once":
        return None
    # a host's name has no slash: no two groups and hosts make the same name
    name = settings.kafka.transactional_id or f"{settings.kafka.group_id}/{socket.gethostname()}"
    return f"{name}/{settings.kafka.worker_index}"


def taken_over(name: str | None) -> str:
    """What to say where another daemon commits under the transactional id `name`."""
    return (
        f"kafka.transactional_id: another daemon has taken {name!r} over; "
        "workers on one host each need a kafka.worker_index of their own"
    )


def guard(producer: Any) -> None:
    """Make a producer that the broker refuses as outdated fail for good.

    By default kafka-python then asks for a new epoch: that would fence the daemon which took over, and an
    EndTxn after it is never sent although `commit_transaction` returns.
    """
    producer._transaction_manager._supports_epoch_bump = lambda: False  # noqa: SLF001


def refuses_strangers(producer: Any, group: str, topic: str, timeout_ms: int) -> bool:
    """Whether the broker refuses offsets in the name of a member that `group` has not, which all else stands on.

    Kafka before 2.5 does not, nor does every broker that speaks its protocol. They are offsets of `topic`, which this
    user may read, and they are not committed. Afterwards the producer is of no more use.
    """
    stranger = ConsumerGroupMetadata(group_id=group, generation_id=2**31 - 1, member_id="forecaster-stranger")
    transaction = Transaction(producer, "", timeout_ms)
    try:
        transaction.add({TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)}, stranger)
    except CommitFailedError:
        return True
    return False


class Transaction:
    """From `begin` to the return of `commit`; after any failure the producer is of no more use."""

    def __init__(self, producer: Any, name: str, timeout_ms: int) -> None:
        self._producer, self._name, self._timeout = producer, name, timeout_ms / 1_000
        self._began = time.monotonic()
        self._epoch = self._identity()
        producer.begin_transaction()

    @property
    def deadline(self) -> float:
        """Seconds of `time.monotonic` by which it must have ended: the broker aborts it then."""
        return self._began + self._timeout

    def commit(self, offsets: Mapping[Any, Any], member: Any) -> None:
        """Add `offsets` in the name of group member `member`, and commit; returns once it is certain.

        Raises `KafkaError`, `KafkaTimeoutError` where the outcome is not known.
        """
        manager, sender = self._producer._transaction_manager, self._producer._sender  # noqa: SLF001
        if offsets:
            self.add(offsets, member)
        if self._identity() != self._epoch:
            raise KafkaError("the producer got another epoch in mid-transaction")
        committed = manager.begin_commit()
        sender.wakeup()
        self._wait(committed, "commit")

    def add(self, offsets: Mapping[Any, Any], member: Any) -> None:
        """Add `offsets` in the name of group member `member`; raises as `commit` does."""
        added = self._producer._transaction_manager.send_offsets_to_transaction(dict(offsets), member)  # noqa: SLF001
        self._producer._sender.wakeup()  # noqa: SLF001
        self._wait(added, "offsets")

    def failure(self, error: BaseException, what: str) -> Exception:
        """What the daemon does about `error`: end where another daemon has its identity, else throw all away."""
        last = self._producer._transaction_manager.last_error  # noqa: SLF001
        fenced = isinstance(error, FENCED) or isinstance(last, FENCED)
        if fenced and time.monotonic() < self.deadline:  # after it, it was the broker that ended the transaction
            return FencedError(taken_over(self._name))
        return routed(error, what)

    def _identity(self) -> tuple[int, int]:
        found = self._producer._transaction_manager.producer_id_and_epoch  # noqa: SLF001
        return found.producer_id, found.epoch

    def _wait(self, result: Any, what: str) -> None:
        left_ms = max(0, int((self.deadline - time.monotonic()) * 1_000))
        if not result.wait(timeout_ms=left_ms):
            raise KafkaTimeoutError(f"no answer to {what} within {self._timeout:g} s of the transaction's begin")
