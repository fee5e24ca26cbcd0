"""Where training starts: at the baseline, with the intervals that its own errors have had."""

import numpy as np

from forecaster.encoder_decoder import EncoderDecoder
from forecaster.network import Network
from forecaster.records import Float
from training.data import spread
from training.examples import Examples

ORIGINS = 4_096
NARROWEST = 1e-2  # between two quantiles, in units of the scale


def start_from_residuals(network: Network | EncoderDecoder, examples: Examples) -> None:
    """Forecast the baseline, with the quantiles of its errors over the training part, at every input.

    What is then learnt is what the inputs tell. From a random start the first third of the training
    goes into the width of the intervals, while the point already fits itself to noise.
    """
    levels = network.settings.quantiles
    bias = network.skip if isinstance(network, EncoderDecoder) else network.output_layer
    apart, middle = _apart(examples, levels), levels.index(0.5)
    wanted = np.insert(np.log(np.expm1(apart)), middle, 0.0, axis=-1)  # softplus gives `apart` back
    network.output_layer.kernel.assign(np.zeros(network.output_layer.kernel.shape, np.float32))
    bias.bias.assign(wanted.reshape(bias.bias.shape).astype(np.float32))


def baseline_quantiles(examples: Examples, levels: tuple[float, ...]) -> Float:
    """What such a start forecasts: scaled quantiles `[horizon, levels]` around the baseline."""
    below = np.cumsum(np.insert(_apart(examples, levels), 0, 0.0, axis=-1), axis=-1)
    return below - below[:, [levels.index(0.5)]]


def _apart(examples: Examples, levels: tuple[float, ...]) -> Float:
    """How far the quantiles of the baseline's scaled errors lie from their neighbours `[horizon, levels - 1]`."""
    errors = _errors(examples)
    wanted = np.stack([np.nanquantile(errors, level, axis=0) for level in levels], axis=-1)
    apart: Float = np.maximum(np.diff(wanted, axis=-1), NARROWEST)
    return apart


def _errors(examples: Examples) -> np.ndarray:
    """Scaled errors of the baseline `[n, horizon]` at origins spread over the training part, NaN where not known.

    A step that no origin has an actual for has the errors of the last step that has one.
    """
    target, weight = examples.targets(spread(examples.table.data.first, examples.rounds, ORIGINS))
    errors = np.where(weight > 0, target, np.nan)
    known = weight.max(axis=0) > 0
    latest = np.maximum.accumulate(np.where(known, np.arange(len(known)), 0))
    return errors[:, latest]
