"""The live page as the daemon sees it: a process that is told the metrics, and started again if it dies."""

import logging
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec

import orjson
from prometheus_client import CollectorRegistry, generate_latest

from forecaster.config import WebSettings
from forecaster.daemon import Expose, Exposed
from forecaster.errors import ConfigError
from forecaster.telemetry.logs import event
from forecaster.telemetry.metrics import PageMetrics
from forecaster.web.endpoints import Probe

EVERY_S = 1.0
LONGEST_PAUSE_S = 30.0
STOP_S = 3.0
BACKLOG = 128  # connections that wait to be taken
SEND_BUFFER = 2**17  # bytes: without it Linux holds megabytes of old frames for a slow viewer


class PageProcess:
    """Holds the page's socket, so that a port in use is found at the start and viewers outlast the page's process."""

    def __init__(self, web: WebSettings, command: Sequence[str]) -> None:
        """`command` serves the page on the socket whose number is put behind it."""
        self._socket, self._command = listen(web), command
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        host, port = self._socket.getsockname()[:2]
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # where it listens anywhere
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    @contextmanager
    def showing(self, registry: CollectorRegistry) -> Iterator[None]:
        """Within the block the page is served, and shows the metrics of `registry`."""
        metrics = PageMetrics(registry)
        thread = threading.Thread(target=self._keep, args=(metrics,), name="page", daemon=True)
        with self._socket:
            event("page", address=self.address)
            thread.start()
            try:
                yield
            finally:
                self._stop(thread)

    def _keep(self, metrics: PageMetrics) -> None:
        """Have a process that serves, until the end; after each death a longer pause."""
        pause = 0.0
        while not self._stopping.wait(pause):
            if pause:
                metrics.restarts.inc()
            began, code = time.monotonic(), self._serve(metrics.registry)
            if self._stopping.is_set():
                return
            pause = 1.0 if time.monotonic() - began > LONGEST_PAUSE_S else min(LONGEST_PAUSE_S, 2 * pause or 1.0)
            event("page_ended", logging.WARNING, exit_code=code, restart_seconds=pause)

    def _serve(self, registry: CollectorRegistry) -> int:
        """One process from start to end, told the metrics; its exit code."""
        number = self._socket.fileno()
        with subprocess.Popen(  # noqa: S603  # our own command
            [*self._command, str(number)], stdin=subprocess.PIPE, pass_fds=[number], start_new_session=True
        ) as process:
            self._process = process
            assert process.stdin is not None  # noqa: S101  # for the type checker: it is a pipe
            with suppress(BrokenPipeError):
                while process.poll() is None and not self._stopping.is_set():
                    process.stdin.write(orjson.dumps(generate_latest(registry).decode()) + b"\n")
                    process.stdin.flush()
                    self._stopping.wait(EVERY_S)
            with suppress(BrokenPipeError):
                process.stdin.close()
            return process.wait()

    def _stop(self, thread: threading.Thread) -> None:
        self._stopping.set()
        process = self._process
        if process is not None:
            process.terminate()
            thread.join(STOP_S)
            process.kill()  # does nothing where it has ended
        thread.join(STOP_S)


def beside_page(expose: Expose, page: PageProcess) -> Expose:
    """`expose`, and the page for as long."""

    @contextmanager
    def both(registry: CollectorRegistry, probes: Mapping[str, Probe]) -> Iterator[Exposed]:
        with expose(registry, probes) as exposed, page.showing(registry):
            yield exposed

    return both


def listen(web: WebSettings) -> socket.socket:
    """The page's socket; raises `ConfigError` for what is not installed or cannot be listened on."""
    for package in ("starlette", "uvicorn"):
        if find_spec(package) is None:
            raise ConfigError(f'web.enabled: {package} is not installed: pip install "forecaster[web]"')
    try:
        found = socket.getaddrinfo(web.host, web.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = found[0]
        listening = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"web.port: cannot listen on {web.host}:{web.port}: {error}") from error
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
    return listening
