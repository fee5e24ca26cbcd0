"""`forecaster replay`: the pipeline over recorded ticks instead of Kafka."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from forecaster.config import Settings
from forecaster.errors import ForecasterError
from forecaster.formats.forecast_json import Forecasts
from forecaster.pipeline import Pipeline
from forecaster.recording import Recording
from forecaster.recording.messages import Messages
from forecaster.records import RecordBatch

BATCH = 5_000


def record_batches(recording: Recording, settings: Settings) -> Iterator[RecordBatch]:
    """`recording` as the records that `produce` would put into one partition, their times the events'."""
    messages = Messages(recording, settings)
    for low in range(0, len(recording), BATCH):
        part = recording.part(low, low + BATCH)
        rows = len(part)
        key, value = zip(*messages.between(low, low + rows), strict=True)
        yield RecordBatch(
            topic=settings.topics.input,
            partition=np.zeros(rows, np.int64),
            offset=np.arange(low, low + rows),
            timestamp_ms=part.time_ms,
            key=list(key),
            value=list(value),
            headers=[()] * rows,
            silent=np.zeros(rows, bool),
        )


def replay(
    recording: Recording,
    settings: Settings,
    pipeline: Pipeline,
    out: Path | None,
    scored: Callable[[Forecasts], None],
) -> Counter[str]:
    """Run every tick through `pipeline`; forecasts go to `out` as JSON lines. Returns all outcomes."""
    outcomes: Counter[str] = Counter()
    try:
        with (out or Path("/dev/null")).open("wb") as file:
            for records in record_batches(recording, settings):
                output = pipeline.process(records)
                outcomes += output.outcomes
                outcomes["unknown code"] += output.unknown_codes
                outcomes.update({f"dead letter: {reason}": n for reason, n in output.dead_letters.items()})
                forecasts = output.messages[: len(output.forecasts)]
                file.writelines((message.value or b"") + b"\n" for message in forecasts)
                scored(output.forecasts)
    except OSError as error:
        raise ForecasterError(f"{out}: cannot be written: {error.strerror}") from error
    return outcomes
