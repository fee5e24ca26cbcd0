"""What the pages of docs/ tell a reader to type, and a reader who types it."""

import io
import os
import re
import shlex
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import pytest
from integration.forked import Forked
from integration.helpers import tool, unique, wait_until
from integration.kafka_broker import free_port
from kafka import KafkaConsumer, TopicPartition

from forecaster.cli.main import main

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))
BLOCK = re.compile(r'(?ms)^ *```(\w+)(?: title="(.+?)")?\n(.*?)^ *```$')
HEREDOC = re.compile(r"<<'(\w+)'")
FORECASTER = re.compile(r"(?:[A-Z_]+=\S+ )*forecaster ([\w-]+)[^|;&>]*")


class Block(NamedTuple):
    """A piece of code on a page; with a title it is a file of that name."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found) for found in BLOCK.findall((DOCS / page).read_text("utf-8"))]


def commands(block: Block) -> list[str]:
    """The commands of a shell block: a line each, with what it continues on, and with its here-document."""
    lines = iter(block.text.replace("\\\n", " ").splitlines())
    whole = (_with_here_document(line, lines).strip() for line in lines)
    return [command for command in whole if command and not command.startswith("#")]


def _with_here_document(line: str, following: Iterator[str]) -> str:
    match = HEREDOC.search(line)
    return line if match is None else "\n".join([line, *takewhile(lambda text: text != match[1], following), match[1]])


def typed(page: str) -> list[str]:
    """Every command of the page, in order."""
    return [command for block in blocks(page) if block.language == "sh" for command in commands(block)]


class Reader:
    """Follows a page in a folder of its own, from top to bottom, on the broker of the tests.

    Addresses and topics of the page are replaced by those of this test; everything else is typed as it stands. Commands
    of `forecaster` run in this process, which has TensorFlow already, but for `run`: that goes on beside the others.
    """

    def __init__(self, kafka: str, folder: Path, patch: pytest.MonkeyPatch, small: dict[str, str]) -> None:
        self.kafka, self.folder, self.port = kafka, folder, free_port()
        self.daemon: Forked | None = None
        topics = {name: unique(name) for name in ("ticks", "forecasts", "dlq", "state")}
        self._replaced = {"localhost:9092": kafka, "BROKER:9092": kafka, "localhost:9108": f"127.0.0.1:{self.port}"}
        self._replaced |= {"-t forecasts.dlq": f"-t {topics['dlq']}", "-t forecasts.state": f"-t {topics['state']}"}
        self._replaced |= {f"-t {name}": f"-t {topics[name]}" for name in ("ticks", "forecasts")}
        self._replaced |= {"RECENT.csv": "history.csv"}
        self._input = topics["ticks"]
        settings = {"TOPICS__INPUT": topics["ticks"], "TOPICS__OUTPUT": topics["forecasts"]}
        settings |= {"TOPICS__DEAD_LETTER": topics["dlq"], "TOPICS__STATE": topics["state"]}
        settings |= {"KAFKA__GROUP_ID": unique("group"), "METRICS__HOST": "127.0.0.1", "METRICS__PORT": str(self.port)}
        for name, value in (settings | small).items():
            patch.setenv(f"FORECASTER_{name}", value)
        patch.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.chdir(folder)

    def follow(self, page: str, is_run: Callable[[str], bool]) -> dict[str, str]:
        """Save the files of `page` and type its commands that are run; returns what each has printed."""
        printed = {}
        for block in blocks(page):
            if block.title:
                (self.folder / block.title).write_text(self._here(block.text), "utf-8")
            for command in commands(block) if block.language == "sh" else ():
                if is_run(command):
                    printed[command] = self._type(self._here(command))
        return printed

    def _here(self, text: str) -> str:
        for theirs, ours in self._replaced.items():
            text = text.replace(theirs, ours)
        return text

    def _type(self, command: str) -> str:
        match = FORECASTER.fullmatch(command)
        if match and match[1] == "run":
            return self._start(command)
        if match:
            return self._forecaster(shlex.split(command, comments=True)[1:])
        if "kcat" in command:
            tool("kcat")
            self._wait_for_every_tick()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command], capture_output=True, text=True, timeout=240, check=False
        )
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    @staticmethod
    def _forecaster(arguments: list[str]) -> str:
        with redirect_stdout(io.StringIO()) as out, pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0, f"forecaster {shlex.join(arguments)}: {out.getvalue()}"
        return out.getvalue()

    def _start(self, command: str) -> str:
        assert self.daemon is None, "one daemon a page"
        arguments, log = shlex.split(command, comments=True)[1:], self.folder / "daemon.log"
        self.daemon = Forked(arguments, os.devnull, str(log))
        wait_until(lambda: self._get("/readyz") == "ok\n", 240, what="readiness")
        return ""

    def _get(self, path: str) -> str:
        assert self.daemon is not None
        if self.daemon.poll() is not None:
            raise AssertionError(f"the daemon ended: {(self.folder / 'daemon.log').read_text('utf-8')}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def _wait_for_every_tick(self) -> None:
        with closing(KafkaConsumer(bootstrap_servers=self.kafka)) as consumer:
            parts = [TopicPartition(self._input, n) for n in consumer.partitions_for_topic(self._input)]
            sent = sum(consumer.end_offsets(parts).values())
        outcome = re.compile(r"(?m)^forecaster_ticks_total\{.*\} (\S+)$")
        wait_until(
            lambda: sum(map(float, outcome.findall(self._get("/metrics")))) >= sent, 240, what=f"{sent} ticks' outcomes"
        )

    @contextmanager
    def reading(self) -> Iterator["Reader"]:
        """The daemon that a page has started ends with exit code 0 on Ctrl-C."""
        try:
            yield self
            if self.daemon is not None:
                self.daemon.send_signal(signal.SIGINT)
                assert self.daemon.wait(120) == 0
        finally:
            if self.daemon is not None and self.daemon.poll() is None:
                self.daemon.kill()
                self.daemon.wait()
