"""Where to read a newly assigned partition from, so that its state can be rebuilt without publishing twice."""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, Literal, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

logger = logging.getLogger(__name__)

LOOKUP_TIMEOUT_MS = 10_000
FIRST_STEP_BACK = 16
STEP_GROWTH = 64


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
    *,
    probe_options: Mapping[str, Any],
    policy: Literal["earliest", "latest"],
    span_ms: int | None,
) -> dict[TopicPartition, Start]:
    """Look up the `Start` of each partition; raises `KafkaError` when the broker does not answer in time.

    `span_ms` is how much record time before the committed offset is replayed, None for all of the log.
    """
    begin = consumer.beginning_offsets(partitions, timeout_ms=LOOKUP_TIMEOUT_MS)
    end = consumer.end_offsets(partitions, timeout_ms=LOOKUP_TIMEOUT_MS)
    stored = {part: consumer.committed(part, timeout_ms=LOOKUP_TIMEOUT_MS) for part in partitions}
    resume = {part: _resume(part, stored[part], begin[part], end[part], policy) for part in partitions}
    restore = dict(begin)
    behind = {part: offset for part, offset in resume.items() if begin[part] < offset}
    if span_ms is not None and behind:
        newest = _last_timestamps(behind, begin, probe_options)
        times = {part: max(0, time_ms - span_ms) for part, time_ms in newest.items()}
        found = consumer.offsets_for_times(times, timeout_ms=LOOKUP_TIMEOUT_MS)
        for part in times:
            first = resume[part] if found[part] is None else found[part].offset
            restore[part] = min(max(first, begin[part]), resume[part])
    return {part: Start(restore[part], resume[part], stored[part]) for part in partitions}


def _resume(part: TopicPartition, stored: int | None, begin: int, end: int, policy: str) -> int:
    """Return the first offset that was not processed yet, inside the log."""
    if stored is None:
        return begin if policy == "earliest" else end
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


def _last_timestamps(
    before: Mapping[TopicPartition, int],
    begin: Mapping[TopicPartition, int],
    options: Mapping[str, Any],
) -> dict[TopicPartition, int]:
    """Return the timestamp of the last record before each offset, 0 where the log has none or no timestamps.

    Steps back further and further, since transaction markers and compaction leave offsets without a record.
    """
    found: dict[TopicPartition, int] = {}
    step = FIRST_STEP_BACK
    with closing(KafkaConsumer(**options)) as probe:
        while pending := {part: offset for part, offset in before.items() if part not in found}:
            low = {part: max(begin[part], offset - step) for part, offset in pending.items()}
            found |= _read_timestamps(probe, low, pending)
            found |= {part: 0 for part in pending if part not in found and low[part] == begin[part]}
            step *= STEP_GROWTH
    return found


def _read_timestamps(
    probe: Any, low: Mapping[TopicPartition, int], high: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return the timestamp of the last record in [low, high) of each partition that has one there."""
    deadline = time.monotonic() + LOOKUP_TIMEOUT_MS / 1_000
    probe.assign(list(low))
    for part, offset in low.items():
        probe.seek(part, offset)
    last: dict[TopicPartition, int] = {}
    while any(probe.position(part) < high[part] for part in low):
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"no answer within {LOOKUP_TIMEOUT_MS} ms")
        for part, records in probe.poll(timeout_ms=100).items():
            times = [record.timestamp for record in records if record.offset < high[part]]
            if times:
                last[part] = max(0, times[-1])
    return last
