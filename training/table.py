"""The features of every row, from an empty state at each run's begin, as the daemon would have had them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from forecaster.calendar.seasons import Season
from forecaster.channels import with_channel
from forecaster.config import Aggregate
from forecaster.features.running import CLIP, Features, FeatureStep
from forecaster.features.settings import LAST, FeatureSettings
from forecaster.records import Float, Int
from training.data import Scratch, Sequences
from training.visits import Visits, visits_of

RUNS, CELLS = 1_024, 1 << 16  # of one tile


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """Columns beside the rows of `data`: `inputs` `[rows, inputs]`, first level, scale, values seen so far.

    `profile` `[seasons, rows]` and `recent` `[seasons, rates, rows]` are those of each row's phase. `last` is
    the last known value `[rows]`, transformed, or `[0]` where no level is over one step. `seasons` have `visits`
    beside them where they are not as regular as the rows.
    """

    data: Sequences
    settings: FeatureSettings
    inputs: np.ndarray
    level: Float
    scale: Float
    seen: Int
    profile: Float
    recent: np.ndarray
    last: Float
    seasons: list[Season]
    visits: list[Visits | None]

    def given(self, inputs: np.ndarray, row: Int) -> np.ndarray:
        """`inputs` `[…, inputs]` of rows `row` `[…]` as a carried network takes them: with the channel, if any."""
        return with_channel(inputs, self.data.channel[self.data.run_of(row)]) if self.data.channels else inputs

    def baseline(self, row: Int, horizon: int, aggregate: Aggregate | None = None) -> Float:
        """Level plus profiles of the next steps, or their aggregate, as known at each `row` `[n]`: `[n, outputs]`."""
        return self.settings.aggregated(self.expected(row, np.arange(1, horizon + 1)), aggregate)

    def expected(self, row: Int, steps: Int) -> Float:
        """Level plus profiles `steps` after each `row`, 0 and below at it and before: `[n, len(steps)]`."""
        total = np.repeat(self.level[row][:, None], len(steps), axis=1)
        for profile, (latest, visited) in zip(self.profile, self._latest(row, steps), strict=True):
            total += np.where(visited, profile[latest], 0.0)
        return total

    def recents(self, row: Int, horizon: int, aggregate: Aggregate | None = None) -> np.ndarray:
        """What recent profiles move the baseline of the next steps by: float32 `[n, outputs, recents]`, scaled."""
        rates = len(self.settings.recent_rates)
        found = np.zeros((len(row), horizon, self.settings.recents))
        for number, (latest, visited) in enumerate(self._latest(row, np.arange(1, horizon + 1))):
            columns = slice(number * rates, (number + 1) * rates)
            found[..., columns] = np.where(visited[..., None], np.moveaxis(self.recent[number][:, latest], 0, -1), 0.0)
        if aggregate is not None:
            found = self.settings.moved(self.baseline(row, horizon), found, aggregate)
        return np.clip(found / self.scale[row][:, None, None], -CLIP, CLIP).astype(np.float32)

    def ahead(self, row: Int, horizon: int, aggregate: Aggregate | None = None) -> np.ndarray:
        """What is known of the next steps: `recents`, and behind them what is seen of their covariates."""
        return self.with_known(self.recents(row, horizon, aggregate), row, horizon, aggregate)

    def with_known(self, recents: np.ndarray, row: Int, horizon: int, aggregate: Aggregate | None) -> np.ndarray:
        """`recents` of each `row`, and behind them what is seen of the covariates of the same steps."""
        given = self.settings.covariates
        if not given.known:
            return recents
        steps = self.data.covariates_ahead(row, horizon)[..., len(given.past) :]
        return np.concatenate([recents, given.seen_ahead(steps, aggregate)], axis=-1)

    def _latest(self, row: Int, steps: Int) -> Iterator[tuple[Int, np.ndarray]]:
        """By season: the row of the latest visit of each step's phase, and whether there was one in the run."""
        data = self.data
        run = data.run_of(row)
        first = data.first[run]
        index = data.index[run] + row - first
        for season, visits in zip(self.seasons, self.visits, strict=True):
            behind = season.behind(index, steps)
            latest = row[:, None] - behind if visits is None else visits.latest(row, run, behind)
            yield np.maximum(latest, first[:, None]), latest >= first[:, None]


def feature_table(data: Sequences, settings: FeatureSettings, scratch: Scratch | None = None) -> FeatureTable:
    """Send every run through the feature recurrences of serving, in tiles of bounded size."""
    make, rows, phased = (scratch or Scratch()).zeros, len(data.value), Features(settings).seasons
    seasons, rates = len(phased), len(settings.recent_rates)
    table = FeatureTable(
        data, settings,
        inputs=make((rows, len(settings.input_names)), np.float32),
        level=make((rows,), np.float64),
        scale=make((rows,), np.float64),
        seen=make((rows,), np.int64),
        profile=make((seasons, rows), np.float64),
        recent=make((seasons, rates, rows), np.float32),
        last=make((rows * (LAST in settings.level_spans),), np.float64),
        seasons=phased,
        visits=[visits_of(data, season, make) for season in phased],
    )  # fmt: skip
    longest_first = np.argsort(-data.length, kind="stable")
    for low in range(0, len(longest_first), RUNS):
        _follow(table, longest_first[low : low + RUNS])
    return table


def _follow(table: FeatureTable, runs: Int) -> None:
    """Fill the rows of `runs`, the longest first."""
    data, state = table.data, Features(table.settings)
    state.grow(len(runs))
    done = 0
    while len(runs := runs[data.length[runs] > done]):
        rounds = np.arange(max(1, CELLS // len(runs)))
        rounds = rounds[: int(data.length[runs[0]]) - done]
        inside = done + rounds < data.length[runs][:, None]
        row = np.where(inside, data.first[runs][:, None] + done + rounds, 0)
        values = np.where(inside, data.value[row], np.nan)
        step = state.advance(np.arange(len(runs)), data.index[runs] + done, values, data.covariates[row])
        _store(table, row[inside], step, inside)
        step.commit()
        done += len(rounds)


def _store(table: FeatureTable, row: Int, step: FeatureStep, inside: np.ndarray) -> None:
    table.inputs[row] = step.inputs()[inside]
    table.level[row] = step.level[0][inside]
    table.scale[row] = step.safe_scale()[inside]
    table.seen[row] = step.seen[inside]
    if len(table.last):
        table.last[row] = step.last()[inside]
    for number, path in enumerate(step.profiles):
        table.profile[number, row] = path.after[inside]
        table.recent[number][:, row] = path.recent_after[:, inside]
