"""What each tick of a recording would have told of the steps ahead: the known covariates that its series then had."""

import numpy as np

from forecaster.config import Settings
from forecaster.grid import Grid
from forecaster.recording.ticks import Recording
from forecaster.records import Float, Int

NO_STEP = np.iinfo(np.int64).max


class KnownAhead:
    """Rows of covariates for the ticks of `recording`, NaN ahead of where it has none.

    Of several ticks on one step the first counts, as in event time.
    """

    def __init__(self, recording: Recording, settings: Settings) -> None:
        nothing = np.full((len(recording), len(settings.input.covariates)), np.nan)
        self._own = nothing if recording.covariates is None else recording.covariates
        self._past = len(settings.input.past_covariates)
        self._horizon = settings.model.horizon if settings.input.known_covariates else 0
        self._key = _keys(recording, Grid.of(settings.stream), self._horizon)
        known, first = np.unique(self._key, return_index=True)
        self._known, self._first = np.append(known, NO_STEP), np.append(first, 0)

    def rows(self, at: Int) -> Float:
        """Those of the ticks at places `at` `[n]` of the recording: `[n, width]`."""
        wanted = self._key[at][:, None] + np.arange(1, self._horizon + 1)
        place = np.searchsorted(self._known, wanted)
        ahead = self._own[:, self._past :][self._first[place]]
        ahead = np.where((self._known[place] == wanted)[..., None], ahead, np.nan)
        return np.concatenate([self._own[at], ahead.swapaxes(1, 2).reshape(len(at), -1)], axis=1)

    def fields(self, low: int, high: int) -> list[list[float | list[float]]]:
        """Those of ticks `low` to `high` as messages have them: numbers, then lists that begin with the own step."""
        rows, past = self.rows(np.arange(low, high)), self._past
        known = self._own.shape[1] - past
        own, ahead = rows[:, : past + known], rows[:, past + known :].reshape(high - low, known, self._horizon)
        lists = np.concatenate([own[:, past:, None], ahead], axis=2).tolist()
        return [numbers + of_known for numbers, of_known in zip(own[:, :past].tolist(), lists, strict=True)]


def _keys(recording: Recording, grid: Grid, horizon: int) -> Int:
    """A number for each tick's series and step, with room for a horizon between two series."""
    if not len(recording):
        return np.zeros(0, np.int64)
    index = grid.index(grid.own_ms(recording.time_ms))
    if grid.step_ms is None:  # each event is a step
        order = np.lexsort((index, recording.series))
        index = np.empty(len(order), np.int64)
        index[order] = np.arange(len(order))
    index = index - index.min()
    keys: Int = recording.series * (index.max() + 1 + horizon) + index
    asked_for: Int = np.where(grid.is_open(recording.time_ms), keys, -1)  # one in closed hours is never
    return asked_for
