"""From copies of partitions' state to records of the state topic, a bounded amount for each transaction."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from forecaster.checkpoint.chunks import chunk_count, encode, records
from forecaster.checkpoint.keys import InUse, StateRecord, prefix
from forecaster.checkpoint.manifest import MOST_CHUNKS, CheckpointManifest, Chunk, Generation, Identity, Number, seal
from forecaster.checkpoint.reader import Found
from forecaster.checkpoint.state import Snapshot
from forecaster.grid import OPEN

if TYPE_CHECKING:  # it imports Keras
    from forecaster.pipeline import Pipeline

Taken = Literal["full", "delta", "unchanged", "busy", "too_large"]
EMPTY = InUse()


@dataclass(frozen=True, slots=True)
class _Full:
    """A full copy in the state topic for deltas to lie over: its chunks, its series, how many had come by then."""

    generation: Generation
    series: int
    taken: int


@dataclass(slots=True)
class _Partition:
    """What is known of a partition's checkpoints, and the one being written."""

    in_use: InUse = EMPTY
    full: _Full | None = None
    offset: int = -1
    writing: "_Writing | None" = None


class Writer:
    """Writes the checkpoints of every partition that this process owns, one after the other.

    After `take` each `next` gives records for one transaction; `delivered` says that it was committed.
    """

    def __init__(self, group: str) -> None:
        self._group = group
        self._partitions: dict[int, _Partition] = {}
        self._offered: list[StateRecord] = []

    @property
    def busy(self) -> bool:
        """Whether there are records to write."""
        return any(known.writing for known in self._partitions.values())

    def restored(self, partition: int, found: Found) -> None:
        """Begin with what the state topic holds of `partition`; without this its records would be written over."""
        self.forget(partition)
        self._partitions[partition] = _Partition(found.in_use)

    def forget(self, partition: int) -> bool:
        """The partition was revoked or reset: drop what is known, and what is being written of it; whether that was."""
        known = self._partitions.pop(partition, None)
        if self._offered and self._offered[0].partition == partition:
            self._offered = []
        return known is not None and known.writing is not None

    def take(self, pipeline: "Pipeline", partition: int, offset: int, source: str) -> Taken:
        """Copy the state of `partition` at its input record `offset`, which comes next, if there is a need.

        `source` tells the input topic from another one of its name.

        A "full" copy, or a "delta" over the last full one where at most half of the series have changed. No
        copy is made where the offset is that of the last checkpoint ("unchanged"), one of the partition is
        being written ("busy"), or it has more chunks than a manifest can name ("too_large").
        """
        known = self._partitions.setdefault(partition, _Partition())
        if known.writing:
            return "busy"
        if known.offset == offset:
            return "unchanged"
        slots, taken = pipeline.windows.slots.of(partition), pipeline.windows.slots.begun[partition]
        changed, full = slots[pipeline.windows.changed[slots]], known.full
        gone = full is None or full.series + taken - full.taken > len(slots)  # a delta cannot say that a series has
        delta = None if gone or 2 * len(changed) > len(slots) else full
        snapshot = pipeline.snapshot(partition, offset, source, changed if delta else slots)
        if chunk_count(snapshot.part) + (len(delta.generation.chunks) if delta else 0) > MOST_CHUNKS:
            return "too_large"
        if delta is None:
            pipeline.windows.changed[slots] = False
        known.writing = _Writing(self._group, snapshot, pipeline.identity, known.in_use, delta, taken)
        return "delta" if delta else "full"

    def next(self, budget_bytes: int) -> list[StateRecord]:
        """The records for the next transaction, all of one partition: at most `budget_bytes`, but at least one.

        Gives the same ones until they are `delivered`. None where nothing is under way.
        """
        if not self._offered and (writing := self._first()):
            self._offered = writing.next(budget_bytes)
        return self._offered

    def delivered(self) -> CheckpointManifest | None:
        """The transaction with what `next` gave was committed; the checkpoint that is whole with it, if one is."""
        if not self._offered:
            return None
        known = self._partitions[self._offered[0].partition]
        self._offered = []
        writing = known.writing
        if writing is None or writing.manifest is None:
            return None
        known.writing, known.offset = None, writing.manifest.offset
        known.in_use, known.full = writing.in_use, writing.full
        return writing.manifest

    def _first(self) -> "_Writing | None":
        return next((known.writing for known in self._partitions.values() if known.writing), None)


