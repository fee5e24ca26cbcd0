"""The daemon beside what else one would build: Quix Streams, and a plain kafka-python loop, with the same network.

python -m benchmarks.peers [--quick] [--save]

Each reads the whole window of a series for every forecast. They run in .venv-peers, which is made from
requirements/peers.txt where it is not there. Their backlogs are as short as they are slow; the daemon, with the
same client as Quix Streams where it is there, takes turns with each.
"""

import subprocess
import sys
from typing import NamedTuple

from benchmarks.contender import Contender, Turn, fastest_daemon, take_turns
from benchmarks.harness import Lab, MissingError, Series, main
from benchmarks.report import ROOT, Report

PEERS, LOCK = ROOT / ".venv-peers", ROOT / "requirements" / "peers.txt"
SERIES, TICKS = 10_000, 100_000


class Peer(NamedTuple):
    module: str
    how: str
    ticks: int


VARIANTS = {
    "quix_function": Peer("peer_quix", "function", 2_000),
    "quix_xla": Peer("peer_quix", "xla", 5_000),
    "quix_predict": Peer("peer_quix", "predict", 100),
    "quix_batch": Peer("peer_quix", "batch", 40_000),
    "plain_predict": Peer("peer_plain", "predict", 100),
    "plain_predict_batch": Peer("peer_plain", "predict_batch", 40_000),
}
QUICK = {"quix_function"}


def interpreter() -> str:
    """The peers' own Python; installs what the lock says where that has changed."""
    done, python = PEERS / ".locked", PEERS / "bin" / "python"
    if not done.exists() or done.read_text() != LOCK.read_text():
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
        subprocess.run([sys.executable, "-m", "venv", PEERS], check=True)
        subprocess.run([*pip, "--require-hashes", "-r", LOCK], check=True)
        done.write_text(LOCK.read_text())
    return str(python)


def measure(lab: Lab, *, quick: bool) -> Report:
    report, python = Report(), interpreter()
    with fastest_daemon(lab, report) as daemon:
        series = Series(SERIES)
        for name in VARIANTS:
            if not quick or name in QUICK:
                turn = Turn(f"peers.{name}.daemon_per_s", daemon, series, TICKS)
                try:
                    beside(lab, turn, python, name, 1 if quick else 3, report)
                except MissingError as error:
                    report.missing[f"peers.{name}"] = str(error)
    return report


def beside(lab: Lab, daemon: Turn, python: str, name: str, rounds: int, report: Report) -> None:
    module, how, ticks = VARIANTS[name]
    with Contender(lab) as peer:
        peer.start(python, "-m", f"benchmarks.{module}", how, str(peer.config))
        take_turns([Turn(f"peers.{name}.per_s", peer, Series(SERIES), ticks), daemon], rounds, report)
    report.ratio(f"peers.daemon_over_{name}", daemon.name, f"peers.{name}.per_s")


if __name__ == "__main__":
    main("peers", __doc__, measure)
