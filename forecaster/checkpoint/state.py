"""The state of a partition outside of the pipeline: arrays by name, a row for each series."""

from collections.abc import Iterator
from dataclasses import dataclass

from forecaster.checkpoint.chunks import Layout, Part, decode
from forecaster.checkpoint.manifest import CheckpointManifest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A copy of a partition's state before its input record `offset`: all of its series, or some.

    `source` tells the input topic from another one of its name, `series` is how many the partition has,
    `event_time_ms` its event time.
    """

    partition: int
    offset: int
    source: str
    event_time_ms: int
    series: int
    part: Part


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A verified checkpoint: its chunks, newest first, and the arrays to take from them."""

    manifest: CheckpointManifest
    chunks: list[bytes]
    layout: Layout

    @property
    def offset(self) -> int:
        """The input record that comes next."""
        return self.manifest.offset

    def parts(self) -> Iterator[Part]:
        """The state, decoded while it is taken; of a series that comes again only the first row counts."""
        return (decode(chunk, self.layout) for chunk in self.chunks)
