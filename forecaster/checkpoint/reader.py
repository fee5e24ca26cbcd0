"""From the records of the state topic to the newest whole checkpoint of a partition."""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from forecaster.checkpoint.chunks import Layout, decode
from forecaster.checkpoint.keys import PART, InUse, prefix
from forecaster.checkpoint.manifest import CheckpointManifest, Generation, Identity, unseal
from forecaster.checkpoint.state import Checkpoint
from forecaster.errors import UnusableStateError


@dataclass(frozen=True, slots=True)
class Found:
    """The checkpoint to go on from, if there is any, and why others are not usable: (reason code, text).

    Codes: `missing` (a record is not there), `corrupt`, `newer_format`, `other_settings`, `other_topic` (the input was
    made anew), `ahead` (of the committed offset, or of one that was written after it: offsets were set back).
    `in_use` is for the writer.
    """

    checkpoint: Checkpoint | None
    problems: tuple[tuple[str, str], ...]
    in_use: InUse


class Reader:
    """Collects the records about one partition; of each key the latest counts."""

    def __init__(self, group: str, partition: int, identity: Identity) -> None:
        self._prefix, self._partition, self._identity = prefix(group, partition), partition, identity
        self._records: dict[str, bytes] = {}

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """Take a record of the state topic, in the topic's order; one about anything else is passed over."""
        if key is None or not key.startswith(self._prefix):
            return
        part = key[len(self._prefix) :]
        if not PART.fullmatch(part):
            return
        if value is None:
            self._records.pop(part.decode(), None)
        else:
            self._records[part.decode()] = value

    @property
    def empty(self) -> bool:
        """Whether there is no record about the partition."""
        return not self._records

    def newest(self, committed_offset: int, source: str) -> Found:
        """The newest whole checkpoint at or below `committed_offset` of the input topic that is known by `source`."""
        problems: list[tuple[str, str]] = []
        manifests = sorted(self._manifests(problems), key=lambda manifest: -manifest.sequence)
        limit = committed_offset
        for manifest in manifests:
            try:
                checkpoint = self._checkpoint(manifest, limit, source)
                return Found(checkpoint, tuple(problems), self._in_use(manifests, manifest))
            except UnusableStateError as error:
                text = f"checkpoint {manifest.sequence} of partition {self._partition}: {error.text}"
                problems.append((error.reason, text))
            limit = min(limit, manifest.offset)
        return Found(None, tuple(problems), self._in_use(manifests, None))

    def _manifests(self, problems: list[tuple[str, str]]) -> Iterator[CheckpointManifest]:
        for number in (0, 1):
            if (value := self._records.get(f"m{number}")) is None:
                continue
            try:
                yield unseal(value, self._partition, number)
            except UnusableStateError as error:
                problems.append((error.reason, f"m{number} of partition {self._partition}: {error.text}"))

    def _checkpoint(self, manifest: CheckpointManifest, limit: int, source: str) -> Checkpoint:
        if manifest.source != source:
            raise UnusableStateError("other_topic", "made of an input topic that had the name before")
        if manifest.offset > limit:
            raise UnusableStateError("ahead", f"its offset {manifest.offset} is above {limit}")
        self._identity.check(manifest)
        delta = list(self._chunks("d", manifest.delta)) if manifest.delta else []
        full = list(self._chunks("f", manifest.full))
        layout = self._identity.layout_of(manifest)
        if len(_series(delta, layout) | _series(full, layout)) != manifest.series:
            raise UnusableStateError("corrupt", f"it has not the {manifest.series} series that the manifest says")
        return Checkpoint(manifest, delta + full, layout)

    def _chunks(self, kind: str, generation: Generation) -> Iterator[bytes]:
        """The chunks of `generation`, each as its sha256 says."""
        number = itertools.count()
        for chunk in generation.chunks:
            pieces = [self._record(f"{kind}{generation.number}/{next(number)}") for _ in range(chunk.records)]
            content = b"".join(pieces)
            if hashlib.sha256(content).hexdigest() != chunk.sha256:
                raise UnusableStateError("corrupt", f"a chunk of {kind}{generation.number} is not as its sha256 says")
            yield content

    def _record(self, part: str) -> bytes:
        if (value := self._records.get(part)) is None:
            raise UnusableStateError("missing", f"record {part} is not there")
        return value

    def _in_use(self, manifests: list[CheckpointManifest], kept: CheckpointManifest | None) -> InUse:
        """What not to write over: `kept`, else the newest that can be read, which an older release may yet use."""
        records = frozenset(self._records)
        kept = kept or next(iter(manifests), None)
        if kept is None:
            return InUse(records=records)
        delta = kept.delta.number if kept.delta else 1
        return InUse(manifests[0].sequence, kept.number, kept.full.number, delta, records)


def _series(chunks: list[bytes], layout: Layout) -> set[str]:
    """The series of `chunks`, all of which can be decoded and no series of which comes twice."""
    names = [name for chunk in chunks for name in decode(chunk, layout).names]
    distinct = set(names)
    if len(distinct) < len(names):
        raise UnusableStateError("corrupt", "a series comes twice")
    return distinct
