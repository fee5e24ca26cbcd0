"""`forecaster demo`: a broker, a model of real series, the real daemon and its live page."""

import logging
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from io import TextIOWrapper
from pathlib import Path
from types import FrameType
from typing import IO

from rich.console import Console

from forecaster.config import load_settings
from forecaster.demo.electricity import WEEKS, load_weeks, write_csv
from forecaster.demo.processes import Broker, Daemon, Forecaster, forget_environment, watchdog
from forecaster.demo.stages import MakeScorer, Stages, tell
from forecaster.errors import ForecasterError

CONFIG = """\
delivery = "at_least_once"

[state]
checkpoint_interval = "0s"

[kafka]
bootstrap_servers = "{kafka}"
session_timeout = "6s"
delivery_timeout = "10s"

[stream]
step = "30min"

[model]
bundle = "{bundle}"
seasons = ["1d", "1w"]
horizon = 48
units = [16]
dropout = 0.3

[training]
train_fraction = 0.6667
validation_fraction = 0.3333
epochs = 10
steps_per_epoch = 25
batch_size = 8
learning_rate = 0.001

[metrics]
host = "127.0.0.1"
port = 0

[web]
enabled = true
port = 0
"""


def run_demo(seconds: float | None, make_scorer: MakeScorer) -> None:
    """Train, stream for `seconds` (None: until Ctrl-C), show it and sum up. Leaves nothing behind.

    `make_scorer` makes the scorer of forecasts from all ticks of the demo and its settings.
    """
    forget_environment()
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # a failure is told once, in our own words
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # where the terminal has no character for an arrow
    console = Console(highlight=False)
    with ExitStack() as stack:
        stack.enter_context(_sigterm_unwinds())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="forecaster-demo-")))
        watch = stack.enter_context(watchdog(folder))
        broker = stack.enter_context(Broker(watch))
        tell(console, f"a broker that speaks the Kafka protocol runs on {broker.bootstrap_servers}")
        config = folder / "forecaster.toml"
        config.write_text(CONFIG.format(kafka=broker.bootstrap_servers, bundle=folder / "model"), "utf-8")
        _train(console, folder, config, watch)
        with Daemon(config, watch, folder / "daemon.log") as daemon:
            try:
                Stages(console, load_settings(config), broker, daemon, make_scorer).run(seconds)
            except ForecasterError:
                print(*daemon.last_lines(), sep="\n", file=sys.stderr)  # noqa: T201  # before the one line of the error
                raise


def _train(console: Console, folder: Path, config: Path, watch: IO[bytes]) -> None:
    """Make a model of the history, by the command that anybody would use."""
    weeks, history = load_weeks(), folder / "history.csv"
    write_csv(weeks.recording(0, weeks.unseen_from), history)
    parts = f"{WEEKS - 1} weeks of {len(weeks.names)} half-hourly series"
    console.print(f"  training on {parts}; TensorFlow takes some seconds to load", soft_wrap=True)
    began = time.monotonic()
    command = ["train", "--config", str(config), "--input", str(history), "--out", str(folder / "model")]
    with Forecaster(command, watch) as training:
        training.finish()
    tell(console, f"a model of {parts} is trained", began)


@contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """Within the block SIGTERM raises `SystemExit`, so that everything that was started is ended."""

    def leave(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
