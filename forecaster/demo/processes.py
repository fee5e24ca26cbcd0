"""The processes of the demo: its broker, `forecaster train` and `forecaster run`; none outlives it."""

import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Self

import orjson

from forecaster.errors import ForecasterError
from forecaster.kafka.embedded import HOST, EmbeddedBroker

READY_SECONDS = 180.0  # TensorFlow alone takes 5 to 13 s to import, more on a machine that is busy
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1

# Reads process ids line by line. Its input ends when the demo does, however that came about (SIGKILL included).
WATCH = """\
while read -r pid; do pids="$pids $pid"; done
kill $pids 2>/dev/null && sleep 1
kill -9 $pids 2>/dev/null
rm -rf {}
"""

# Names itself to the watchdog, its standard input, before it becomes a command: so none is ever missed.
NAMED = 'echo $$ >&0; exec "$@" </dev/null'


@contextmanager
def watchdog(folder: Path) -> Iterator[IO[bytes]]:
    """A shell that ends the processes named to it, and removes `folder`, should the demo itself be killed.

    The block gets the pipe that it reads process ids from.
    """
    command = ["/bin/sh", "-c", WATCH.format(shlex.quote(str(folder)))]
    shell = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)  # noqa: S603  # as above
    assert shell.stdin is not None  # noqa: S101  # for the type checker: it is a pipe
    try:
        yield shell.stdin
        shell.kill()  # not reached after an error: then it sees the end of its input and cleans up
    finally:
        shell.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            shell.wait(STOP_SECONDS)  # what two clear away at a time, neither can: a folder is not empty, a file gone
        shell.kill()
        shell.wait()


class Broker(EmbeddedBroker):
    """The embedded broker, watched, deaf to the Ctrl-C that is meant for the demo, and asked how it is."""

    def __init__(self, watch: IO[bytes]) -> None:
        super().__init__()
        self._watch = watch

    def __enter__(self) -> Self:
        """Start it with SIGINT blocked, which a child inherits."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().__enter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _wait(self) -> None:
        """It has just been started."""
        if self._process is not None:
            self._watch.write(b"%d\n" % self._process.pid)
            self._watch.flush()
        super()._wait()

    def check(self) -> None:
        """Raise `ForecasterError` when it has ended."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            raise ForecasterError(f"the broker of the demo ended {_cause(code)}: {self._last()}")


class Forecaster:
    """One `forecaster` command as a process of its own; stopped at the end of the block."""

    def __init__(self, arguments: Sequence[str], watch: IO[bytes], log: Path | None = None) -> None:
        self._name = arguments[0]
        self._command = ["/bin/sh", "-c", NAMED, "sh", sys.executable, "-m", "forecaster", *arguments]
        self._watch, self._log = watch, log
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self._log.open("wb") if self._log else nullcontext() as log:
            # A session of its own: the terminal's Ctrl-C reaches the demo alone, which ends this one in turn.
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                self._command, stdin=self._watch, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None:
            return
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        process.kill()  # does nothing where it has ended
        process.wait()

    def ended(self) -> int | None:
        """Its exit status, None while it runs."""
        return None if self._process is None else self._process.poll()

    def finish(self) -> None:
        """Wait for its end. Raises `ForecasterError` where that is not a good one."""
        while self.ended() is None:
            time.sleep(POLL_SECONDS)
        self.check("did not finish")

    def check(self, what: str = "ended") -> None:
        """Raise `ForecasterError` when it has ended with anything but success."""
        code = self.ended()
        if code:
            raise ForecasterError(f"forecaster {self._name} {what}: {_cause(code)}")


class Daemon(Forecaster):
    """`forecaster run`, which says in its log on which port its metrics are."""

    def __init__(self, config: Path, watch: IO[bytes], log: Path) -> None:
        super().__init__(["run", "--config", str(config)], watch, log)
        self._path = log

    def check(self, what: str = "ended while it was needed") -> None:
        """Raise `ForecasterError` when it has ended, however well."""
        code = self.ended()
        if code is not None:
            raise ForecasterError(f"the daemon {what}: {_cause(code)}")

    def wait_until_ready(self, meanwhile: Callable[[], None]) -> str:
        """The address of its endpoints, once /readyz says yes. Calls `meanwhile` again and again."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            self.check("ended before it was ready")
            meanwhile()
            address = self._address()
            if address is not None and _answers(f"{address}/readyz"):
                return address
            time.sleep(POLL_SECONDS)
        raise ForecasterError(f"the daemon was not ready within {READY_SECONDS:.0f} s")

    def last_lines(self, count: int = 10) -> list[str]:
        """The end of its log."""
        return self._lines()[-count:]

    def _lines(self) -> list[str]:
        return self._path.read_text("utf-8", "replace").splitlines() if self._path.exists() else []

    def page(self) -> str:
        """Where the live page is, as its log says."""
        return str(self._said("page", "address"))

    def _address(self) -> str | None:
        port = self._said("starting", "metrics_port")
        return None if port is None else f"http://{HOST}:{port}"

    def _said(self, event: str, field: str) -> object:
        """`field` of the first `event` in its log, None where there is none."""
        for line in self._lines():
            with suppress(orjson.JSONDecodeError):
                entry = orjson.loads(line)
                if isinstance(entry, dict) and entry.get("event") == event:
                    return entry[field]
        return None


def forget_environment() -> None:
    """Drop the settings in the environment: they win over a file, and are meant for another broker."""
    for name in [name for name in os.environ if name.startswith("FORECASTER_")]:
        del os.environ[name]


def _cause(code: int) -> str:
    return f"with exit code {code}" if code >= 0 else f"by {signal.Signals(-code).name}"


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310  # our own daemon
            return True
    except OSError:
        return False
