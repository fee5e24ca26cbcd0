"""What a network for paths is fitted to: the bins of the steps ahead, each after the true ones before it."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from forecaster.engines.paths import PathEngine
from forecaster.engines.sampling import uniforms
from forecaster.networks.paths import PathNetwork
from training.data import Split, spread
from training.examples import BatchShape, Examples
from training.table import FeatureTable
from training.validation import Validation

ORIGINS, BINS = 8_192, 48
TAILS = (0.0005, 0.002, 0.006)  # beyond the first even share of the bins there are smaller ones
JUDGED = 1_024  # origins of the validation part: each is a path many times over


class PathBatch(NamedTuple):
    """`inputs` `[windows, length, …]`, the `scored` rounds `[windows, scored]`, and what belongs to these.

    `recent` is `[windows, scored, horizon, recents]`; `places`, `target` (the same) and `weight` are
    `[windows, scored, horizon]`.
    """

    inputs: np.ndarray
    scored: np.ndarray
    recent: np.ndarray
    places: np.ndarray
    target: np.ndarray
    weight: np.ndarray


def path_edges(examples: Examples) -> tuple[float, ...]:
    """Edges of bins that hold even shares of the scaled targets of the training part, but for thinner ones outside."""
    target, weight = examples.targets(spread(examples.table.data.first, examples.rounds, ORIGINS))
    even = np.linspace(0, 1, BINS + 1)
    levels = np.sort(np.concatenate([even, TAILS, 1 - np.array(TAILS)]))
    edges = np.unique(np.quantile(target[weight > 0].astype(np.float64), levels))
    return tuple(np.unique(edges.astype(np.float32)).astype(float).tolist())


def places_of(target: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The bin that each scaled `target` lies in; what lies outside is in the last one on its side."""
    inside = np.searchsorted(edges[1:-1], target, "right")
    return inside.astype(np.int32)


def path_batches(
    examples: Examples, edges: np.ndarray, shape: BatchShape, random: np.random.Generator
) -> Iterator[PathBatch]:
    """The windows of `examples`, as bins."""
    for batch in examples.batches(shape, random):
        places = places_of(batch.target, edges)
        yield PathBatch(batch.inputs, batch.scored, batch.ahead, places, places, batch.weight)


class PathValidation(Validation):
    """Pinball loss of the quantiles of sampled paths, in the units of every other network.

    `baseline_loss` is that of the network as it is given: each step's bin drawn by its share of the training part.
    """

    def __init__(self, table: FeatureTable, network: PathNetwork, split: Split, context_length: int) -> None:
        self._levels = network.settings.quantiles
        self._sampling, self._horizon = network.sampling, network.settings.horizon
        self._paths = PathEngine(network)
        super().__init__(table, network, split, context_length, self._paths, JUDGED)

    def loss(self) -> float:
        """The mean pinball loss of the network as it is, by the same random numbers each time."""
        rows = self._row
        numbers = uniforms(rows.astype(np.uint64), self._horizon, self._sampling.paths)
        paths = self._paths.answers(self._hidden(), self._table.inputs[rows], self._ahead, numbers).fetch()
        return self._origins.pinball(np.moveaxis(np.quantile(paths, self._levels, axis=-1), 0, -1))


def start_from_shares(network: PathNetwork, examples: Examples) -> None:
    """Draw each bin by its share of the training part, whatever the state: what is learnt is what differs from it."""
    target, weight = examples.targets(spread(examples.table.data.first, examples.rounds, ORIGINS))
    counts = np.bincount(places_of(target[weight > 0], network.edges), minlength=network.outputs) + 1.0
    network.output_layer.kernel.assign(np.zeros(network.output_layer.kernel.shape, np.float32))
    network.output_layer.bias.assign(np.log(counts / counts.sum()).astype(np.float32))
