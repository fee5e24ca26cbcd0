"""Where a batch's way can be followed: spans of the batch and its stages, or none at all."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

from forecaster.records import Message, RecordBatch
from forecaster.telemetry.metrics import Metrics

Scope = AbstractContextManager[object]


class Traces(Protocol):
    """Traces of the batches of one loop; used from its thread."""

    def batch(self, records: RecordBatch) -> Scope:
        """All that is done with `records`."""

    def stage(self, name: str) -> Scope:
        """A part of the batch under way."""

    def carried(self, messages: Sequence[Message]) -> Sequence[Message]:
        """`messages` of the batch under way, the forecasts with its context for those who read them."""

    def close(self) -> None:
        """Give away what is not yet given, within a few seconds."""


class NoTraces:
    """Implements `Traces` where nobody wants them."""

    def batch(self, _: RecordBatch) -> Scope:
        """Nothing."""
        return nullcontext()

    def stage(self, _: str) -> Scope:
        """Nothing."""
        return nullcontext()

    def carried(self, messages: Sequence[Message]) -> Sequence[Message]:
        """`messages` as they are."""
        return messages

    def close(self) -> None:
        """Nothing."""


class Stages:
    """Times each stage for the metrics, and traces it."""

    def __init__(self, metrics: Metrics, traces: Traces) -> None:
        self._metrics, self._traces = metrics, traces
        self._traced = not isinstance(traces, NoTraces)

    def __call__(self, name: str) -> Scope:
        """The time inside the block."""
        timer: Scope = self._metrics.stage.labels(name).time()
        return self._both(name, timer) if self._traced else timer

    @contextmanager
    def _both(self, name: str, timer: Scope) -> Iterator[None]:
        with self._traces.stage(name), timer:
            yield