class _Writing:
    """A checkpoint on its way; once its last record was given out, `manifest`, `full` and `in_use` are set."""

    def __init__(
        self, group: str, snapshot: Snapshot, identity: Identity, before: InUse, base: _Full | None, taken: int
    ) -> None:
        self._prefix, self._snapshot, self._identity = prefix(group, snapshot.partition), snapshot, identity
        self._before, self._base, self._taken = before, base, taken
        self._sealed: CheckpointManifest | None = None
        self.manifest: CheckpointManifest | None = None
        self.full, self.in_use = base, before
        self._records = self._all_records()
        self._ahead = next(self._records, None)  # of a partition without series it is the manifest

    def next(self, budget_bytes: int) -> list[StateRecord]:
        """The next records: at most `budget_bytes` of them, but at least one."""
        given: list[StateRecord] = []
        size = 0
        while self._ahead and (not given or size + _size(self._ahead) <= budget_bytes):
            given.append(self._ahead)
            size += _size(self._ahead)
            self._ahead = next(self._records, None)
        if self._ahead is None:
            self.manifest = self._sealed
        return given

    def _all_records(self) -> Iterator[StateRecord]:
        """Every chunk, deletions of what an earlier checkpoint has beyond them, and the manifest."""
        before, base = self._before, self._base
        number = _other(before.delta if base else before.full)
        generation = f"{'d' if base else 'f'}{number}"
        chunks: list[Chunk] = []
        written: list[str] = []
        for chunk in encode(self._snapshot.part):
            pieces = list(records(chunk))
            chunks.append(Chunk(records=len(pieces), sha256=hashlib.sha256(chunk).hexdigest()))
            for piece in pieces:
                written.append(f"{generation}/{len(written)}")
                yield self._record(written[-1], piece)
        of_generation = {part for part in before.records if part.startswith(f"{generation}/")}
        for part in sorted(of_generation.difference(written)):
            yield self._record(part, None)
        records_now = (before.records - of_generation).union(written)
        manifest = self._finish(Generation(number=number, chunks=tuple(chunks)), records_now)
        yield self._record(f"m{manifest.number}", seal(manifest))

    def _record(self, part: str, value: bytes | None) -> StateRecord:
        return StateRecord(self._snapshot.partition, self._prefix + part.encode(), value)

    def _finish(self, written: Generation, parts: frozenset[str]) -> CheckpointManifest:
        """The manifest of what has been `written`; what is known once it is delivered is set with it."""
        before, snapshot, identity = self._before, self._snapshot, self._identity
        full = self._base.generation if self._base else written
        delta = written if self._base else None
        self._sealed = CheckpointManifest(
            partition=snapshot.partition,
            number=_other(before.manifest),
            sequence=min(before.sequence + 1, int(OPEN)),
            offset=snapshot.offset,
            source=snapshot.source,
            event_time_ms=snapshot.event_time_ms,
            series=snapshot.series,
            stream=identity.stream,
            bundle=identity.bundle,
            context_length=identity.context_length,
            features=identity.features.model_dump(mode="json"),
            network=identity.network.model_dump(mode="json"),
            full=full,
            delta=delta,
        )
        self.full = self._base or _Full(written, snapshot.series, self._taken)
        delta_number = delta.number if delta else before.delta
        self.in_use = InUse(self._sealed.sequence, self._sealed.number, full.number, delta_number, parts)
        return self._sealed


def _other(number: int) -> Number:
    """The generation that is not `number`."""
    return 0 if number else 1


def _size(record: StateRecord) -> int:
    return len(record.key) + len(record.value or b"")
