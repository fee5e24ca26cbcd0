"""The command line: the only place where the parts are put together."""

import argparse
import os
import shlex
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from forecaster import __version__
from forecaster.cli.operate import add_operator_commands
from forecaster.cli.recorded import add_input_arguments, input_parts, time_ms
from forecaster.config import Settings, format_duration, load_settings
from forecaster.errors import ConfigError, ForecasterError
from forecaster.telemetry.logs import configure_logging, printable

if TYPE_CHECKING:
    from forecaster.daemon import Expose, MakeReader
    from forecaster.kafka.client import Client
    from forecaster.pipeline import Pipeline
    from forecaster.recording import Recording
    from forecaster.telemetry.metrics import Metrics
    from forecaster.telemetry.traces import Stages, Traces
    from training.html.report import HtmlReport

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported anywhere
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # results that depend neither on the machine nor on its load


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command; exit code 0 done, 2 bad usage, configuration or bundle, 1 anything else."""
    options = _parser().parse_args(arguments)
    options.arguments = sys.argv[1:] if arguments is None else list(arguments)
    configure_logging(worker=getattr(options, "worker", None))
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="forecaster", description="Forecasts for every tick of a Kafka stream.")
    parser.add_argument("--version", action="version", version=f"forecaster {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Callable[[argparse.Namespace], None], help_: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help_, description=help_)
        sub.set_defaults(command=function)
        if name not in {"demo", "fetch", "sign"}:
            sub.add_argument("--config", type=Path, metavar="FILE", help="TOML file; the environment wins over it")
        return sub

    run = command("run", _run, "Forecast the ticks of a Kafka topic until stopped.")
    run.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # what the supervisor of several starts
    run.add_argument("--page", type=int, help=argparse.SUPPRESS)  # what a daemon with web.enabled starts: a socket
    command("check-config", _check_config, "Print the effective configuration, or what is wrong with it.")
    command("healthcheck", _healthcheck, "Exit 0 if the daemon on this host is alive.")

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

    produce = command("produce", _produce, "Put recorded ticks into the input topic.")
    add_input_arguments(produce)
    pace = produce.add_mutually_exclusive_group()
    pace.add_argument("--rate", type=_positive, metavar="N", help="ticks a second")
    pace.add_argument("--speedup", type=_positive, metavar="X", help="event time this many times as fast as it was")

    add_operator_commands(command)
    sign = command("sign", _sign, "Sign a bundle, so that model.public_key lets nothing else be served.")
    sign.add_argument("bundle", type=Path, metavar="BUNDLE", help="folder that train wrote")
    sign.add_argument("--key", type=Path, required=True, metavar="FILE", help="private Ed25519 key in PEM")

    demo = command("demo", _demo, "Train, stream and forecast on a broker of its own; nothing else is needed.")
    demo.add_argument("--seconds", type=_positive, default=60.0, metavar="S", help="how long to stream (60)")
    demo.add_argument("--forever", action="store_true", help="stream until Ctrl-C")
    return parser


def _report_argument(parser: argparse.ArgumentParser) -> None:
    help_ = "write a page with charts here: HTML in one file, which loads nothing (needs the extra report)"
    parser.add_argument("--report", type=Path, metavar="FILE", help=help_)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return number


def _rows(text: str) -> tuple[int, int]:
    low, colon, high = text.partition(":")
    if not (colon and low.isdecimal() and high.isdecimal() and int(low) < int(high)):
        raise argparse.ArgumentTypeError(f"{text!r} is not A:B with A below B")
    return int(low), int(high)


def _recording(options: argparse.Namespace, settings: Settings) -> "Recording":
    return _joined(input_parts(options, settings, _to_stderr))


def _joined(parts: "Iterable[Recording]") -> "Recording":
    from forecaster.recording import join

    return join(parts)


def _to_stderr(line: str) -> None:
    print(line, file=sys.stderr)


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


def _run(options: argparse.Namespace) -> None:
    if options.worker is not None:
        return _run_worker(options)
    settings = load_settings(options.config)
    configure_logging(settings.logs)
    if options.page is not None:
        from forecaster.web.page import serve_page

        return serve_page(settings, options.page)
    command = [sys.executable, "-m", "forecaster", *options.arguments]
    expose = _expose(settings, command)
    if settings.workers > 1:
        from forecaster.workers.supervisor import supervise

        return supervise(settings, command, expose)
    return _serve(settings, expose)


def _expose(settings: Settings, command: Sequence[str]) -> "Expose":
    """The endpoints, and the live page where it is enabled."""
    from forecaster.web.endpoints import Endpoints
    from forecaster.web.tls import metrics_tls

    metrics = settings.metrics
    endpoints = partial(Endpoints, metrics.host, metrics.port, tls=metrics_tls(metrics))
    if not settings.web.enabled:
        return endpoints
    from forecaster.web.page_process import PageProcess, beside_page

    return beside_page(endpoints, PageProcess(settings.web, [*command, "--page"]))


def _run_worker(options: argparse.Namespace) -> None:
    """One of several workers: its own index, and a supervisor that it reports to."""
    from forecaster.workers.reports import Reports, report_pipe

    with Reports(report_pipe()) as reports:
        settings = load_settings(options.config)
        configure_logging(settings.logs, options.worker)
        kafka = settings.kafka.model_copy(update={"worker_index": options.worker})
        _serve(settings.model_copy(update={"kafka": kafka}), reports.expose)


def _serve(settings: Settings, expose: "Expose") -> None:
    from forecaster.daemon import run

    def member(rebuild_span_ms: int | None, make_reader: "MakeReader") -> "Client":
        from forecaster.kafka.clients import make_client

        readers = make_reader if settings.state.checkpoint_interval else None
        return make_client(settings, rebuild_span_ms, f"forecaster-{socket.gethostname()}", readers)

    run(settings, member, _pipeline, _traces, expose, time.time)


def _traces(settings: Settings, metrics: "Metrics") -> "Traces":
    if not settings.tracing.enabled:
        from forecaster.telemetry.traces import NoTraces

        return NoTraces()
    try:
        from forecaster.telemetry.otel import OtelTraces
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ConfigError('tracing.enabled: OpenTelemetry is not installed: pip install "forecaster[otel]"') from None
    return OtelTraces(settings, metrics)


def _pipeline(settings: Settings, metrics: "Metrics", stage: "Stages") -> "Pipeline":
    """The line of the bundle's model, compiled and warm."""
    from forecaster.bundle.store import load_configured
    from forecaster.pipeline import Pipeline
    from forecaster.telemetry.logs import event

    manifest, network = load_configured(settings)
    pipeline = Pipeline(settings, manifest, network, stage)
    pipeline.inference.engine.warm_up()
    metrics.show_model(manifest.name, manifest.version, manifest.trained_until_ms)
    metrics.compiled_shapes.set(pipeline.inference.engine.compiled_shapes)
    event("model_ready", model=f"{manifest.name}@{manifest.version}", bundle=str(settings.model.bundle))
    return pipeline


