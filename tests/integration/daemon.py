"""A real `forecaster run` process on a real broker, and what an operator sees of it."""

import os
import re
import signal
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from integration.forked import Forked
from integration.helpers import create_topics, unique, wait_until
from integration.kafka_broker import free_port

ROOT = Path(__file__).parents[2]
START_TIMEOUT = 120.0


def forecaster(*arguments: str, timeout: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line to its end."""
    with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
        code = Forked(arguments, out.name, err.name).wait(timeout)
        return subprocess.CompletedProcess(arguments, code, out.read(), err.read())


class Stream:
    """Topics of one test and the configuration that reads them."""

    def __init__(self, bootstrap: str, folder: Path, toml: str, *, partitions: int = 2, topics: bool = True) -> None:
        self.bootstrap, self.folder = bootstrap, folder
        self.input, self.output, self.dead = unique("ticks"), unique("forecasts"), unique("dlq")
        self.state = unique("state")
        self.port = free_port()
        self.config = folder / f"{self.input}.toml"
        self.config.write_text(
            toml
            + f"""
[kafka]
bootstrap_servers = "{bootstrap}"
group_id = "{unique("group")}"
session_timeout = "6s"
transaction_timeout = "5s"
[topics]
input = "{self.input}"
output = "{self.output}"
dead_letter = "{self.dead}"
state = "{self.state}"
[metrics]
host = "127.0.0.1"
port = {self.port}
"""
        )
        if topics:
            create_topics(bootstrap, {self.input: partitions, self.output: partitions, self.dead: 1})

    @contextmanager
    def daemon(self) -> Iterator["Daemon"]:
        """A daemon that has joined the group; killed at the end if it still runs."""
        with tempfile.NamedTemporaryFile("r") as log:
            process = Forked(["run", "--config", str(self.config)], os.devnull, log.name)
            running = Daemon(self, process, log)
            try:
                wait_until(running.is_ready, START_TIMEOUT, what="readiness")
                yield running
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()


class Daemon:
    """The process and its metrics endpoint."""

    def __init__(self, stream: Stream, process: subprocess.Popen[bytes] | Forked, log: object) -> None:
        self.stream, self.process, self._log = stream, process, log

    def log(self) -> str:
        """What it has written to standard error."""
        self._log.seek(0)
        return self._log.read()

    def get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stream.port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"the daemon ended with {self.process.returncode}: {self.log()}")
        try:
            return self.get("/readyz") == "ok\n"
        except OSError:
            return False

    def metric(self, name: str, /, **labels: str) -> float:
        """The sum of the samples of `name` whose labels include `labels`."""
        total = 0.0
        for line in self.get("/metrics").splitlines():
            match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if match and match[1] == name and all(f'{k}="{v}"' in (match[2] or "") for k, v in labels.items()):
                total += float(match[3])
        return total

    def outcomes(self) -> dict[str, float]:
        """Ticks by outcome, without those that none has."""
        names = ("forecast", "superseded", "aggregated", "late", "duplicate", "rejected")
        counts = {name: self.metric("forecaster_ticks_total", outcome=name) for name in names}
        return {name: count for name, count in counts.items() if count}

    def terminate(self) -> int:
        """SIGTERM, and the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)
