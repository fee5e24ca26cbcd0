"""`forecaster train` from a recording to the bundle: progress, checkpoints, and what an interruption leaves."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import check_writable, save_bundle
from forecaster.config import Settings
from forecaster.errors import StoppedError
from training.checkpoint import Checkpoint
from training.cluster import Cluster
from training.course import Epoch
from training.curves import Curves
from training.data import Scratch
from training.fit import Watch, train
from training.prepare import Source
from training.progress import LEVEL_AND_PROFILE, SHARES, Display


def train_with_progress(source: Source, settings: Settings, out: Path, curves: Path | None = None) -> Manifest:
    """Train on `source` and save the bundle to `out`; scalars of each epoch go to the folder `curves`.

    A training of the same data and settings that was interrupted goes on. Of several workers the chief
    alone writes anything.
    """
    cluster = Cluster.from_environment()
    baseline = SHARES if settings.model.coded else LEVEL_AND_PROFILE
    display = Display(Console(stderr=True), baseline=baseline)
    checkpoint = Checkpoint.beside(out, display.notice)
    if not cluster.chief:
        display.notice("a worker of a training on several machines: the chief shows the progress")
        with _interruptible(checkpoint):
            return train(source, settings, None, cluster)[0]
    check_writable(out)
    writer = Curves(curves) if curves else None

    def report(epoch: Epoch) -> None:
        display.epoch(epoch)
        if writer:
            writer.epoch(epoch)

    with _interruptible(checkpoint), display.running(settings.training.epochs):
        watch = Watch(report, display.notice)
        manifest, network = train(source, settings, watch, cluster, checkpoint, Scratch(out.parent))
    sealed = save_bundle(out, manifest, network)
    checkpoint.remove()
    best = sealed.training
    display.notice(
        f"{out}: {sealed.name}@{sealed.version}, best epoch {best['epoch']}: validation loss "
        f"{best['validation_loss']:.4f}, {baseline} alone {best['baseline_validation_loss']:.4f}, "
        f"{best['throughput']:,} observations/s"
    )
    return sealed


@contextmanager
def _interruptible(checkpoint: Checkpoint) -> Iterator[None]:
    """Ctrl-C or SIGTERM inside the block ends the process with one line that says how to go on."""
    signals: list[int] = []

    def stop(number: int, _: object) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except Exception as error:  # TensorFlow makes an error of its own of an interruption
        if not signals:
            raise
        raise _stopped(checkpoint, signals[-1]) from error
    except KeyboardInterrupt:
        raise _stopped(checkpoint, signals[-1] if signals else signal.SIGINT) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stopped(checkpoint: Checkpoint, number: int) -> StoppedError:
    """What to say of a training that signal `number` has ended."""
    done = checkpoint.epochs
    kept = f": {checkpoint.folder} keeps {done} epochs, the same command goes on" if done else ""
    return StoppedError(f"training stopped{kept}", number)
