"""What a worker tells the process that supervises it: its probes and its metrics, over a pipe, every second."""

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import BinaryIO, Self

import msgspec
from prometheus_client import CollectorRegistry, generate_latest

from forecaster.errors import BrokerUnavailableError, ForecasterError
from forecaster.web.endpoints import Probe

EVERY_S = 1.0
ORPHAN_S = 30.0


class Ending(msgspec.Struct, frozen=True):
    """Why a worker ends by a decision of its own: its line, its exit code, and whether all it lacked was a broker."""

    text: str
    exit_code: int
    broker_away: bool


class Report(msgspec.Struct, frozen=True):
    """What the probes answer, the metrics in the text format of Prometheus, and in the last one perhaps the ending."""

    probes: dict[str, bool] = {}
    metrics: str = ""
    ending: Ending | None = None


class Reports:
    """The worker's end of the pipe, in place of `Endpoints`: one line of JSON a report.

    Once nobody reads them any more the supervisor is dead, and the worker ends as after a SIGTERM.
    """

    port = None

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe  # not buffered, so that nothing is left over to write once it is broken
        self._registry = CollectorRegistry()
        self._probes: Mapping[str, Probe] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, name="reports", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        """Give the last report; an ending that is told in it is the supervisor's to print."""
        self._over.set()
        self._thread.join()
        ending = None
        if isinstance(error, ForecasterError):
            ending = Ending(str(error), error.exit_code, isinstance(error, BrokerUnavailableError))
        try:
            self._write(ending)
        except BrokenPipeError:
            return
        if ending is not None:
            raise SystemExit(ending.exit_code) from None

    def expose(self, registry: CollectorRegistry, probes: Mapping[str, Probe]) -> AbstractContextManager[Self]:
        """Report these metrics and probes from now on, up to the last report."""
        self._registry, self._probes = registry, probes
        return nullcontext(self)

    def _tell(self) -> None:
        try:
            while not self._over.is_set():
                self._write(None)
                self._over.wait(EVERY_S)
        except BrokenPipeError:
            os.kill(os.getpid(), signal.SIGTERM)
            if not self._over.wait(ORPHAN_S):
                os._exit(1)  # the main thread hangs where no signal reaches it

    def _write(self, ending: Ending | None) -> None:
        probes = {path: probe() for path, probe in self._probes.items()}
        report = Report(probes, generate_latest(self._registry).decode(), ending)
        left = memoryview(msgspec.json.encode(report) + b"\n")
        while left:
            left = left[self._pipe.write(left) :]


def report_pipe() -> BinaryIO:
    """Standard output for reports alone: whatever else is printed goes to standard error from now on."""
    pipe = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return pipe
