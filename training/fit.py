"""Fit the network: pinball loss on scaled residuals, AdamW on a one-cycle schedule, early stopping."""

import platform
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import keras
import numpy as np
from keras import ops

from forecaster.bundle import named_weights
from forecaster.config import ModelSettings, Settings
from forecaster.engine import ROUNDS_LADDER, SERIES_LADDER, Engine
from forecaster.errors import ConfigError
from forecaster.features import FeatureSettings, FeatureStep
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.network import Network
from forecaster.networks import AnyNetwork, make_network
from forecaster.recording import Recording
from forecaster.segment_network import SegmentNetwork
from training.average import RunningAverage
from training.data import BatchShape, Examples, Sequences, Split, origins_between, sequences, split_by_time
from training.segment_examples import (
    WINDOWS,
    SegmentExamples,
    SegmentValidation,
    default_segment_length,
    with_last_value,
)

SCORED = 24  # rounds of a training window that count
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
    """Quantile loss (Koenker and Bassett 1978) of `[…, horizon]` against `[…, horizon, quantiles]`."""

    def __init__(self, quantiles: tuple[float, ...]) -> None:
        super().__init__(name="pinball")
        self._quantiles = quantiles

    def call(self, y_true: Any, y_pred: Any) -> Any:
        error = ops.expand_dims(y_true, -1) - y_pred
        levels = ops.convert_to_tensor(np.array(self._quantiles, np.float32))
        return ops.mean(ops.maximum(levels * error, (levels - 1.0) * error), axis=-1)


