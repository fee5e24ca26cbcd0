"""Covariates in JSON ticks: a number for a past one, for a known one a list that begins with the tick's own step."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from forecaster.config.stream import InputSettings
from forecaster.records import Bool, Float

Getter = Callable[[Any], Any]


class CovariateFields:
    """The fields of covariates, and rows of them made of decoded ticks; `horizon` steps ahead are known."""

    def __init__(self, settings: InputSettings, horizon: int | None) -> None:
        self._past, self._known = settings.past_covariates, settings.known_covariates
        if self._known and horizon is None:
            raise ValueError("covariates are known for a horizon: which one?")
        self._steps = 1 + (horizon or 0)

    @property
    def paths(self) -> dict[str, tuple[Any, dict[str, None]]]:
        """The type of each field, None where it is missing."""
        missing: dict[str, None] = {"default": None}
        past = dict.fromkeys(self._past, (float | None, missing))
        return past | dict.fromkeys(self._known, (list[float | None] | None, missing))

    def rows(self, getters: Sequence[Getter], ticks: Sequence[Any], problem: dict[int, tuple[str, str]]) -> Float:
        """Rows `[n, width]` of `ticks`, each field by its getter; what is wrong goes to `problem` by tick."""
        own, ahead = [], []
        for name, get in zip(self._past, getters, strict=False):
            column = np.array(list(map(get, ticks)), np.float64)
            own.append(self._checked(name, column[:, None], problem))
        for name, get in zip(self._known, getters[len(self._past) :], strict=True):
            steps = self._checked(name, self._lists(name, list(map(get, ticks)), problem), problem)
            own.append(steps[:, :1])
            ahead.append(steps[:, 1:])
        return np.concatenate([np.zeros((len(ticks), 0)), *own, *ahead], axis=1)

    def _lists(self, name: str, lists: list[list[float | None] | None], problem: dict[int, tuple[str, str]]) -> Float:
        """`[n, 1 + horizon]`: a list that is missing, or of another length, is all missing."""
        nothing: list[float | None] = [None] * self._steps
        for n in [n for n, steps in enumerate(lists) if steps is None or len(steps) != self._steps]:
            if (steps := lists[n]) is not None:
                wanted = f"not {self._steps}: the tick's own step and {self._steps - 1} ahead"
                problem.setdefault(n, ("bad_covariate", f"{name!r} has {len(steps)} numbers, {wanted}"))
            lists[n] = nothing
        return np.array(lists, np.float64).reshape(len(lists), self._steps)

    def _checked(self, name: str, column: Float, problem: dict[int, tuple[str, str]]) -> Float:
        for n, place in np.argwhere(overflows_float32(column)).tolist():
            problem.setdefault(n, ("not_finite", f"{name!r}: {column[n, place]:g} does not fit a float32"))
        return column


def overflows_float32(value: Float) -> Bool:
    """Where `value` is a number that no float32 is near to."""
    with np.errstate(over="ignore"):
        return ~np.isnan(value) & ~np.isfinite(value.astype(np.float32))
