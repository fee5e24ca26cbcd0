"""From recorded ticks to a trained network and its manifest: what is fitted, to what, and what decides."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forecaster import __version__
from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.network import Network
from training.candidates import Candidate, candidates
from training.checkpoint import Checkpoint
from training.cluster import Cluster
from training.course import Epoch
from training.data import Scratch
from training.examples import BatchShape, Examples
from training.loss import Loss, caution
from training.prepare import Prepared, Say, Source, prepare
from training.scored import ScoredNetwork
from training.start import start_from_residuals
from training.trainer import Trainer
from training.validation import Validation

SCORED, SCORED_STEPS = (4, 24), 6_144  # rounds of a training window that count: fewer of a longer horizon
UNSCORED = 0.4  # of a training window: the rounds over which the empty hidden state fills
COLD = 0.1  # of the training windows begin from an empty state


@dataclass(frozen=True, slots=True)
class Watch:
    """Who is told what: `epoch` each epoch, `say` a line."""

    epoch: Callable[[Epoch], None] = lambda _: None
    say: Say = lambda _: None


def train(
    source: Source,
    settings: Settings,
    watch: Watch | None = None,
    cluster: Cluster | None = None,
    checkpoint: Checkpoint | None = None,
    scratch: Scratch | None = None,
) -> tuple[Manifest, Network]:
    """Fit a network to the training part, keep the weights that are best on the validation part.

    Where seasons or sizes are left to choose, several are trained and the validation part chooses.
    `watch` and `checkpoint` are the chief's. Raises `ConfigError` where the data is too short for the
    configured window and split.
    """
    watch, cluster, scratch = watch or Watch(), cluster or Cluster(), scratch or Scratch()
    prepared = prepare(source, settings, scratch, watch.say)
    offered = candidates(prepared, settings, scratch)
    best: tuple[Manifest, Network] | None = None
    tried: dict[str, float] = {}
    for number, candidate in enumerate(offered):
        name = candidate.describe(settings.stream.step)
        if len(offered) > 1:
            watch.say(f"candidate {number + 1} of {len(offered)}: {name}")
        if checkpoint is not None:
            checkpoint.turn_to(number)
        manifest, network = _fit(candidate, prepared, settings, watch, cluster, checkpoint)
        tried[name] = manifest.training["validation_loss"]
        if best is None or tried[name] < best[0].training["validation_loss"]:
            best = manifest, network
    if best is None:
        raise ConfigError("training.sizes: there is nothing to train")
    manifest, network = best
    return manifest.model_copy(update={"training": manifest.training | {"candidates": tried}}), network


def _fit(
    candidate: Candidate,
    prepared: Prepared,
    settings: Settings,
    watch: Watch,
    cluster: Cluster,
    checkpoint: Checkpoint | None,
) -> tuple[Manifest, Network]:
    """The best epoch of `candidate`."""
    model, training, table = settings.model, settings.training, candidate.table
    examples = Examples(table, model.horizon, prepared.split.train_end_ms)
    _check_length(examples, model.horizon)
    network = Network(
        NetworkSettings(
            inputs=len(candidate.features.input_names),
            recents=candidate.features.recents,
            units=candidate.units,
            horizon=model.horizon,
            quantiles=model.quantiles,
            dropout=model.dropout,
        ),
        training.seed,
    )
    start_from_residuals(network, examples)
    manifest = _manifest(candidate, network, prepared, settings)
    validation = Validation(table, network, prepared.split, model.context_length)
    trainer = Trainer(
        ScoredNetwork(network, on_gpu=cluster.on_gpu),
        Loss(model.quantiles, caution(model.horizon, int(examples.rounds.max()), training.caution)),
        lambda random: examples.batches(_shape(settings), random),
        validation,
        training,
        cluster,
        watch.epoch,
    )
    course = trainer.run(checkpoint, manifest)
    outcome = course.summary() | {"baseline_validation_loss": validation.baseline_loss}
    return manifest.model_copy(update={"training": manifest.training | outcome}), network


def _shape(settings: Settings) -> BatchShape:
    length, windows = settings.model.context_length, settings.training.batch_size
    scored = int(np.clip(SCORED_STEPS // settings.model.horizon, *SCORED))
    return BatchShape(windows, length, round(UNSCORED * length), scored, round(COLD * windows))


def _manifest(candidate: Candidate, network: Network, prepared: Prepared, settings: Settings) -> Manifest:
    """The manifest as it stands before the first epoch: data, settings and versions."""
    versions: dict[str, Any] = {
        "forecaster": __version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
    }
    facts = {"settings": settings.training.model_dump(mode="json"), "versions": versions}
    return Manifest(
        name=settings.model.name,
        version="",
        step_ms=settings.stream.step,
        bar=settings.stream.bar,
        context_length=settings.model.context_length,
        features=candidate.features,
        network=network.settings,
        training=prepared.facts | facts,
    )


def _check_length(examples: Examples, horizon: int) -> None:
    longest = int(examples.rounds.max())
    if longest < 2 * horizon:
        raise ConfigError(
            f"the longest series has {longest} observations in the training part, "
            f"a horizon of {horizon} needs {2 * horizon}"
        )
