"""When checkpoints are taken, and what is told of them; what they are is the package `checkpoint`."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Found
from forecaster.checkpoint.writer import Writer
from forecaster.telemetry.logs import event
from forecaster.telemetry.metrics import Metrics

if TYPE_CHECKING:  # it imports TensorFlow
    from forecaster.pipeline import Pipeline

BYTES_PER_TRANSACTION = 2**20  # what encoding and sending them takes is the longest pause, besides the copy


class Checkpoints:
    """Every `state.checkpoint_interval` one partition after the other: copied at once, written bit by bit."""

    def __init__(self, pipeline: "Pipeline", metrics: Metrics, clock: Callable[[], float]) -> None:
        self._pipeline, self._metrics, self._clock = pipeline, metrics, clock
        self._interval = pipeline.settings.state.checkpoint_interval / 1_000
        self._writer = Writer(pipeline.settings.kafka.group_id)
        self._taken = clock()
        self._due: list[int] = []
        self._whole: dict[int, float] = {}
        metrics.checkpoint_interval.set(self._interval)

    @property
    def busy(self) -> bool:
        """Whether there is something to write."""
        return self._writer.busy

    def whole(self) -> Mapping[int, float]:
        """By partition, when (epoch seconds) its newest checkpoint was whole or lacked nothing, or the partition began.

        Empty where there are no checkpoints.
        """
        return self._whole if self._interval else {}

    def restored(self, partition: int, found: Found) -> None:
        """Load what was found of a partition that begins."""
        series, source, offset = 0, "replay", None
        if (checkpoint := found.checkpoint) is not None:
            series, offset = self._pipeline.load(partition, checkpoint), checkpoint.offset
            same = checkpoint.manifest.bundle == self._pipeline.identity.bundle
            source = "checkpoint" if same else "other_bundle"
        self._writer.restored(partition, found)
        self._whole[partition] = self._clock()
        self._metrics.restores.labels(source).inc()
        event("partition_restored", partition=partition, source=source, offset=offset, series=series)

    def forget(self, partition: int) -> None:
        """The partition left, or will be restored."""
        self._whole.pop(partition, None)
        if self._writer.forget(partition):
            self._metrics.checkpoint_failures.labels("interrupted").inc()

    def take(self, positions: Mapping[int, int], source: str) -> None:
        """Copy the state of one partition, if one is due and nothing is being written.

        `positions` are the committed offsets of the partitions whose state is that of all records before.
        """
        if not self._interval or self._writer.busy:
            return
        if not 0 <= self._clock() - self._taken < self._interval:  # below 0: the clock was set back
            self._taken = self._clock()
            self._due = sorted(positions)
        while self._due and not self._writer.busy:
            self._take(self._due.pop(0), positions, source)

    def _take(self, partition: int, positions: Mapping[int, int], source: str) -> None:
        if partition not in positions:
            return
        with self._metrics.checkpoint.time():
            taken = self._writer.take(self._pipeline, partition, positions[partition], source)
        if taken == "unchanged":
            self._whole[partition] = self._clock()
        if taken == "too_large":
            self._metrics.checkpoint_failures.labels(taken).inc()
            event("checkpoint_too_large", logging.ERROR, partition=partition)

    def next(self) -> Sequence[StateRecord]:
        """What goes into the next transaction."""
        return self._writer.next(BYTES_PER_TRANSACTION)

    def delivered(self) -> None:
        """What `next` gave was committed."""
        manifest = self._writer.delivered()
        if manifest is not None:
            self._whole[manifest.partition] = self._clock()
            self._metrics.checkpoints.labels("delta" if manifest.delta else "full").inc()
