"""Commands of those who run the daemon on Kubernetes: fetch a bundle, clear up after a scale-down."""

import argparse
import socket
from pathlib import Path

from forecaster.cli.commands import AddCommand
from forecaster.config import load_settings


def add_operator_commands(command: AddCommand) -> None:
    """Add both to the command line."""
    fetch = command("fetch", _fetch, "Put a bundle from object storage into a folder.")
    fetch.add_argument("--url", required=True, help="http or https address of a tar archive with the bundle")
    fetch.add_argument("--sha256", required=True, metavar="HEX", help="of the archive")
    fetch.add_argument("--out", type=Path, required=True, metavar="BUNDLE", help="folder to put the bundle into")

    remove = command("remove-members", _remove_members, "Take the pods that a scale-down ended out of the group.")
    remove.add_argument("--statefulset", required=True, metavar="NAME", help="of which the pods are")
    remove.add_argument("--replicas", type=int, required=True, metavar="N", help="pods that there are to be")
    service_help = "the pods' headless Service: those that still run are waited for"
    remove.add_argument("--service", metavar="NAME", help=service_help)


def _fetch(options: argparse.Namespace) -> None:
    from forecaster.bundle.fetch import fetch_bundle

    print(f"{fetch_bundle(options.url, options.sha256, options.out)} fetched to {options.out}")


def _remove_members(options: argparse.Namespace) -> None:
    settings = load_settings(options.config)
    from forecaster.kafka.python_members import remove_members

    def answers(pod: str) -> bool:
        return options.service is not None and _listens(f"{pod}.{options.service}", settings.metrics.port)

    client_id = f"forecaster-remove-members-{socket.gethostname()}"
    removed = remove_members(settings, client_id, options.statefulset, options.replicas, answers)
    print(f"removed from group {settings.kafka.group_id}: {', '.join(removed) or 'nobody'}")


def _listens(host: str, port: int) -> bool:
    """Whether a daemon may be there: as long as nobody can tell the address of `host`, one may."""
    try:
        with socket.create_connection((host, port), timeout=3):
            return True
    except OSError as error:
        return isinstance(error, socket.gaierror) and error.errno == socket.EAI_AGAIN
