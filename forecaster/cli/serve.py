"""`forecaster run`: the daemon, one of its workers, or its live page."""

import argparse
import socket
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from forecaster.cli.commands import AddCommand
from forecaster.config import Settings, load_settings
from forecaster.errors import ConfigError
from forecaster.telemetry.logs import configure_logging

if TYPE_CHECKING:
    from forecaster.daemon import Expose, MakeReader
    from forecaster.kafka.client import Client
    from forecaster.pipeline import Pipeline
    from forecaster.telemetry.metrics import Metrics
    from forecaster.telemetry.traces import Stages, Traces


def add_run_command(command: AddCommand) -> None:
    """Add it to the command line."""
    run = command("run", _run, "Forecast the ticks of a Kafka topic until stopped.")
    run.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # what the supervisor of several starts
    run.add_argument("--page", type=int, help=argparse.SUPPRESS)  # what a daemon with web.enabled starts: a socket


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

    run(settings, member, _pipeline, make_traces, expose, time.time)


def make_traces(settings: Settings, metrics: "Metrics") -> "Traces":
    """Those that `settings` ask for; raises `ConfigError` where the extra is missing."""
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
