"""Commands that make a stream: recorded ticks into the input topic, or all of it on a broker of its own."""

import argparse
import socket
import time
from typing import TYPE_CHECKING

from forecaster.cli.commands import AddCommand, positive
from forecaster.cli.recorded import add_input_arguments, read_recording
from forecaster.config import Settings, format_duration, load_settings

if TYPE_CHECKING:
    from forecaster.recording import Recording


def add_produce_command(command: AddCommand) -> None:
    """Add `produce` to the command line."""
    produce = command("produce", _produce, "Put recorded ticks into the input topic.")
    add_input_arguments(produce)
    pace = produce.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=positive, metavar="N", help="ticks a second; without a pace, as fast as can be")
    pace.add_argument("--speedup", type=positive, metavar="X", help="event time this many times as fast as it was")


def add_demo_command(command: AddCommand) -> None:
    """Add `demo` to the command line."""
    demo = command("demo", _demo, "Train, stream and forecast on a broker of its own; nothing else is needed.")
    demo.add_argument("--seconds", type=positive, default=60.0, metavar="S", help="how long to stream (60)")
    demo.add_argument("--forever", action="store_true", help="stream until Ctrl-C")


def _produce(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    recording = read_recording(options, settings)
    from forecaster.kafka.python_connect import check_topics, connection_options
    from forecaster.kafka.python_publisher import Publisher
    from forecaster.produce import due_seconds, produce

    client_id = f"forecaster-produce-{socket.gethostname()}"
    check_topics(settings, client_id, time.monotonic() + settings.kafka.startup_timeout / 1000)
    publisher = Publisher(settings, connection_options(settings.kafka, client_id))
    sent = produce(recording, settings, publisher.publish, due_seconds(recording, options.rate, options.speedup))
    publisher.discard()
    print(f"{sent} ticks of {len(recording.names)} series produced to {settings.topics.input}")


def _demo(options: argparse.Namespace) -> None:
    from forecaster.demo import run_demo
    from training.data import sequences
    from training.evaluate import Scorer

    def make_scorer(ticks: "Recording", settings: Settings) -> Scorer:
        model, step_ms = settings.model, settings.stream.step or 1
        seasons = {f"seasonal naive {format_duration(season)}": season // step_ms for season in model.seasons or ()}
        return Scorer(sequences([ticks], settings), model.horizon, model.quantiles, seasons, regular=True)

    run_demo(None if options.forever else options.seconds, make_scorer)
