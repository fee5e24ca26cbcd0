"""Where to read a newly assigned partition from, so that its state can be rebuilt without publishing twice."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

logger = logging.getLogger(__name__)

PROBE_BYTES = 64 * 2**10  # one record is enough
FIRST_STEP_BACK = 16
STEP_GROWTH = 64


class Policy(NamedTuple):
    """Where to begin without a commit, and how much record time before the commit to replay (None: all of the log)."""

    reset: Literal["earliest", "latest"]
    span_ms: int | None


class Start(NamedTuple):
    """A partition's start: read from `restore` on; what lies below `resume` only rebuilds state.

    `stored` is the group's committed offset; it differs from `resume` where there was none or it
    lay outside the log.
    """

    restore: int
    resume: int
    stored: int | None


def find_starts(
    consumer: Any,
    partitions: Sequence[TopicPartition],
    policy: Policy,
    probe_options: Mapping[str, Any],
    timeout_ms: int,
) -> dict[TopicPartition, Start]:
    """Look up the `Start` of each partition; raises `KafkaError` when the broker does not answer in time.

    Each question to the broker has `timeout_ms`; `probe_options` make a consumer outside of the group.
    """
    begin = consumer.beginning_offsets(partitions, timeout_ms=timeout_ms)
    end = consumer.end_offsets(partitions, timeout_ms=timeout_ms)
    stored = {part: consumer.committed(part, timeout_ms=timeout_ms) for part in partitions}
    beyond = {part: end[part] for part, offset in stored.items() if offset is not None and offset > end[part]}
    if beyond:  # the embedded broker names too low an end; what a fetch says is right everywhere
        end |= _fetched_ends(beyond, probe_options, timeout_ms)
    resume = {part: _resume(part, stored[part], begin[part], end[part], policy.reset) for part in partitions}
    restore = dict(begin)
    behind = {part: offset for part, offset in resume.items() if begin[part] < offset}
    if policy.span_ms is not None and behind:
        newest = _last_timestamps(behind, begin, probe_options, timeout_ms)
        times = {part: max(0, time_ms - policy.span_ms) for part, time_ms in newest.items()}
        found = consumer.offsets_for_times(times, timeout_ms=timeout_ms)
        for part in times:
            first = resume[part] if found[part] is None else found[part].offset
            restore[part] = min(max(first, begin[part]), resume[part])
    return {part: Start(restore[part], resume[part], stored[part]) for part in partitions}


def _resume(part: TopicPartition, stored: int | None, begin: int, end: int, reset: str) -> int:
    """Return the first offset that was not processed yet, inside the log."""
    if stored is None:
        return begin if reset == "earliest" else end
    name = f"{part.topic}/{part.partition}"
    if stored < begin:
        logger.warning(
            "%s: offsets %d to %d were deleted before they were read: %d lost", name, stored, begin - 1, begin - stored
        )
        return begin
    if stored > end:
        logger.warning(
            "%s: the committed offset %d is behind the log's end %d; going on from the end", name, stored, end
        )
        return end
    return stored


def _fetched_ends(
    ends: Mapping[TopicPartition, int], options: Mapping[str, Any], timeout_ms: int
) -> dict[TopicPartition, int]:
    """Return the ends of partitions as a fetch from their presumed `ends` reports them."""
    deadline = time.monotonic() + timeout_ms / 1_000
    with closing(KafkaConsumer(**{**options, "bootstrap_timeout_ms": timeout_ms})) as probe:
        probe.assign(list(ends))
        for part, offset in ends.items():
            probe.seek(part, offset)
        while any(probe.highwater(part) is None for part in ends):
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no answer within {timeout_ms} ms")
            probe.poll(timeout_ms=100)
        return {part: max(end, probe.highwater(part)) for part, end in ends.items()}


def _last_timestamps(
    before: Mapping[TopicPartition, int],
    begin: Mapping[TopicPartition, int],
    options: Mapping[str, Any],
    timeout_ms: int,
) -> dict[TopicPartition, int]:
    """Return the timestamp of the last record before each offset, 0 where the log has none or no timestamps.

    Steps back further and further, since transaction markers and compaction leave offsets without a record.
    """
    found: dict[TopicPartition, int] = {}
    step = FIRST_STEP_BACK
    small = {"max_partition_fetch_bytes": PROBE_BYTES, "bootstrap_timeout_ms": timeout_ms}
    with closing(KafkaConsumer(**{**options, **small})) as probe:
        while pending := {part: offset for part, offset in before.items() if part not in found}:
            low = {part: max(begin[part], offset - step) for part, offset in pending.items()}
            found |= _read_timestamps(probe, low, pending, timeout_ms)
            found |= {part: 0 for part in pending if part not in found and low[part] == begin[part]}
            step *= STEP_GROWTH
    return found


def _read_timestamps(
    probe: Any, low: Mapping[TopicPartition, int], high: Mapping[TopicPartition, int], timeout_ms: int
) -> dict[TopicPartition, int]:
    """Return the timestamp of the last record in [low, high) of each partition that has one there."""
    deadline = time.monotonic() + timeout_ms / 1_000
    probe.assign(list(low))
    for part, offset in low.items():
        probe.seek(part, offset)
    last: dict[TopicPartition, int] = {}
    while any(probe.position(part) < high[part] for part in low):
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"no answer within {timeout_ms} ms")
        for part, records in probe.poll(timeout_ms=100).items():
            times = [record.timestamp for record in records if record.offset < high[part]]
            if times:
                last[part] = max(0, times[-1])
    return last
