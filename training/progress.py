"""What `train` shows while it runs: a bar on a terminal, else a plain line every few seconds."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from forecaster.config import format_duration
from training.course import Epoch

EVERY = 5.0  # seconds between plain lines at least
LEVEL_AND_PROFILE = "level and profile"
SHARES = "the shares of each answer"  # for codes


class Display:
    """Shows epochs and notices on `console`, which is standard error."""

    def __init__(
        self, console: Console, clock: Callable[[], float] = time.monotonic, baseline: str = LEVEL_AND_PROFILE
    ) -> None:
        self._console, self._clock, self._baseline = console, clock, baseline
        self._shown = -math.inf
        self._progress = Progress(BarColumn(), TextColumn("{task.description}"), console=console)

    @contextmanager
    def running(self, epochs: int) -> Iterator[None]:
        """A bar of `epochs` inside the block, on a terminal."""
        if not self._console.is_terminal:
            yield
            return
        with self._progress as bar:
            bar.add_task("compiling", total=epochs)
            yield

    def epoch(self, epoch: Epoch) -> None:
        """Show `epoch`: all of them on a terminal; elsewhere the first, then one every few seconds, and the last."""
        if self._progress.tasks:
            self._progress.update(
                self._progress.tasks[0].id, completed=epoch.epoch, description=line(epoch, self._baseline)
            )
            return
        now = self._clock()
        if epoch.epoch == epoch.epochs or now - self._shown >= EVERY:
            self._shown = now
            self.notice(line(epoch, self._baseline))

    def notice(self, text: str) -> None:
        """One line that stays."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


def line(epoch: Epoch, baseline: str = LEVEL_AND_PROFILE) -> str:
    """All that is known of `epoch`, in one line; `baseline` is what its skill is measured against."""
    left = format_duration(max(1, round(epoch.seconds_left)) * 1000) if epoch.seconds_left else "nothing"
    padded = f" and {100 * epoch.padding:.0f} % padding" if epoch.padding else ""
    return (
        f"epoch {epoch.epoch}/{epoch.epochs}: loss {epoch.training_loss:.4f}, "
        f"validation {epoch.validation_loss:.4f}{' (best)' if epoch.best else ''}, "
        f"skill {100 * epoch.skill:.1f} % against {baseline} alone ({epoch.baseline_loss:.4f}), "
        f"{epoch.observations_per_second:,.0f} observations/s{padded}, at most {left} left"
    )
