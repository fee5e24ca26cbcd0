"""Seasonal profiles along the rounds of a tile: for each phase of a season a recurrence over its visits."""

import numpy as np

from forecaster.calendar.seasons import Season
from forecaster.features.recurrences import exponential_mean, linear_recurrence, one_round_earlier
from forecaster.records import Bool, Float, Int


class ProfilePath:
    """One season's profile along the rounds of a tile: a recurrence per phase, over its visits."""

    def __init__(
        self, profile: np.ndarray, recent: np.ndarray, visits: np.ndarray, slot: Int, index: Int, season: Season
    ) -> None:
        self.profile, self.recent, self.visits = profile, recent, visits
        self.slot, self.index, self.season = slot, index, season
        self.after = self._along = np.zeros((0, 0))
        self.recent_after = self._recent_along = np.zeros((0, 0, 0))
        self._place: Int | None = None

    def follow(self, target: Float, valid: Bool, profile_rate: float, recent_rates: tuple[float, ...]) -> Float:
        """Update by `target` `[series, rounds]`; the profile before each visit, of the same shape."""
        self._place = self.season.visits(self.index, target.shape[1])
        target, valid = self._spread(target), self._spread(valid)
        series, rounds = target.shape
        length = self.season.length
        width = min(rounds, length)
        cycles = -(-rounds // width)
        phase = (self.season.phase(self.index)[:, None] + np.arange(width)) % length

        def by_phase(array: np.ndarray) -> np.ndarray:
            padded = np.pad(array, ((0, 0), (0, cycles * width - rounds)))
            return padded.reshape(series, cycles, width).swapaxes(1, 2)

        def by_round(array: np.ndarray) -> np.ndarray:
            return array.swapaxes(-1, -2).reshape(*array.shape[:-2], cycles * width)[..., :rounds]

        valid_visit, target_visit = by_phase(valid), by_phase(target)
        place = self.slot[:, None], phase
        visits = self.visits[place][..., None] + np.cumsum(valid_visit, axis=2)

        def rate(floor: float) -> Float:
            found: Float = np.where(valid_visit, np.maximum(floor, 1.0 / np.maximum(visits, 1)), 0.0)
            return found

        slow, start = rate(profile_rate), self.profile[place]
        path = exponential_mean(slow, target_visit, start)
        before = one_round_earlier(start, path)
        # r + fast (t − r) less p + slow (t − p) is a recurrence of the difference r − p alone
        fast = np.array([rate(floor) for floor in recent_rates]).reshape(len(recent_rates), *slow.shape)
        differs = np.moveaxis(self.recent[self.slot[:, None], :, phase], -1, 0)
        recent = linear_recurrence(1.0 - fast, (fast - slow) * (target_visit - before), differs.astype(np.float64))
        self._last = phase, path[..., -1], recent[..., -1], np.minimum(visits[..., -1], np.iinfo(self.visits.dtype).max)
        self._along, self._recent_along = by_round(path), by_round(recent)
        self.after, self.recent_after = self._visited(self._along), self._visited(self._recent_along)
        return self._visited(by_round(before))

    def _spread(self, array: np.ndarray) -> np.ndarray:
        """`array` `[series, rounds]` by place in the order of phases: 0 at those that are skipped."""
        if self._place is None:
            return array
        spread = np.zeros((len(array), int(self._place[:, -1].max()) + 1), array.dtype)
        np.put_along_axis(spread, self._place, array, axis=1)
        return spread

    def _visited(self, array: np.ndarray) -> np.ndarray:
        """The inverse of `_spread`, of arrays `[…, series, places]`."""
        return array if self._place is None else array[..., np.arange(len(self._place))[:, None], self._place]

    def ahead(self, row: Int, column: Int, steps: Int) -> Float:
        """The profile `steps` `[horizon]` after (row, column): the latest visit of each step's phase."""
        latest, phase = self._latest(row, column, steps)
        stored = self.profile[self.slot[row][:, None], phase]
        ahead: Float = np.where(latest >= 0, self._along[row[:, None], np.maximum(latest, 0)], stored)
        return ahead

    def recent_ahead(self, row: Int, column: Int, steps: Int) -> Float:
        """The same of what the recent profiles differ by, `[n, horizon, rates]`."""
        latest, phase = self._latest(row, column, steps)
        stored = self.recent[self.slot[row][:, None], :, phase]
        visited = np.moveaxis(self._recent_along[:, row[:, None], np.maximum(latest, 0)], 0, -1)
        ahead: Float = np.where((latest >= 0)[..., None], visited, stored)
        return ahead

    def _latest(self, row: Int, column: Int, steps: Int) -> tuple[Int, Int]:
        """Place at which each step's phase was due last, below 0 where it was before the tile, and the phase."""
        index = self.index[row] + column
        behind = self.season.behind(index, steps)
        place = column if self._place is None else self._place[row, column]
        return place[:, None] - behind, (self.season.phase(index)[:, None] - behind) % self.season.length

    def commit(self) -> None:
        phase, profile, recent, visits = self._last
        self.profile[self.slot[:, None], phase] = profile
        self.recent[self.slot[:, None], :, phase] = np.moveaxis(recent, 0, -1)
        self.visits[self.slot[:, None], phase] = visits
