"""Where a command reads recorded ticks from: its arguments, and the ticks themselves."""

import argparse
import socket
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.config import Settings
from forecaster.errors import ConfigError

if TYPE_CHECKING:
    from forecaster.recording import Recording

COLUMN_OPTIONS = ("--time-column", "--series-column", "--value-column", "--label-column")


def add_input_arguments(parser: argparse.ArgumentParser, *, kafka: bool = False) -> None:
    """Files and their columns; with `kafka` the input topic may take their place."""
    source = parser.add_mutually_exclusive_group(required=True)
    files = "CSV, plain or .gz, or .parquet"
    source.add_argument("--input", type=Path, nargs="+", metavar="FILE", help=files)
    parser.set_defaults(from_kafka=False, from_ms=None)
    if kafka:
        source.add_argument("--from-kafka", action="store_true", help="the history of the input topic")
        since = "with --from-kafka: the first record's time; the earliest record if not set"
        parser.add_argument("--from", dest="from_ms", type=time_ms, metavar="TIME", help=since)
    time, series, value, label = COLUMN_OPTIONS
    joined = "column of the event time, or several: date,time or year,month,day[,hour[,minute[,second]]]"
    parser.add_argument(time, metavar="NAME[,NAME…]", help=joined)
    parser.add_argument(series, metavar="NAME", help="column of the series id (a row per tick)")
    parser.add_argument(value, metavar="NAME[,NAME…]", help="value columns; with a series column, their mean")
    parser.add_argument(label, metavar="NAME", help='column of the labels, for model.task = "classify"')


def time_ms(text: str) -> int:
    """Epoch milliseconds, or ISO 8601; a time without a zone is UTC."""
    if text.isdecimal():
        return int(text)
    try:
        time_ = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is neither epoch milliseconds nor ISO 8601") from None
    return round((time_ if time_.tzinfo else time_.replace(tzinfo=UTC)).timestamp() * 1000)


def input_parts(options: argparse.Namespace, settings: Settings, say: Callable[[str], None]) -> Iterator["Recording"]:
    """The recorded ticks that `options` ask for, in parts; `say` gets a line about what was left out.

    Raises `ConfigError` at once for options that contradict each other, and while the parts are read
    for what is wrong with them.
    """
    columns = (options.time_column, options.series_column, options.value_column, options.label_column)
    if options.from_kafka:
        for name, given in zip(COLUMN_OPTIONS, columns, strict=True):
            if given is not None:
                raise ConfigError(f"{name}: goes with --input; the fields of the topic's records are in [input]")
        from forecaster.kafka.python_history import read_history

        return read_history(settings, f"forecaster-train-{socket.gethostname()}", options.from_ms, say)
    if options.from_ms is not None:
        raise ConfigError("--from: goes with --from-kafka")
    from forecaster.recording import Columns, read_parts

    if options.value_column is not None and settings.input.channels:
        raise ConfigError("--value-column: goes without input.channels, which name the columns")
    values = tuple(options.value_column.split(",")) if options.value_column else ()
    if options.label_column is not None and not settings.model.coded:
        raise ConfigError('--label-column: goes with model.task = "classify"')
    chosen = Columns(options.time_column, options.series_column, values, options.label_column, settings.model.coded)
    return read_parts(options.input, settings.input, chosen)


def read_recording(options: argparse.Namespace, settings: Settings) -> "Recording":
    """The same as one recording; what was left out is told on standard error."""
    return joined(input_parts(options, settings, to_stderr))


def joined(parts: Iterable["Recording"]) -> "Recording":
    """One recording of several."""
    from forecaster.recording import join

    return join(parts)


def to_stderr(line: str) -> None:
    """Tell it to who typed the command."""
    print(line, file=sys.stderr)
