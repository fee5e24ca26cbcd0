"""Fit the network: pinball loss on scaled residuals, AdamW on a one-cycle schedule, early stopping."""

import platform
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.bundle import named_weights
from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.features import FeatureSettings
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.network import Network
from forecaster.recording import Fingerprint, Recording
from training.average import RunningAverage
from training.bad_series import without_bad
from training.data import Scratch, Sequences, Split, sequences, split_by_time
from training.examples import BatchShape, Examples
from training.left_out import LeftOut
from training.seasons import choose_seasons
from training.start import start_from_residuals
from training.table import feature_table
from training.validation import Validation

SCORED, SCORED_STEPS = (4, 24), 6_144  # rounds of a training window that count: fewer of a longer horizon
COLD = 0.1  # of the training windows begin from an empty state
UNSCORED = 0.4  # of a training window: the rounds over which the empty hidden state fills


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known after each epoch: mean losses in units of the series' scale."""

    epoch: int
    epochs: int
    training_loss: float
    validation_loss: float
    baseline_loss: float
    best: bool


class PinballLoss(keras.losses.Loss):  # type: ignore[misc]  # keras ships no types
    """Quantile loss (Koenker and Bassett 1978) of `[…, horizon]` against `[…, horizon, quantiles]`.

    `caution` `[horizon]` charges the middle quantile for what it departs from the baseline: it departs
    only where the sign of the residual is surer than that (a soft threshold, Donoho and Johnstone 1994).
    """

    def __init__(self, quantiles: tuple[float, ...], caution: np.ndarray) -> None:
        super().__init__(name="pinball")
        self._levels = np.array(quantiles, np.float32)
        self._middle, self._caution = quantiles.index(0.5), (caution / 2 / len(quantiles)).astype(np.float32)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = ops.expand_dims(y_true, -1) - y_pred
        levels = ops.convert_to_tensor(self._levels)
        loss = ops.mean(ops.maximum(levels * error, (levels - 1.0) * error), axis=-1)
        return loss + ops.convert_to_tensor(self._caution) * ops.abs(y_pred[..., self._middle])


def caution(horizon: int, rounds: int, standard_errors: float) -> np.ndarray:
    """How sure a sign must be beyond even odds, `[horizon]`: that many of its standard errors, a half at most.

    `rounds` observations hold rounds / h forecasts of h steps that do not overlap, and the mean of so
    many signs has a standard error of √(h / rounds). What fewer cannot tell from chance is not learnt.
    """
    return np.minimum(standard_errors * np.sqrt(np.arange(1, horizon + 1) / rounds), 0.5)


