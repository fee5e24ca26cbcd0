"""From recorded ticks to a trained network and its manifest: what is fitted, to what, and what decides."""

import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from forecaster import __version__
from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.networks.kinds import AnyNetwork
from training.candidates import Candidate, candidates
from training.checkpoint import Checkpoint
from training.cluster import Cluster
from training.course import Epoch
from training.data import Scratch
from training.material import material
from training.prepare import Prepared, Say, Source, prepare
from training.trainer import Trainer


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
) -> tuple[Manifest, AnyNetwork]:
    """Fit a network to the training part, keep the weights that are best on the validation part.

    Where seasons or sizes are left to choose, several are trained and the validation part chooses.
    `watch` and `checkpoint` are the chief's. Raises `ConfigError` where the data is too short for the
    configured window and split.
    """
    watch, cluster, scratch = watch or Watch(), cluster or Cluster(), scratch or Scratch()
    prepared = prepare(source, settings, scratch, watch.say)
    offered = candidates(prepared, settings, scratch)
    trained: dict[str, tuple[Manifest, AnyNetwork]] = {}
    for number, candidate in enumerate(offered):
        name = candidate.describe(settings.stream.step)
        if len(offered) > 1:
            watch.say(f"candidate {number + 1} of {len(offered)}: {name}")
        if checkpoint is not None:
            checkpoint.turn_to(number)
        trained[name] = _fit(candidate, prepared, settings, watch, cluster, checkpoint, scratch)
    losses = {name: manifest.training["validation_loss"] for name, (manifest, _) in trained.items()}
    manifest, network = trained[min(losses, key=losses.__getitem__)]
    return manifest.model_copy(update={"training": manifest.training | {"candidates": losses}}), network


def _fit(
    candidate: Candidate,
    prepared: Prepared,
    settings: Settings,
    watch: Watch,
    cluster: Cluster,
    checkpoint: Checkpoint | None,
    scratch: Scratch,
) -> tuple[Manifest, AnyNetwork]:
    """The best epoch of `candidate`."""
    made = material(candidate, prepared, settings, scratch, on_gpu=cluster.on_gpu)
    manifest = _manifest(candidate, made.network, prepared, settings)
    trainer = Trainer(made.fitted, made.loss, made.batches, made.validation, settings.training, cluster, watch.epoch)
    course = trainer.run(checkpoint, manifest)
    outcome = course.summary() | {"baseline_validation_loss": made.validation.baseline_loss}
    return manifest.model_copy(update={"training": manifest.training | outcome}), made.network


def _manifest(candidate: Candidate, network: AnyNetwork, prepared: Prepared, settings: Settings) -> Manifest:
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
        kind=network.settings.message_kind,
        step_ms=settings.stream.step,
        bar=settings.stream.bar,
        context_length=settings.model.context_length,
        features=candidate.features,
        network=network.settings,
        training=prepared.facts | facts,
    )
