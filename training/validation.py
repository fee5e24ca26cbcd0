"""How good a network is on the validation part, a hidden state carried as in serving.

Losses are in units of each series' mean absolute change of a step in the training part, so that they
can be compared between models whose features scale the series differently.
"""

import numpy as np

from forecaster.engines.carried import Engine
from forecaster.errors import ConfigError
from forecaster.networks.many_to_many import Network
from forecaster.networks.spec import NetworkSettings
from forecaster.records import Float, Int
from training.data import Split, spread
from training.examples import Examples
from training.metrics import naive_scale
from training.table import FeatureTable

MOST_ORIGINS, MOST_NUMBERS = 8_192, 4_000_000  # scored: neighbours tell much the same
LARGEST = 1e3  # weight of an origin, where its series hardly moved before
ABREAST, ROUNDS = 128, 64  # of one call: rungs of the engine's ladder
WARM = 2  # contexts before the first origin over which the hidden state fills
NOTHING = "training.validation_fraction: leaves no value to validate on: give more data"


class Origins:
    """Rows spread evenly over the validation part of all series, and the actuals that came after them.

    `begin` are the rounds of each run before that part `[runs]`, `row` the origins `[n]`.
    """

    def __init__(
        self, table: FeatureTable, settings: NetworkSettings, split: Split, most_origins: int = MOST_ORIGINS
    ) -> None:
        self._levels = np.array(settings.quantiles, np.float32)
        most = min(most_origins, max(1, MOST_NUMBERS // (settings.horizon * len(settings.quantiles))))
        begin, end = (table.data.before(time_ms) for time_ms in (split.train_end_ms, split.validation_end_ms))
        if not (end > begin).any():
            raise ConfigError(NOTHING)
        row = spread(table.data.first + begin, end - begin, most)
        self.begin, self.row = begin, row[table.seen[row] > 0]
        target = table, settings.horizon, split.validation_end_ms, settings.aggregate
        self._target, self._weight = Examples(*target).targets(self.row)
        run = table.data.run_of(self.row)
        unit = table.scale[self.row] / np.maximum(mean_changes(table, begin)[run], table.scale[self.row] / LARGEST)
        self._unit = unit[:, None]
        if not self._weight.any():
            raise ConfigError(NOTHING)

    def pinball(self, quantiles: np.ndarray) -> float:
        """The mean loss of scaled `quantiles` `[n or 1, outputs, levels]`, counted from level and profile."""
        error = self._target[..., None] - quantiles
        losses = np.maximum(self._levels * error, (self._levels - 1) * error).mean(axis=-1)
        return float((losses * self._unit * self._weight).sum() / self._weight.sum())


class Validation:
    """Pinball loss over the origins of the validation part.

    `baseline_loss` is that of the network as it is given: level and profile, with the intervals of their errors.
    """

    def __init__(
        self,
        table: FeatureTable,
        network: Network,
        split: Split,
        context_length: int,
        engine: Engine | None = None,
        most_origins: int = MOST_ORIGINS,
    ) -> None:
        self._origins = Origins(table, network.settings, split, most_origins)
        self._engine, self._table, self._row = engine or Engine(network), table, self._origins.row
        self._engine.grow(ABREAST)
        self._begin = np.maximum(self._origins.begin - WARM * context_length, 0)
        self._ahead = table.ahead(self._row, network.settings.horizon, network.settings.aggregate)
        self.baseline_loss = self.loss()

    def loss(self) -> float:
        """The mean pinball loss of the network as it is."""
        hidden = self._hidden()
        inputs = self._table.given(self._table.inputs[self._row], self._row)
        return self._origins.pinball(self._engine.head(hidden, inputs, self._ahead).fetch())

    def _hidden(self) -> np.ndarray:
        """The last layer's output at every scored row `[n, units]`."""
        data = self._table.data
        run = data.run_of(self._row)
        found = np.zeros((len(self._row), self._engine.width), np.float32)
        runs = np.unique(run)
        for low in range(0, len(runs), ABREAST):
            self._carry(runs[low : low + ABREAST], run, found)
        return found

    def _carry(self, runs: Int, of_row: Int, found: np.ndarray) -> None:
        """Fill `found` for the scored rows of `runs`, from a few contexts before the first of them on."""
        data, engine, size = self._table.data, self._engine, ROUNDS
        mine = np.flatnonzero(np.isin(of_row, runs))
        slot, origin = np.searchsorted(runs, of_row[mine]), self._row[mine]
        begin = data.first[runs] + self._begin[runs]
        last = np.zeros(len(runs), np.int64)
        np.maximum.at(last, slot, origin)
        engine.forget(np.arange(len(runs)))
        for done in range(0, int((last - begin).max()) + 1, size):
            window = begin[:, None] + done + np.arange(size)
            valid = window <= last[:, None]
            row = np.where(valid, window, 0)
            inputs = self._table.given(self._table.inputs[row], row)
            hidden = engine.advance(np.arange(len(runs)), inputs, valid)
            place = origin - begin[slot] - done
            here = (place >= 0) & (place < size)
            found[mine[here]] = hidden[slot[here], place[here]]


def mean_changes(table: FeatureTable, rounds: Int) -> Float:
    """Mean absolute change of a step over the first `rounds` of each run `[runs]`: over all runs where one has none."""
    found = []
    for first, count in zip(table.data.first.tolist(), rounds.tolist(), strict=True):
        found.append(naive_scale(table.settings.transformed(table.data.value[first : first + count]), 1))
    changes = np.array(found)
    return np.where(np.isfinite(changes), changes, np.nanmedian(changes) if np.isfinite(changes).any() else np.inf)