def _check_config(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    _check_files(settings)
    if settings.model.bundle is not None:
        from forecaster.bundle.manifest import read_bundle

        read_bundle(settings.model.bundle, settings.model.public_key)[0].check_stream(settings)
    for line in _toml_lines(settings.model_dump(mode="json")):
        print(line)


def _check_files(settings: Settings) -> None:
    """Raise `ConfigError` where a file of the connections is not what it should be."""
    from forecaster.kafka.credentials import check_credentials
    from forecaster.web.tls import metrics_tls

    check_credentials(settings.kafka)
    metrics_tls(settings.metrics)


def _toml_lines(tree: dict[str, Any], path: str = "") -> list[str]:
    """`tree` at `path` as TOML; what is not set is a comment. Strings, numbers and lists are the same as in JSON."""
    import json

    def line(name: str, value: object) -> str:
        return f"# {name} is not set" if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"

    lines = [line(name, value) for name, value in tree.items() if not isinstance(value, dict)]
    for name, section in tree.items():
        if isinstance(section, dict):
            lines += ["", f"[{path}{name}]", *_toml_lines(section, f"{path}{name}.")]
    return lines


def _healthcheck(options: argparse.Namespace) -> None:
    metrics = load_settings(options.config).metrics
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(metrics.host, metrics.host)  # noqa: S104  # listens anywhere
    scheme = "http" if metrics.tls_cert_file is None else "https"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{metrics.port}/livez"
    from forecaster.web.tls import unverified

    try:
        with urllib.request.urlopen(url, timeout=3, context=unverified()):  # noqa: S310  # one of the two schemes
            return
    except (OSError, ValueError) as error:
        raise ForecasterError(f"metrics.port: {url} does not answer: {error}") from error


def _train(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    html, parts = _html_report(options, settings), input_parts(options, settings, _to_stderr)
    from training.command import train_with_progress
    from training.prepare import Source

    files = ", ".join(map(str, options.input or []))
    recording = None if html is None else _joined(parts)
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
    recording = _recording(options, settings)
    from training.report import replay_with_scores

    replay_with_scores(recording, settings, options.out)


def _backtest(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    html = _html_report(options, settings)
    recording = _recording(options, settings)
    from training.backtest_report import backtest_with_tables
    from training.origins import Choice

    choice = Choice(options.start, options.rows, options.normalise_rows)
    backtest_with_tables(recording, settings, choice, options.out, html)


def _produce(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    recording = _recording(options, settings)
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
