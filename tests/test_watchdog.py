"""When a partition that gives nothing is stuck, and when it only has to wait."""

from collections.abc import Iterator
from itertools import count

from forecaster.kafka.watch import Watchdog

TIMEOUT_S = 60
LOG_END = 100


class Lookup:
    """A broker on which every partition has a leader and records up to `LOG_END`."""

    @property
    def _cluster(self) -> "Lookup":
        return self

    def leader_for_partition(self, _: object) -> int:
        return 1

    def end_offsets(self, parts: list, **_: int) -> dict:
        return dict.fromkeys(parts, LOG_END)


def found_stuck(position: int, *, full: Iterator[bool], seconds: int = 300) -> list[int]:
    """What is found within `seconds` of a poll a second that move partition 0 on, and partition 1 never."""
    now = count()
    watchdog = Watchdog(TIMEOUT_S * 1_000, lambda: float(next(now)))
    rounds = (
        watchdog.stuck(Lookup(), "ticks", lambda n=n: {0: n, 1: position}, full=next(full)) for n in range(seconds)
    )
    return sorted({number for stuck in rounds for number in stuck})


def test_a_partition_that_gives_nothing_though_records_wait_is_stuck() -> None:
    assert found_stuck(40, full=iter([False] * 300)) == [1]


def test_a_partition_at_its_end_is_not_stuck() -> None:
    assert found_stuck(LOG_END, full=iter([False] * 300)) == []


def test_a_partition_waits_its_turn_while_every_poll_is_full_of_another() -> None:
    assert found_stuck(40, full=iter([True] * 300)) == []


def test_a_burst_now_and_then_does_not_hide_a_stuck_partition() -> None:
    assert found_stuck(40, full=iter([n % 20 == 0 for n in range(300)])) == [1]
