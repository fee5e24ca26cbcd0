"""What a recording becomes on the grid, and what did not get onto it."""

from dataclasses import dataclass, replace

import numpy as np

from forecaster.channels import least
from forecaster.config import StreamSettings
from forecaster.event_time import DUPLICATE, LATE
from forecaster.recording import Recording
from forecaster.records import Float, Int
from forecaster.windows import Block, Windows
from training.left_out import LeftOut


@dataclass(frozen=True, slots=True)
class Observed:
    """The observations of a whole recording: `block` and `origin_ms`, the event time of its rows.

    Each channel of a multivariate series counts as a series here. `tick` is the place in the recording of the tick
    that made each row, the last one of a bar, −1 for a step filled into a gap. `ticks`, `late` and `duplicate` count
    by name.
    """

    windows: Windows
    block: Block
    origin_ms: Int
    tick: Int
    ticks: dict[str, int]
    late: dict[str, int]
    duplicate: dict[str, int]

    @property
    def series(self) -> list[str]:
        """Names by slot, or by slot and channel."""
        return self.windows.channels.row_names(self.windows.slots.names)

    def of(self, slot: int) -> slice:
        """The rows of one series, in the order of time."""
        low, high = np.searchsorted(self.block.slot, [slot, slot + 1]).tolist()
        return slice(low, high)

    def values(self, slot: int) -> tuple[Int, Float]:
        """Event times and values of one series `[rows]`, NaN where one is missing."""
        rows = self.of(slot)
        return self.origin_ms[rows], self.block.value[rows]


def observe(
    recording: Recording,
    stream: StreamSettings,
    context_length: int,
    *,
    log: bool = False,
    channels: tuple[str, ...] = (),
) -> Observed:
    """Push all of `recording`, with `log` all that has a logarithm, through the event time that serves.

    Raises `ConfigError` where it completes no observation.
    """
    windows, places = Windows(stream, context_length, covariates=1, channels=channels), np.arange(len(recording))
    left_out = LeftOut()
    if log:
        places, recording = places[~(least(recording.value) <= 0)], left_out.positive(recording)
    places, recording = places[windows.grid.is_open(recording.time_ms)], left_out.open(recording, windows.grid)
    names = [recording.names[n] for n in recording.series.tolist()]
    partition = np.zeros(len(recording), np.int64)
    outcome, block = windows.admit(partition, names, recording.time_ms, recording.value, places[:, None].astype(float))
    block, _ = windows.channels.spread(block)
    if not len(block):
        raise left_out.nothing_complete()

    def count(series: Int) -> dict[str, int]:
        counts = np.bincount(series, minlength=len(recording.names)).repeat(windows.channels.width)
        return dict(zip(windows.channels.row_names(recording.names), counts.tolist(), strict=True))

    late, duplicate = (count(recording.series[outcome == kind]) for kind in (LATE, DUPLICATE))
    origin_ms = windows.grid.origin_ms(block.index)
    assert block.covariates is not None  # noqa: S101  # places were given
    tick = np.nan_to_num(block.covariates[:, 0], nan=-1.0).astype(np.int64)
    block = replace(block, covariates=None)
    return Observed(windows, block, origin_ms, tick, count(recording.series), late, duplicate)