class ScoredNetwork(keras.Model):  # type: ignore[misc]
    """The network as it is fitted: whole windows in, forecasts at their scored rounds out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def call(self, data: tuple[Any, Any, Any], training: bool | None = None) -> Any:  # noqa: FBT001  # Keras' signature
        """Quantiles `[windows, scored, horizon, quantiles]` at `scored` rounds of `inputs`."""
        inputs, scored, recent = data
        at = ops.expand_dims(scored, -1)
        hidden = self._network.hidden(inputs, training=training)
        return self._network.head(ops.take_along_axis(hidden, at, 1), ops.take_along_axis(inputs, at, 1), recent)


def train(
    parts: Iterable[Recording],
    settings: Settings,
    report: Callable[[Progress], None],
    say: Callable[[str], None] = lambda _: None,
    scratch_folder: Path | None = None,
    source: str = "the input",
    *,
    skip_bad_series: bool = False,
) -> tuple[Manifest, Network]:
    """Fit a network to the training part, keep the weights that are best on the validation part.

    `report` gets every epoch, `say` a line for what was left out. `source` says where `parts` come from.
    Raises `ConfigError` where the data is too short for the configured window and split.
    """
    model, training = settings.model, settings.training
    scratch, left_out, fingerprint = Scratch(scratch_folder), LeftOut(), Fingerprint()
    data = sequences(fingerprint.passing(parts), settings, scratch, left_out)
    for line in left_out.lines():
        say(line)
    data, skipped = without_bad(data, model.horizon, source, skip=skip_bad_series)
    for name, fault in skipped.items():
        say(f"series {name!r} left out: {fault}")
    split = split_by_time(data, training.train_fraction, training.validation_fraction)
    features = _feature_settings(data, settings, split, scratch)
    table = feature_table(data, features, scratch)
    examples = Examples(table, model.horizon, split.train_end_ms)
    _check_length(examples, settings)
    network = Network(
        NetworkSettings(
            inputs=len(features.input_names),
            recents=features.recents,
            units=model.units,
            horizon=model.horizon,
            quantiles=model.quantiles,
            dropout=model.dropout,
        ),
        training.seed,
    )
    start_from_residuals(network, examples)
    validate = Validation(table, network, split, model.context_length)
    best = _fit(network, examples, validate, settings, report)
    manifest = Manifest(
        name=model.name,
        version="",
        step_ms=settings.stream.step,
        bar=settings.stream.bar,
        context_length=model.context_length,
        features=features,
        network=network.settings,
        training={
            "data_sha256": fingerprint.hexdigest(),
            "ticks": fingerprint.ticks,
            "series": fingerprint.series,
            "skipped": skipped,
            "train_end_ms": split.train_end_ms,
            "validation_end_ms": split.validation_end_ms,
            "validation_loss": best.validation_loss,
            "baseline_validation_loss": best.baseline_loss,
            "epoch": best.epoch,
            "settings": training.model_dump(mode="json"),
            "versions": {"keras": keras.__version__, "numpy": np.__version__, "python": platform.python_version()},
        },
    )
    return manifest, network


def _feature_settings(data: Sequences, settings: Settings, split: Split, scratch: Scratch) -> FeatureSettings:
    """Defaults for the configured seasons, and how large a series' scale is beside its values."""
    model, step_ms = settings.model, settings.stream.step
    if model.seasons and step_ms is None:
        raise ConfigError('model.seasons: a stream with step = "tick" has no seasons')
    if step_ms is not None and any(season % step_ms or season < 2 * step_ms for season in model.seasons or ()):
        raise ConfigError("model.seasons: every season must be a multiple of stream.step, of two steps at least")
    if model.seasons is None:
        steps = choose_seasons(data, split, settings, scratch)
    else:
        steps = tuple(season // (step_ms or 1) for season in model.seasons)
    features = FeatureSettings.derive(steps, model.context_length, model.transform)
    table = feature_table(data, features, scratch)
    last = data.first + np.maximum(data.before(split.train_end_ms) - 1, 0)
    ratio = table.scale[last] / np.maximum(np.abs(table.level[last]), 1e-12)
    return features.model_copy(update={"first_scale": float(np.clip(np.median(ratio), 1e-6, 1.0))})


def _check_length(examples: Examples, settings: Settings) -> None:
    longest, needed = int(examples.rounds.max()), 2 * settings.model.horizon
    if longest < needed:
        raise ConfigError(
            f"the longest series has {longest} observations in the training part, "
            f"a horizon of {settings.model.horizon} needs {needed}"
        )


def _fit(
    network: Network,
    examples: Examples,
    validate: Validation,
    settings: Settings,
    report: Callable[[Progress], None],
) -> Progress:
    training, horizon = settings.training, network.settings.horizon
    steps = training.epochs * training.steps_per_epoch
    scored = ScoredNetwork(network)
    scored.compile(
        optimizer=keras.optimizers.AdamW(_one_cycle(training.learning_rate, steps), weight_decay=0.01, clipnorm=1.0),
        loss=PinballLoss(network.settings.quantiles, caution(horizon, int(examples.rounds.max()), training.caution)),
        jit_compile=False,  # XLA takes five times as long for the gradient on a CPU, and loses cuDNN on a GPU
    )
    length = settings.model.context_length
    count = int(np.clip(SCORED_STEPS // horizon, *SCORED))
    cold = round(COLD * training.batch_size)
    shape = BatchShape(training.batch_size, length, round(UNSCORED * length), count, cold)
    batches = examples.batches(shape, np.random.default_rng(training.seed))
    best: Progress | None = None
    kept: dict[str, np.ndarray] = {}
    average = RunningAverage(network, decay=1 - 1 / (2 * training.steps_per_epoch))
    for epoch in range(1, training.epochs + 1):
        scored.reset_metrics()
        for batch in islice(batches, training.steps_per_epoch):
            mean_loss = scored.train_on_batch((batch.inputs, batch.scored, batch.recent), batch.target, batch.weight)
            average.update()
        with average.in_place():
            loss = validate.loss()
        better = best is None or loss < best.validation_loss
        now = Progress(epoch, training.epochs, float(mean_loss), loss, validate.baseline_loss, better)
        report(now)
        if better:
            best, kept = now, average.weights()
        elif best is not None and epoch - best.epoch >= training.patience:
            break
    if best is None or not np.isfinite(best.validation_loss):
        raise ConfigError("training diverged: lower training.learning_rate")
    for name, weight in named_weights(network).items():
        weight.assign(kept[name])
    return best


def _one_cycle(peak: float, steps: int) -> Any:
    """Up over the first third, down along a cosine (after Smith and Topin 2018)."""
    warmup = max(1, steps // 3)
    return keras.optimizers.schedules.CosineDecay(
        peak / 25, max(1, steps - warmup), alpha=1e-3, warmup_target=peak, warmup_steps=warmup
    )
