"""The two ends of the demo's stream: ticks go in on a thread of their own, forecasts are read back."""

import threading
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np
import orjson
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from forecaster.config import Settings
from forecaster.demo.electricity import WEEK, Weeks
from forecaster.errors import ForecasterError, RetryableError
from forecaster.formats.forecast_json import Forecasts
from forecaster.kafka.python_connect import connection_options, one_line
from forecaster.kafka.python_publisher import Publisher
from forecaster.produce import due_seconds, produce
from forecaster.recording import Recording

JOIN_SECONDS = 5.0


class Feed:
    """Produces the history at once, then, when it is opened, the unseen week at `rate` ticks a second.

    With `repeat` that week comes again and again, with the times going on.
    """

    def __init__(self, weeks: Weeks, settings: Settings, rate: float, *, repeat: bool) -> None:
        self._weeks, self._settings, self._rate, self._repeat = weeks, settings, rate, repeat
        self._publisher = Publisher(settings, connection_options(settings.kafka, "forecaster-demo-feed"))
        self._opened, self._stopped = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._failure: BaseException | None = None
        self.history = weeks.unseen_from * len(weeks.names)
        self.sent = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._publisher.discard()

    def open(self) -> None:
        """Let the unseen week begin."""
        self._opened.set()

    def stop(self) -> None:
        """Send nothing more."""
        self._stopped.set()
        self._opened.set()
        self._thread.join(JOIN_SECONDS)

    @property
    def idle(self) -> bool:
        """Whether the history is sent and the unseen week not yet opened."""
        return self.sent >= self.history and not self._opened.is_set()

    @property
    def finished(self) -> bool:
        """Whether all is sent. Raises `ForecasterError` where it could not be."""
        if self._failure is not None:
            raise ForecasterError(f"the ticks of the demo cannot be produced: {self._failure}")
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            first = self._weeks.unseen_from
            self._send(self._weeks.recording(0, first), None)
            self._opened.wait()
            self._send(self._weeks.recording(first, first + WEEK), self._rate)
            while self._repeat and not self._stopped.is_set():
                first += WEEK
                self._send(self._weeks.recording(first, first + WEEK), self._rate)
        except (RetryableError, ForecasterError) as error:
            self._failure = error

    def _send(self, ticks: Recording, rate: float | None) -> None:
        due = due_seconds(ticks, rate, None)
        self.sent += produce(ticks, self._settings, self._publisher.publish, due, self._stopped.is_set)


class Reader:
    """Reads the output topic from its start, as any consumer would."""

    def __init__(self, settings: Settings) -> None:
        self._levels = [f"{level:g}" for level in settings.model.quantiles]
        self._horizon = settings.model.horizon
        options = connection_options(settings.kafka, "forecaster-demo-reader")
        self._consumer: Any = KafkaConsumer(
            **options, auto_offset_reset="earliest", enable_auto_commit=False, metrics_enabled=False
        )
        topic = settings.topics.output
        self._consumer.assign([TopicPartition(topic, number) for number in range(settings.topics.partitions)])
        self.count = 0
        self.model = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(KafkaError):
            self._consumer.close(timeout_ms=1_000)

    def poll(self, timeout_ms: int) -> Forecasts:
        """The forecasts that have come since the last time."""
        try:
            parts = self._consumer.poll(timeout_ms=timeout_ms, max_records=2_000)
        except KafkaError as error:
            raise ForecasterError(f"the forecasts cannot be read back: {one_line(error)}") from error
        messages = [orjson.loads(record.value) for records in parts.values() for record in records]
        self.count += len(messages)
        if messages:
            self.model = messages[-1]["model"]
        return self._columns(messages)

    def _columns(self, messages: Sequence[dict[str, Any]]) -> Forecasts:
        sources = [message["source"] for message in messages]

        def column(name: str) -> np.ndarray:
            return np.array([source[name] for source in sources], np.int64)

        stacked = np.array([[message["quantiles"][level] for level in self._levels] for message in messages])
        return Forecasts(
            series=[message["series"] for message in messages],
            origin_ms=np.array([message["origin"] for message in messages], np.int64),
            quantiles=np.moveaxis(stacked.reshape(len(messages), len(self._levels), self._horizon), 1, 2),
            scale=np.ones(len(messages)),  # not published
            ready=np.array([message["maturity"] == "ready" for message in messages], bool),
            trigger_ms=np.full(len(messages), -1),  # not published
            partition=column("partition"),
            offset=column("offset"),
            index=column("index"),
        )
