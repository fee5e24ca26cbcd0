"""The command line: the only place where the parts are put together, a module here for each group of commands."""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from forecaster import __version__
from forecaster.cli.commands import Run
from forecaster.cli.inspect import add_inspection_commands
from forecaster.cli.model import add_model_commands
from forecaster.cli.operate import add_operator_commands
from forecaster.cli.serve import add_run_command
from forecaster.cli.stream import add_demo_command, add_produce_command
from forecaster.errors import ForecasterError
from forecaster.telemetry.logs import configure_logging, printable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported anywhere
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # results that depend neither on the machine nor on its load
WITHOUT_CONFIG = {"demo", "fetch", "sign"}


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; exit code 0 done, 2 bad usage, configuration or bundle, 1 anything else."""
    options = make_parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    configure_logging(worker=getattr(options, "worker", None))
    if os.getpid() == 1:  # of a container: Linux ends it by no signal that it does not handle
        signal.signal(signal.SIGTERM, _terminated)
    try:
        options.command(options)
    except ForecasterError as error:
        line = printable(" ".join(str(error).split()))
        print(f"forecaster: {line}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _terminated(number: int, _: FrameType | None) -> NoReturn:
    """At once, as the signal would anywhere else, until a command has something to finish first."""
    os._exit(128 + number)


def make_parser() -> argparse.ArgumentParser:
    """Every command with its arguments."""
    parser = argparse.ArgumentParser(prog="forecaster", description="Forecasts for every tick of a Kafka stream.")
    parser.add_argument("--version", action="version", version=f"forecaster {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Run, help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=run)
        if name not in WITHOUT_CONFIG:
            told = "TOML file; the environment wins over it, and what neither sets has its default"
            sub.add_argument("--config", type=Path, metavar="FILE", help=told)
        return sub

    add_run_command(command)
    add_inspection_commands(command)
    add_model_commands(command)
    add_produce_command(command)
    add_operator_commands(command)
    add_demo_command(command)
    return parser
