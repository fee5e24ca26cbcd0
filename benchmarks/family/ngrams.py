"""The baseline for streams of codes: how often each code came after the last few, order and smoothing by validation."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np

ORDERS, WEIGHTS = range(10), (10.0, 30.0, 100.0, 300.0, 1_000.0, 3_000.0)


class Ngrams(NamedTuple):
    """Counts after the last `order` codes, `weight` observations' worth of what the shorter contexts say between them.

    p(code | context) = (count + weight · p(code | shorter context)) / (total + weight), down to even shares: add-k
    where order is 0, else its interpolated form (MacKay and Peto 1995).
    """

    order: int
    weight: float
    codes: int
    counts: tuple[np.ndarray, ...]

    @classmethod
    def of(cls, series: Sequence[np.ndarray], order: int, weight: float, codes: int) -> "Ngrams":
        """Counted over the arrays of places `series`."""
        counts = tuple(np.zeros((codes**length, codes)) for length in range(order + 1))
        for places in series:
            for length, table in enumerate(counts):
                np.add.at(table, (contexts(places, length, codes), places[length:]), 1)
        return cls(order, weight, codes, counts)

    def probabilities(self, places: np.ndarray) -> np.ndarray:
        """Of each code after the codes before every place from `order` on `[n − order, codes]`."""
        found = np.full((len(places) - self.order, self.codes), 1 / self.codes)
        for length, table in enumerate(self.counts):
            after = table[contexts(places, length, self.codes)[self.order - length :]]
            found = (after + self.weight * found) / (after.sum(axis=1, keepdims=True) + self.weight)
        return found

    def log_loss(self, places: np.ndarray, begin: int) -> float:
        """The mean −log p of the places from `begin` on."""
        rows = self.probabilities(places[begin - self.order :])
        return float(-np.log(rows[np.arange(len(rows)), places[begin:]]).mean())


def contexts(places: np.ndarray, length: int, codes: int) -> np.ndarray:
    """The number of the `length` codes before each place from `length` on `[n − length]`."""
    number = np.zeros(len(places) - length, np.int64)
    for back in range(length):
        number = number * codes + places[back : len(places) - length + back]
    return number


def chosen(train: Sequence[np.ndarray], validation: Sequence[tuple[np.ndarray, int]], codes: int) -> Ngrams:
    """That of all orders and weights with the least loss on `validation`: arrays, and where each begins."""
    offered = [Ngrams.of(train, order, weight, codes) for order, weight in product(ORDERS, WEIGHTS)]
    weights = [len(places) - begin for places, begin in validation]
    return min(offered, key=lambda one: np.average([one.log_loss(*part) for part in validation], weights=weights))
