"""Which models are trained, so that the validation part can choose among them."""

from dataclasses import dataclass
from itertools import product

import numpy as np

from forecaster.calendar.clock import Clock
from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.features.settings import LAST, FeatureSettings
from training.covariates import measured_covariates
from training.data import Scratch
from training.prepare import Prepared
from training.seasons import features_of, likely_seasons
from training.table import feature_table
from training.window_examples import windowed


@dataclass(frozen=True, slots=True)
class Candidate:
    """Features and the hidden layers of a network."""

    features: FeatureSettings
    units: tuple[int, ...]

    def describe(self, step_ms: int | None) -> str:
        """Seasons and layers in words."""
        seasons = " and ".join(self.features.season_names(step_ms)) or "none"
        return f"season {seasons}, hidden layers {'+'.join(map(str, self.units))}"


def candidates(prepared: Prepared, settings: Settings, scratch: Scratch) -> list[Candidate]:
    """One of the configured seasons and layers, or several where the configuration leaves the choice."""
    model, step_ms = settings.model, settings.stream.step
    if model.coded:
        last_code = FeatureSettings(level_spans=(LAST,), scale_span=LAST, clock=Clock.of(settings.stream))
        return [Candidate(last_code, units) for units in settings.training.sizes or (model.units,)]
    _check_seasons(model.seasons or (), step_ms)
    if model.seasons is None:
        offered = likely_seasons(prepared.data, prepared.split, settings, scratch)
    else:
        offered = [tuple(season // (step_ms or 1) for season in model.seasons)]
    made, covariates = [], measured_covariates(prepared.data, prepared.split, settings)
    for seasons in offered:
        features = features_of(seasons, settings).model_copy(update={"covariates": covariates})
        features = _first_scale(windowed(features) if model.network == "segment" else features, prepared, scratch)
        made.append(features)
    return [Candidate(*one) for one in product(made, settings.training.sizes or (model.units,))]


def _check_seasons(seasons: tuple[int, ...], step_ms: int | None) -> None:
    if seasons and step_ms is None:
        raise ConfigError('model.seasons: a stream with step = "tick" has no seasons')
    if step_ms is not None and any(season % step_ms or season < 2 * step_ms for season in seasons):
        raise ConfigError("model.seasons: every season must be a multiple of stream.step, of two steps at least")


def _first_scale(features: FeatureSettings, prepared: Prepared, scratch: Scratch) -> FeatureSettings:
    """`features` with how large a series' scale is beside its values, for the first value of a new one."""
    data, table = prepared.data, feature_table(prepared.data, features, scratch)
    last = data.first + np.maximum(data.before(prepared.split.train_end_ms) - 1, 0)
    level = np.maximum(np.abs(table.level[last]), 1e-12) if features.transform == "none" else 1.0
    ratio = float(np.clip(np.median(table.scale[last] / level), 1e-6, 1.0))
    return features.model_copy(update={"first_scale": ratio})
