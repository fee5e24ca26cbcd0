"""Numbered ticks: everything about tick `n` follows from `n`, so that what comes out can be judged from outside."""

import json
import math
from dataclasses import dataclass
from typing import NamedTuple

from chaos.streams import STREAMS

BROKEN_EVERY = 101  # coprime to the number of series: every series has a hole now and then


class Numbered(NamedTuple):
    """One raw record of the input topic and the partition it goes to."""

    partition: int
    key: bytes
    value: bytes


@dataclass(frozen=True)
class Ticks:
    """`series` series over `partitions` partitions; tick n is round n // series of series n % series.

    Every 101st record is no tick. With `shuffled` rounds, ticks come out of order, though never
    more than so many rounds late. `stream` names what they are.
    """

    series: int = 40
    partitions: int = 4
    shuffled: int = 0
    stream: str = "values"

    def record(self, number: int) -> Numbered:
        """Record `number` of the stream."""
        series, round_ = self.place(number)
        key = f"s{series}".encode()
        if self.is_broken(number):
            return Numbered(series % self.partitions, key, f"broken {number}".encode())
        fields = STREAMS[self.stream].fields(self.value(series, round_), round_)
        content = {"series": f"s{series}", "ts": self.time_ms(round_), **fields}
        return Numbered(series % self.partitions, key, json.dumps(content).encode())

    def place(self, number: int) -> tuple[int, int]:
        """The series and the round of tick `number`: within a block of `shuffled` rounds they come backwards."""
        round_, series = divmod(number, self.series)
        if self.shuffled:
            block, inside = divmod(round_, self.shuffled)
            round_ = block * self.shuffled + (self.shuffled - 1 - inside)
        return series, round_

    def time_ms(self, round_: int) -> int:
        """The event time of a round."""
        return STREAMS[self.stream].time_ms(round_)

    def value(self, series: int, round_: int) -> float:
        """A wave of the series' own size, with noise that follows from the numbers."""
        noise = ((series * 7919 + round_ * 104_729) * 2_654_435_761 % 2**32) / 2**32
        size = 1 + series % 7
        return round(10 * (series + 1) + size * (math.sin(round_ / 9 + series) + 0.3 * noise), 4)

    def spread(self, series: int) -> float:
        """The scale of a series: how far its values lie apart."""
        return 2.3 * (1 + series % 7)

    def is_broken(self, number: int) -> bool:
        """Whether record `number` is a dead letter."""
        return number % BROKEN_EVERY == BROKEN_EVERY // 2