class ScoredNetwork(keras.Model):  # type: ignore[misc]
    """The network as it is fitted: whole windows in, forecasts at their scored rounds out."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self._network = network

    def call(self, data: tuple[Any, Any], training: bool | None = None) -> Any:  # noqa: FBT001  # Keras' signature
        """Quantiles `[windows, scored, horizon, quantiles]` at `scored` rounds of `inputs`."""
        inputs, scored = data
        at = ops.expand_dims(scored, -1)
        hidden = self._network.hidden(inputs, training=training)
        return self._network.head(ops.take_along_axis(hidden, at, 1), ops.take_along_axis(inputs, at, 1))


def train(recording: Recording, settings: Settings, report: Callable[[Progress], None]) -> tuple[Manifest, AnyNetwork]:
    """Fit a network to the training part, keep the weights that are best on the validation part.

    Raises `ConfigError` where the recording is too short for the configured window and split.
    """
    model, training = settings.model, settings.training
    data = sequences(recording, settings)
    split = split_by_time(data, training.train_fraction, training.validation_fraction)
    features = _feature_settings(data, settings, split)
    step = data.features(features)
    examples = Examples(data, step, model.horizon, split.train_end_ms)
    _check_length(examples, settings)
    network = make_network(_network_settings(model, features), training.seed)
    best = _fit(network, _material(network, data, step, split, examples, settings), settings, report)
    manifest = Manifest(
        name=model.name,
        version="",
        step_ms=settings.stream.step,
        bar=settings.stream.bar,
        context_length=model.context_length,
        features=features,
        network=network.settings,
        training={
            "data_sha256": recording.fingerprint(),
            "ticks": len(recording),
            "series": len(recording.names),
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


def _network_settings(model: ModelSettings, features: FeatureSettings) -> NetworkSettings:
    of_segments = model.network == "segment"
    return NetworkSettings(
        kind=model.network,
        inputs=model.context_length if of_segments else len(features.input_names),
        segment_length=(model.segment_length or default_segment_length(model)) if of_segments else None,
        units=model.units,
        horizon=model.horizon,
        quantiles=model.quantiles,
        dropout=model.dropout,
    )


@dataclass(frozen=True, slots=True)
class _Material:
    """What is fitted, its endless batches (inputs, targets, weights), and what says how good it is by now."""

    fitted: Any
    batches: Iterator[tuple[Any, np.ndarray, np.ndarray]]
    validate: "_Validation | SegmentValidation"


def _material(
    network: AnyNetwork, data: Sequences, step: FeatureStep, split: Split, examples: Examples, settings: Settings
) -> _Material:
    training, length = settings.training, settings.model.context_length
    random = np.random.default_rng(training.seed)
    if isinstance(network, SegmentNetwork):
        windows = SegmentExamples(data, step, length, examples).batches(WINDOWS * training.batch_size, random)
        return _Material(network, windows, SegmentValidation(data, step, network, split))
    shape = BatchShape(training.batch_size, length, round(UNSCORED * length), SCORED)
    batches = (((batch.inputs, batch.scored), batch.target, batch.weight) for batch in examples.batches(shape, random))
    return _Material(ScoredNetwork(network), batches, _Validation(data, step, network, split))


def _feature_settings(data: Sequences, settings: Settings, split: Split) -> FeatureSettings:
    """Defaults for the configured seasons, and how large a series' scale is beside its values."""
    step_ms = settings.stream.step
    seasons = settings.model.seasons
    if seasons and step_ms is None:
        raise ConfigError('model.seasons: a stream with step = "tick" has no seasons')
    if step_ms is not None and any(season % step_ms or season < 2 * step_ms for season in seasons):
        raise ConfigError("model.seasons: every season must be a multiple of stream.step, of two steps at least")
    steps = tuple(season // (step_ms or 1) for season in seasons)
    features = FeatureSettings.derive(steps, settings.model.context_length)
    if settings.model.network == "segment":
        features = with_last_value(features)
    step = data.features(features)
    last = np.maximum((data.origin_ms < split.train_end_ms).sum(axis=1) - 1, 0)
    run = np.arange(len(last))
    ratio = step.scale[run, last] / np.maximum(np.abs(step.level[0, run, last]), 1e-12)
    return features.model_copy(update={"first_scale": float(np.clip(np.median(ratio), 1e-6, 1.0))})


def _check_length(examples: Examples, settings: Settings) -> None:
    longest, needed = int(examples.rounds.max()), 2 * settings.model.horizon
    if longest < needed:
        raise ConfigError(
            f"the longest series has {longest} observations in the training part, "
            f"a horizon of {settings.model.horizon} needs {needed}"
        )


def _fit(network: AnyNetwork, material: _Material, settings: Settings, report: Callable[[Progress], None]) -> Progress:
    training, fitted, validate = settings.training, material.fitted, material.validate
    steps = training.epochs * training.steps_per_epoch
    fitted.compile(
        optimizer=keras.optimizers.AdamW(_one_cycle(training.learning_rate, steps), weight_decay=0.01, clipnorm=1.0),
        loss=PinballLoss(network.settings.quantiles),
        jit_compile=False,  # XLA takes five times as long for the gradient on a CPU, and loses cuDNN on a GPU
    )
    best: Progress | None = None
    kept: dict[str, np.ndarray] = {}
    average = RunningAverage(network, decay=1 - 1 / (2 * training.steps_per_epoch))
    for epoch in range(1, training.epochs + 1):
        fitted.reset_metrics()
        for batch in islice(material.batches, training.steps_per_epoch):
            mean_loss = fitted.train_on_batch(*batch)
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


class _Validation:
    """Pinball loss over the validation part, its state carried from the very start as in serving."""

    def __init__(self, data: Sequences, step: Any, network: Network, split: Split) -> None:
        self._levels = np.array(network.settings.quantiles, np.float32)
        self._engine = Engine(network)
        self._engine.grow(len(data.index))
        self._examples = Examples(data, step, network.settings.horizon, split.validation_end_ms)
        scored = origins_between(data, split.train_end_ms, split.validation_end_ms)
        self._run, self._round = np.nonzero(scored & (step.seen > 0))
        self._target, self._weight = self._examples.targets(self._run, self._round)
        if not self._weight.any():
            raise ConfigError("training.validation_fraction: leaves no value to validate on: give more data")
        self.baseline_loss = self._pinball(np.zeros((*self._target.shape, len(self._levels)), np.float32))

    def loss(self) -> float:
        """The mean pinball loss of the network as it is."""
        engine, inputs = self._engine, self._examples.inputs
        engine.forget(np.arange(len(inputs)))
        hidden = np.concatenate(
            [
                np.concatenate(
                    [engine.advance(slots, part, np.ones(part.shape[:2], bool)) for part in _split(inputs[slots])],
                    axis=1,
                )
                for slots in _groups(len(inputs))
            ]
        )
        return self._pinball(engine.head(hidden[self._run, self._round], inputs[self._run, self._round]))

    def _pinball(self, quantiles: np.ndarray) -> float:
        error = self._target[..., None] - quantiles
        losses = np.maximum(self._levels * error, (self._levels - 1) * error).mean(axis=-1)
        return float((losses * self._weight).sum() / self._weight.sum())


def _groups(series: int) -> list[np.ndarray]:
    """Series in groups that one call of the engine takes."""
    size = SERIES_LADDER[-2]
    return [np.arange(low, min(low + size, series)) for low in range(0, series, size)]


def _split(inputs: np.ndarray) -> list[np.ndarray]:
    """`inputs` `[series, rounds, …]` along the rounds, in parts that one call of the engine takes."""
    size = ROUNDS_LADDER[-2]
    return [inputs[:, low : low + size] for low in range(0, inputs.shape[1], size)]
