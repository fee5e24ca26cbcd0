"""Commands that look: at the configuration, and at the daemon on this host."""

import argparse
import json
import urllib.error
import urllib.request
from typing import Any

from forecaster.cli.commands import AddCommand
from forecaster.config import Settings, load_settings
from forecaster.errors import ForecasterError


def add_inspection_commands(command: AddCommand) -> None:
    """Add both to the command line."""
    command("check-config", _check_config, "Print the effective configuration, or what is wrong with it.")
    command("healthcheck", _healthcheck, "Exit 0 if the daemon on this host is alive.")


def _check_config(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    _check_connections(settings)
    if settings.model.bundle is not None:
        from forecaster.bundle.manifest import read_bundle

        read_bundle(settings.model.bundle, settings.model.public_key)[0].check_stream(settings)
    for line in toml_lines(settings.model_dump(mode="json")):
        print(line)


def _check_connections(settings: Settings) -> None:
    """Raise `ConfigError` where an address or a file of the connections is not what it should be."""
    from forecaster.kafka.python_connect import connection_options
    from forecaster.web.tls import metrics_tls

    connection_options(settings.kafka, "check-config")
    metrics_tls(settings.metrics)


def toml_lines(tree: dict[str, Any], path: str = "") -> list[str]:
    """`tree` at `path` as TOML; what is not set is a comment. Strings, numbers and lists are the same as in JSON."""

    def line(name: str, value: object) -> str:
        return f"# {name} is not set" if value is None else f"{name} = {json.dumps(value, ensure_ascii=False)}"

    lines = [line(name, value) for name, value in tree.items() if not isinstance(value, dict)]
    for name, section in tree.items():
        if isinstance(section, dict):
            lines += ["", f"[{path}{name}]", *toml_lines(section, f"{path}{name}.")]
    return lines


def _healthcheck(options: argparse.Namespace) -> None:
    metrics = load_settings(options.config).metrics
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(metrics.host, metrics.host)  # noqa: S104  # listens anywhere
    scheme = "http" if metrics.tls_cert_file is None else "https"
    url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{metrics.port}/livez"
    from forecaster.web.tls import unverified

    https = urllib.request.HTTPSHandler(context=unverified())
    itself = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)  # no proxy is in between
    try:
        with itself.open(url, timeout=3):
            return
    except (OSError, ValueError) as error:
        raise ForecasterError(f"metrics.port: {url} does not answer: {error}") from error
