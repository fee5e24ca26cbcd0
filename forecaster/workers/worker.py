"""One of several workers, as the process that supervises it sees it."""

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

import msgspec

from forecaster.errors import WorkerError
from forecaster.telemetry.logs import event
from forecaster.workers.reports import Report
from forecaster.workers.totals import Totals

LONGEST_PAUSE_S = 30.0
STEADY_S = 60.0  # a worker that has lived for so long is started again at once

Clock = Callable[[], float]


class Worker:
    """One place among the workers: its process, while there is one, and what that has told. `clock` gives seconds."""

    def __init__(self, index: int, command: Sequence[str], totals: Totals, clock: Clock) -> None:
        self.index, self.due = index, 0.0
        self.report = Report()
        self.served = False  # ever
        self._command, self._totals, self._clock = command, totals, clock
        self._process: subprocess.Popen[bytes] | None = None
        self._reader = threading.Thread()
        self._began = self._heard = self._pause = 0.0

    def start(self) -> None:
        """Start its process, in a session of its own: the terminal's Ctrl-C is the supervisor's to pass on."""
        self._began = self._heard = self._clock()
        try:
            self._process = subprocess.Popen(  # noqa: S603  # our own command
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise WorkerError(f"worker {self.index} cannot be started: {error}", 1) from error
        event("worker_started", worker=self.index, pid=self._process.pid)
        self._reader = threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True)
        self._reader.start()

    def _listen(self, reports: IO[bytes]) -> None:
        with reports:
            for line in reports:
                try:
                    self._hear(msgspec.json.decode(line, type=Report))
                except msgspec.DecodeError:  # printed before it took its output for reports, or cut by its death
                    event("no_report", logging.WARNING, worker=self.index, text=line[:200].decode("utf-8", "replace"))

    def _hear(self, report: Report) -> None:
        self.report, self._heard = report, self._clock()
        self._totals.tell(self.index, report.metrics)
        self.served |= self.says("/startupz")

    @property
    def running(self) -> bool:
        """Whether it has a process that is not buried."""
        return self._process is not None

    def ended(self) -> int | None:
        """The exit code of its process (negative: the signal) once that has ended and all that it told is read."""
        code = None if self._process is None else self._process.poll()
        if code is not None:
            self._reader.join()
        return code

    def why(self) -> str:
        """The line that its process ended with, or by what it died."""
        if self.report.ending is not None:
            return self.report.ending.text
        code = self.ended() or 0
        return f"worker {self.index} ended " + (f"with exit code {code}" if code >= 0 else f"by signal {-code}")

    def bury(self) -> float:
        """Keep the counts of a process that has ended; returns the seconds until the next one is due."""
        self._totals.keep(self.index)
        self._process, self.report = None, Report()
        now = self._clock()
        self._pause = 0.0 if now - self._began > STEADY_S else min(LONGEST_PAUSE_S, 2 * self._pause or 1.0)
        self.due = now + self._pause
        return self._pause

    def send(self, number: signal.Signals) -> None:
        """Pass a signal on."""
        if self._process is not None:
            self._process.send_signal(number)

    def says(self, path: str) -> bool:
        """What its probe `path` answered last; before it answers at all: no."""
        return self.report.probes.get(path, False)

    def turns(self, longest_s: float) -> bool:
        """Whether it lives: starting or waiting to be started, or with a loop that turned in the last `longest_s`."""
        heard = self._process is None or self._clock() - self._heard < longest_s
        return heard and self.report.probes.get("/livez", True)
