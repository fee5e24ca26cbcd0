"""`forecaster produce`: recorded ticks into the input topic, at a rate or a speed-up of event time."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from forecaster.config import Settings
from forecaster.recording import Recording
from forecaster.recording.messages import Messages
from forecaster.records import Float, Message

CHUNK = 5_000
TICK_S = 0.02  # how finely a paced stream is cut

Publish = Callable[[Sequence[Message]], None]


def due_seconds(recording: Recording, rate: float | None, speedup: float | None) -> Float:
    """When each tick is due, in seconds from the start; all zero without a pace."""
    if rate is not None:
        return np.arange(len(recording)) / rate
    if speedup is not None:
        event_time = np.maximum.accumulate(recording.time_ms)
        due: Float = (event_time - event_time[0]) / (1000 * speedup)
        return due
    return np.zeros(len(recording))


def produce(
    recording: Recording,
    settings: Settings,
    publish: Publish,
    due_s: Float,
    stopped: Callable[[], bool] = lambda: False,
) -> int:
    """Send every tick when it is due, in order, until `stopped`; returns the number acknowledged."""
    messages = Messages(recording, settings)
    start, sent = time.monotonic(), 0
    while sent < len(recording) and not stopped():
        elapsed = time.monotonic() - start
        until = min(int(np.searchsorted(due_s, elapsed, "right")), sent + CHUNK)
        if until == sent:
            time.sleep(min(TICK_S, due_s[sent] - elapsed))
            continue
        publish([Message(settings.topics.input, key, value) for key, value in messages.between(sent, until)])
        sent = until
    return sent
