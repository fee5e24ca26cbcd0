"""What the covariates of a training are, and how they lie over its training part."""

import numpy as np

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.features.covariates import CovariateSettings
from forecaster.records import Float
from training.data import COUNTED, Sequences, Split, spread


def measured_covariates(data: Sequences, split: Split, settings: Settings) -> CovariateSettings:
    """Those of `settings` with mean and deviation over the training part; more than `COUNTED` rows are sampled.

    Raises `ConfigError` for one that nothing can be learnt from there.
    """
    past, known = settings.input.past_covariates, settings.input.known_covariates
    if not settings.input.covariates:
        return CovariateSettings()
    rows = data.covariates[spread(data.first, data.before(split.train_end_ms), COUNTED)]
    setting = dict.fromkeys(past, "past_covariates") | dict.fromkeys(known, "known_covariates")
    for (name, field), column in zip(setting.items(), rows.T, strict=True):
        if fault := _fault(column[~np.isnan(column)]):
            raise ConfigError(f"input.{field}: {name!r} is {fault} in the whole training part: leave it out")
    return CovariateSettings(
        past=past,
        known=known,
        horizon=settings.model.horizon if known else 0,
        mean=tuple(np.nanmean(rows, axis=0).tolist()),
        deviation=tuple(np.nanstd(rows, axis=0).tolist()),
    )


def _fault(values: Float) -> str | None:
    if not len(values):
        return "missing"
    return f"{values[0]:g}" if np.ptp(values) == 0 else None
