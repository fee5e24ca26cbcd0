"""Commands that make a model and judge it: train, replay, backtest, sign."""

import argparse
import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from forecaster.cli.commands import AddCommand
from forecaster.cli.recorded import add_input_arguments, input_parts, joined, read_recording, time_ms, to_stderr
from forecaster.config import Settings, load_settings
from forecaster.errors import ConfigError

if TYPE_CHECKING:
    from training.html.report import HtmlReport


def add_model_commands(command: AddCommand) -> None:
    """Add all of them to the command line."""
    train = command("train", _train, "Train a model on recorded ticks.")
    add_input_arguments(train, kafka=True)
    train.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to write the bundle to")
    bad_help = "a series that is constant, too short or all missing: stop with a line that names it, or leave it out"
    train.add_argument("--on-bad-series", choices=("stop", "skip"), default="stop", help=bad_help)
    train.add_argument("--tensorboard", type=Path, metavar="DIR", help="write training curves here")
    _report_argument(train)

    replay = command("replay", _replay, "Forecast recorded ticks and score the forecasts.")
    add_input_arguments(replay)
    replay.add_argument("--out", type=Path, metavar="FILE", help="write the forecasts here as JSON lines")

    backtest = command("backtest", _backtest, "Score every forecast of a recording beside naive baselines.")
    add_input_arguments(backtest)
    origins = backtest.add_mutually_exclusive_group()
    origins.add_argument(
        "--start", type=time_ms, metavar="TIME", help="first origin; after the training data if not set"
    )
    rows_help = "forecast the grid rows from A up to B of the longest series, whole horizons only"
    origins.add_argument("--rows", type=_rows, metavar="A:B", help=rows_help)
    normalise_help = "also score in units of each series' deviation over these rows"
    backtest.add_argument("--normalise-rows", type=_rows, metavar="A:B", help=normalise_help)
    backtest.add_argument("--out", type=Path, metavar="FILE", help="write every figure here as JSON")
    _report_argument(backtest)

    sign = command("sign", _sign, "Sign a bundle, so that model.public_key lets nothing else be served.")
    sign.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that train wrote")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="private Ed25519 key in PEM")


def _report_argument(parser: argparse.ArgumentParser) -> None:
    help_ = "write a page with charts here: HTML in one file, which loads nothing (needs the extra report)"
    parser.add_argument("--report", type=Path, metavar="FILE", help=help_)


def _rows(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not (colon and low.isdecimal() and high.isdecimal() and int(low) < int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A below B")
    return int(low), int(high)


def _html_report(options: argparse.Namespace, settings: Settings) -> "HtmlReport | None":
    if options.report is None:
        return None
    if settings.model.coded:
        raise ConfigError(f'--report: its charts are of numbers: model.task = "{settings.model.task}" has none')
    try:
        from training.html.report import HtmlReport
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "plotly":
            raise
        raise ConfigError('--report: plotly is not installed: pip install "forecaster[report]"') from None
    return HtmlReport(options.report, shlex.join(["forecaster", *options.arguments]), datetime.now(UTC))


def _train(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    html, parts = _html_report(options, settings), input_parts(options, settings, to_stderr)
    from training.command import train_with_progress
    from training.prepare import Source

    files = ", ".join(map(str, options.input or []))
    recording = None if html is None else joined(parts)
    source = Source(
        parts if recording is None else [recording],
        files or f"topic {settings.topics.input}",
        options.on_bad_series == "skip",
    )
    train_with_progress(source, settings, options.out, options.tensorboard)
    if html is not None and recording is not None:
        from training.html.report import report_on_training

        report_on_training(recording, settings, options.out, html)


def _sign(options: argparse.Namespace) -> None:
    from forecaster.bundle.manifest import sign_bundle

    print(f"signed: {sign_bundle(options.bundle, options.key)}")


def _replay(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    recording = read_recording(options, settings)
    from training.report import replay_with_scores

    replay_with_scores(recording, settings, options.out)


def _backtest(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    html = _html_report(options, settings)
    recording = read_recording(options, settings)
    from training.backtest_report import backtest_with_tables
    from training.origins import Choice

    choice = Choice(options.start, options.rows, options.normalise_rows)
    backtest_with_tables(recording, settings, choice, options.out, html)
