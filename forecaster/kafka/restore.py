"""Where to read a newly assigned partition from, so that its state can be rebuilt without publishing twice."""

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from forecaster.checkpoint.reader import Found, Reader
from forecaster.errors import ForecasterError
from forecaster.kafka.client import Incident
from forecaster.kafka.python_offsets import log_begins, log_ends

PROBE_BYTES = 64 * 2**10  # one record is enough
FIRST_STEP_BACK = 16
STEP_GROWTH = 64


class Policy(NamedTuple):
    """Where to begin without a commit, how much record time before the commit to replay (None: all of the log).

    `lost` tells what to do where records were deleted before they were read.
    """

    reset: Literal["earliest", "latest"]
    span_ms: int | None
    lost: Literal["continue", "stop"]


class Start(NamedTuple):
    """A partition's start: read from `restore` on; what lies below `resume` only rebuilds state.

    `found` is what the state topic has of it, None where there is none: with a checkpoint that is the state at
    `restore`, else it is rebuilt from nothing. `stored` is the group's committed offset; it differs from
    `resume` where there was none or it lay outside the log.
    """

    restore: int
    resume: int
    stored: int | None
    found: Found | None
    incidents: list[Incident]


class Log(NamedTuple):
    """What the broker tells of a partition: its ends, and the group's offset with the topic's id at that time."""

    begin: int
    end: int
    stored: int | None
    stored_source: str


def find_starts(
    consumer: Any,
    readers: Mapping[TopicPartition, Reader | None],
    policy: Policy,
    source: str,
    probe_options: Mapping[str, Any],
    timeout_ms: int,
) -> dict[TopicPartition, Start]:
    """Look up the `Start` of each partition; `readers` hold what the state topic has of it.

    Each question to the broker has `timeout_ms`; `probe_options` make a consumer outside of the group.
    Raises `KafkaError` when the broker does not answer in time, `ForecasterError` where records are lost
    and `policy` says to stop.
    """
    logs = _ask(consumer, list(readers), probe_options, timeout_ms)
    starts = {part: _start(part, log, policy, source, readers[part]) for part, log in logs.items()}
    behind = {
        part: start.resume
        for part, start in starts.items()
        if not (start.found and start.found.checkpoint) and logs[part].begin < start.resume
    }
    if policy.span_ms is not None and behind:
        begin = {part: logs[part].begin for part in behind}
        newest = _last_timestamps(behind, begin, probe_options, timeout_ms)
        times = {part: max(0, time_ms - policy.span_ms) for part, time_ms in newest.items()}
        found = consumer.offsets_for_times(times, timeout_ms=timeout_ms)
        for part in times:
            first = behind[part] if found[part] is None else found[part].offset
            starts[part] = starts[part]._replace(restore=min(max(first, begin[part]), behind[part]))
    return starts


def _ask(
    consumer: Any, parts: Sequence[TopicPartition], probe_options: Mapping[str, Any], timeout_ms: int
) -> dict[TopicPartition, Log]:
    begin = log_begins(consumer, parts, timeout_ms)
    end = log_ends(consumer, parts, timeout_ms)
    # kafka-python hands out the late answer to an earlier question: by now others may have committed
    consumer._coordinator._offset_fetch_futures.clear()  # noqa: SLF001
    stored = {part: consumer.committed(part, metadata=True, timeout_ms=timeout_ms) for part in parts}
    beyond = {part: end[part] for part, found in stored.items() if found is not None and found.offset > end[part]}
    if beyond:  # the embedded broker names too low an end; what a fetch says is right everywhere
        end |= _fetched_ends(beyond, probe_options, timeout_ms)
    return {
        part: Log(begin[part], end[part], found and found.offset, _source_of(found)) for part, found in stored.items()
    }


def _source_of(stored: Any) -> str:
    """The topic's id beside a committed offset; confluent-kafka writes a NUL behind it."""
    return "" if stored is None else (stored.metadata or "").rstrip("\0")


def _start(part: TopicPartition, log: Log, policy: Policy, source: str, reader: Reader | None) -> Start:
    """The start of a partition, at its checkpoint or else at the begin of its log."""
    resume, incidents = _resume(part, log, policy, source)
    if reader is None:
        return Start(log.begin, resume, log.stored, None, incidents)
    found = reader.newest(resume, source)
    problems = list(found.problems)
    if found.checkpoint is not None and not log.begin <= found.checkpoint.offset <= log.end:
        offset = found.checkpoint.offset
        text = f"the records behind the checkpoint at {offset} are gone: the log is {log.begin} to {log.end}"
        problems.append(("deleted", text))
        found = replace(found, checkpoint=None)
    incidents += [Incident("checkpoint_refused", 1, f"{_name(part)}: {text}", reason) for reason, text in problems]
    return Start(found.checkpoint.offset if found.checkpoint else log.begin, resume, log.stored, found, incidents)


def _resume(part: TopicPartition, log: Log, policy: Policy, source: str) -> tuple[int, list[Incident]]:
    """The first offset that was not processed yet, inside the log, and what was lost before it."""
    if log.stored is None:
        return (log.begin if policy.reset == "earliest" else log.end), []
    name = _name(part)
    if source and log.stored_source and log.stored_source != source:
        text = f"{name}: the topic was deleted and made anew; beginning at its offset {log.begin}"
        return _lost(policy, log.begin, Incident("topic_recreated", 1, text))
    if log.stored < log.begin:
        count = log.begin - log.stored
        text = f"{name}: offsets {log.stored} to {log.begin - 1} were deleted before they were read: {count} lost"
        return _lost(policy, log.begin, Incident("lost_records", count, text))
    if log.stored > log.end:
        count = log.stored - log.end
        text = f"{name}: the committed offset {log.stored} is behind the log's end {log.end}; going on from the end"
        return _lost(policy, log.end, Incident("lost_records", count, text))
    return log.stored, []


def _lost(policy: Policy, resume: int, incident: Incident) -> tuple[int, list[Incident]]:
    if policy.lost == "stop":
        raise ForecasterError(f'{incident.text}; kafka.lost_offsets = "continue" would go on at offset {resume}')
    return resume, [incident]


def _name(part: TopicPartition) -> str:
    return f"{part.topic}/{part.partition}"


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
            times = [record.timestamp or 0 for record in records if record.offset < high[part]]
            if times:
                last[part] = max(0, times[-1])
    return last
