"""From a recording to a trained network and its manifest: what is fitted, to what, and what decides."""

import platform
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from forecaster import __version__
from forecaster.config import Settings
from forecaster.engine import ROUNDS_LADDER, SERIES_LADDER, Engine
from forecaster.errors import ConfigError
from forecaster.features import FeatureSettings, FeatureStep
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.network import Network
from forecaster.recording import Recording
from training.checkpoint import Checkpoint
from training.cluster import Cluster
from training.course import Epoch
from training.data import BatchShape, Examples, Sequences, Split, origins_between, sequences, split_by_time
from training.scored import ScoredNetwork
from training.trainer import Trainer

SCORED = 24  # rounds of a training window that count
UNSCORED = 0.4  # of a training window: the rounds over which the empty hidden state fills


def train(
    recording: Recording,
    settings: Settings,
    report: Callable[[Epoch], None],
    cluster: Cluster | None = None,
    checkpoint: Checkpoint | None = None,
) -> tuple[Manifest, Network]:
    """Fit a network to the training part, keep the weights that are best on the validation part.

    `report` and `checkpoint` are the chief's. Raises `ConfigError` where the recording is too short for
    the configured window and split.
    """
    cluster = cluster or Cluster()
    model, training = settings.model, settings.training
    data = sequences(recording, settings)
    split = split_by_time(data, training.train_fraction, training.validation_fraction)
    features = _feature_settings(data, settings, split)
    step = data.features(features)
    examples = Examples(data, step, model.horizon, split.train_end_ms)
    _check_length(examples, settings)
    network = Network(
        NetworkSettings(
            inputs=len(features.input_names),
            units=model.units,
            horizon=model.horizon,
            quantiles=model.quantiles,
            dropout=model.dropout,
        ),
        training.seed,
    )
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
            "settings": training.model_dump(mode="json"),
            "versions": {
                "forecaster": __version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
                "tensorflow": tf.__version__,
            },
        },
    )
    shape = BatchShape(training.batch_size, model.context_length, round(UNSCORED * model.context_length), SCORED)
    validation = _Validation(data, step, network, split)
    trainer = Trainer(
        ScoredNetwork(network, on_gpu=cluster.on_gpu),
        lambda random: examples.batches(shape, random),
        validation,
        training,
        cluster,
        report,
    )
    course = trainer.run(checkpoint, manifest)
    outcome = course.summary() | {"baseline_validation_loss": validation.baseline_loss}
    return manifest.model_copy(update={"training": manifest.training | outcome}), network


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


class _Validation:
    """Pinball loss over the validation part, its state carried from the very start as in serving."""

    def __init__(self, data: Sequences, step: FeatureStep, network: Network, split: Split) -> None:
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
