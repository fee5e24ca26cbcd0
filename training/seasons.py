"""Which seasons a stream may have, where the configuration names none: told by the validation part.

Each candidate's features are made for all of the data, a linear forecast from them is fitted to the
training part at a few horizon steps, and those that forecast the validation part nearly best are worth
training a network. That is the linear part of the network, fitted in a second.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from forecaster.calendar.clock import Clock
from forecaster.config import Settings
from forecaster.config.durations import UNIT_MS
from forecaster.features.settings import FeatureSettings
from forecaster.records import Float, Int
from training.data import Scratch, Sequences, Split, spread
from training.examples import Examples
from training.table import FeatureTable, feature_table
from training.tally import few_steps
from training.validation import mean_changes

CYCLES = (UNIT_MS["h"], UNIT_MS["d"], UNIT_MS["w"])
PHASES = (4, 10_080)  # fewer tell no shape; more cost memory with every series
CYCLES_SEEN = 4  # in the training part, of a season that can be learnt
ROWS, RIDGE = 16_384, 1e-3
ROUNDS, NEAR = 6, 0.05  # of reweighting, and the error, in median targets, below which a row weighs no more
MOST, CLOSE = 3, 1.05  # seasons that are worth training a network, and how near to the best they are


def candidates(step_ms: int | None, train_ms: int) -> list[tuple[int, ...]]:
    """Seasons, in steps, to choose from: none, and the hour, day and week that the data shows often enough."""
    if step_ms is None:
        return [()]
    cycles = [n // step_ms for n in CYCLES if n % step_ms == 0 and n * CYCLES_SEEN <= train_ms]
    usable = [steps for steps in cycles if PHASES[0] <= steps <= PHASES[1]]
    return [(), *((steps,) for steps in usable), *pairwise(usable)]


def features_of(cycles: tuple[int, ...], settings: Settings) -> FeatureSettings:
    """The features for seasons of so many steps of the stream's wall clock."""
    clock, model = Clock.of(settings.stream, cycles), settings.model
    derived = FeatureSettings.derive(clock.seasons if clock else cycles, model.context_length, model.transform)
    return derived.model_copy(update={"clock": clock})


def likely_seasons(data: Sequences, split: Split, settings: Settings, scratch: Scratch) -> list[tuple[int, ...]]:
    """The few of `candidates` that a linear forecast finds best, in the order of `candidates`."""
    offered = candidates(settings.stream.step, split.train_end_ms - int(data.origin_ms[data.first].min()))
    if len(offered) == 1:
        return offered
    errors = []
    for seasons in offered:
        table = feature_table(data, features_of(seasons, settings), scratch)
        errors.append(_validation_error(table, split, settings.model.horizon))
    close = [n for n in np.argsort(errors, kind="stable").tolist() if errors[n] <= CLOSE * min(errors)]
    return [offered[n] for n in sorted(close[:MOST])] or offered[:1]


def _validation_error(table: FeatureTable, split: Split, horizon: int) -> float:
    """Mean absolute error of the linear forecasts, each series in units of its mean absolute change."""
    fitted, judged = (Examples(table, horizon, end) for end in (split.train_end_ms, split.validation_end_ms))
    train = spread(table.data.first, fitted.rounds, ROWS)
    begin, end = fitted.rounds, judged.rounds
    if not (end > begin).any():
        return np.inf
    validation = spread(table.data.first + begin, end - begin, ROWS)
    unit = mean_changes(table, begin)
    errors = [
        np.abs(error) * table.scale[rows] / unit[table.data.run_of(rows)]
        for error, rows in _linear_errors(fitted, judged, train, validation)
    ]
    together = np.concatenate(errors) if errors else np.zeros(0)
    together = together[np.isfinite(together)]
    return float(together.mean()) if len(together) else np.inf


def _linear_errors(fitted: Examples, judged: Examples, train: Int, validation: Int) -> Iterator[tuple[Float, Int]]:
    """Scaled errors over the validation rows that have a target, by horizon step, and these rows."""
    for step in few_steps(fitted.horizon):
        x, y, w = _linear_data(fitted, train, step)
        if w.sum() <= x.shape[1]:
            continue
        weights = _least_deviations(x[w > 0], y[w > 0])
        inputs, target, weight = _linear_data(judged, validation, step)
        yield (target - inputs @ weights)[weight > 0], validation[weight > 0]


def _least_deviations(x: Float, y: Float) -> Float:
    """Weights `[inputs]` with nearly the least absolute error, by reweighted least squares (Schlossmacher 1973).

    The first rows of a run, whose scale has seen next to nothing, have targets of any size: least squares
    would follow them alone.
    """
    unit = max(float(np.median(np.abs(y))), 1e-9)
    weights = np.zeros(x.shape[1])
    for _ in range(ROUNDS):
        error = np.abs(y - x @ weights) / unit
        weight = 1 / np.maximum(error, NEAR)
        weighted = x * weight[:, None]
        ridge = RIDGE * float(weight.sum()) * np.eye(x.shape[1])
        weights = np.asarray(np.linalg.solve(weighted.T @ x + ridge, weighted.T @ y), np.float64)
    return weights


def _linear_data(examples: Examples, rows: Int, step: int) -> tuple[Float, Float, Float]:
    """Inputs with a constant, target and weight of horizon `step` at `rows`."""
    target, weight = examples.targets(rows)
    recents = examples.table.recents(rows, step)[:, -1]
    inputs = np.concatenate([examples.table.inputs[rows], recents, np.ones((len(rows), 1))], axis=1)
    return inputs.astype(np.float64), target[:, step - 1].astype(np.float64), weight[:, step - 1]
