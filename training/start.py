"""Where training starts: at the baseline, with the intervals that its own errors have had."""

import numpy as np

from forecaster.errors import ConfigError
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.networks.many_to_many import Network
from forecaster.records import Float
from training.data import spread
from training.examples import Examples

ORIGINS = 4_096
NARROWEST = 1e-2  # between two quantiles, in units of the scale


def start_from_residuals(network: Network | EncoderDecoder, examples: Examples) -> Float:
    """Forecast the baseline, with the quantiles of its errors over the training part, at every input.

    Returns the middle quantile `[outputs]`: the baseline's 0, for an aggregate the median of the errors, since the
    maximum of what is expected lies below the maximum to expect. What is then learnt is what the inputs tell. From a
    random start the first third of the training goes into the width of the intervals, while the point already fits
    itself to noise.
    """
    levels = network.settings.quantiles
    skipping = network.skip if isinstance(network, EncoderDecoder) else network.output_layer
    wanted, middle = _wanted(examples, levels), levels.index(0.5)
    centre = np.zeros(len(wanted)) if network.settings.aggregate is None else wanted[:, middle]
    bias = np.insert(_inverse_softplus(_apart(wanted)), middle, centre, axis=-1)
    network.output_layer.kernel.assign(np.zeros(network.output_layer.kernel.shape, np.float32))
    skipping.bias.assign(bias.ravel().astype(np.float32))
    return centre


def baseline_quantiles(examples: Examples, levels: tuple[float, ...]) -> Float:
    """What such a start forecasts: scaled quantiles `[horizon, levels]` around the baseline."""
    below = np.cumsum(np.insert(_apart(_wanted(examples, levels)), 0, 0.0, axis=-1), axis=-1)
    return below - below[:, [levels.index(0.5)]]


def _wanted(examples: Examples, levels: tuple[float, ...]) -> Float:
    """The quantiles of the baseline's scaled errors `[outputs, levels]`."""
    errors = _errors(examples)
    return np.stack([np.nanquantile(errors, level, axis=0) for level in levels], axis=-1)


def _apart(wanted: Float) -> Float:
    """How far quantiles lie from their neighbours `[outputs, levels - 1]`."""
    apart: Float = np.maximum(np.diff(wanted, axis=-1), NARROWEST)
    return apart


def _inverse_softplus(apart: Float) -> Float:
    """What softplus makes `apart` of, without the exponential of a spread of hundreds of scales."""
    return apart + np.log(-np.expm1(-apart))


def _errors(examples: Examples) -> np.ndarray:
    """Scaled errors of the baseline `[n, outputs]` at origins spread over the training part, NaN where not known.

    A step that no origin has an actual for has the errors of the last step that has one. Raises `ConfigError` where
    none has one.
    """
    target, weight = examples.targets(spread(examples.table.data.first, examples.rounds, ORIGINS))
    errors = np.where(weight > 0, target, np.nan)
    known = weight.max(axis=0) > 0
    if not known.any():
        setting = "horizon" if examples.aggregate is None else "aggregate"
        raise ConfigError(f"model.{setting}: so much is missing that it is known of no origin of the training part")
    latest = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))
    return errors[:, latest]
