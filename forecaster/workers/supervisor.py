"""`workers = N`: one process for each worker, started again when it dies, and one endpoint for all of them."""

import logging
import os
import signal
import time
from collections.abc import Sequence
from types import FrameType

from forecaster.config import Settings
from forecaster.daemon import Expose, check, longest_turn_s
from forecaster.errors import WorkerError
from forecaster.telemetry.logs import event
from forecaster.telemetry.metrics import SupervisorMetrics
from forecaster.web.endpoints import Probe
from forecaster.workers.totals import Totals
from forecaster.workers.worker import Clock, Worker

LOOK_S = 0.1
ORDERLY = (0, -signal.SIGTERM)  # the second: before it had anything in hand


def supervise(settings: Settings, command: Sequence[str], expose: Expose) -> None:
    """Serve with `settings.workers` processes until a signal; each is `command --worker` and its `worker_index`."""
    check(settings)
    threads = max(1, _cores() // settings.workers)
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", str(threads))  # each would take every core
    totals, first = Totals(), settings.kafka.worker_index
    metrics = SupervisorMetrics(totals)
    workers = [
        Worker(index, [*command, "--worker", str(index)], totals, time.monotonic)
        for index in range(first, first + settings.workers)
    ]
    supervisor = Supervisor(workers, metrics, time.monotonic)
    probes = supervisor.probes(longest_turn_s(settings))
    with expose(metrics.registry, probes) as exposed:
        event("supervising", metrics_port=exposed.port, workers=settings.workers)
        supervisor.stop_on_signals()
        supervisor.run(settings.kafka.shutdown_timeout / 1000)
        event("stopped")


def _cores() -> int:
    """The cores that this process may use; what is not Linux does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Supervisor:
    """Keeps `workers` running; `clock` gives seconds."""

    def __init__(self, workers: Sequence[Worker], metrics: SupervisorMetrics, clock: Clock) -> None:
        self._workers, self._metrics, self._clock = workers, metrics, clock
        self._signalled: float | None = None

    def probes(self, longest_s: float) -> dict[str, Probe]:
        """Each answers for all workers; a loop that has not turned for `longest_s` hangs."""
        return {
            "/startupz": lambda: all(worker.says("/startupz") for worker in self._workers),
            "/readyz": lambda: all(worker.says("/readyz") for worker in self._workers),
            "/livez": lambda: all(worker.turns(longest_s) for worker in self._workers),
        }

    def stop_on_signals(self) -> None:
        """First SIGTERM or SIGINT: end all workers in good order. A second SIGINT: leave at once."""

        def stop(number: int, _: FrameType | None) -> None:
            if self._signalled is not None and number == signal.SIGINT:
                self._send(signal.SIGKILL)
                os._exit(130)
            self._signalled = self._signalled or self._clock()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)

    def run(self, grace_s: float) -> None:
        """Until a signal, or an end of one worker that is that of all; then end them all within `grace_s`.

        Raises `WorkerError` for such an end, or where a worker did not leave in good order.
        """
        try:
            for worker in self._workers:
                worker.start()
            while self._signalled is None:
                self.look()
                time.sleep(LOOK_S)
        finally:
            self.end((self._signalled or self._clock()) + grace_s)
        for worker in self._workers:
            if worker.running and worker.ended() not in ORDERLY:
                raise WorkerError(worker.why(), 1)

    def look(self) -> None:
        """Start workers again that have died, each after its pause; raises `WorkerError` where all must end."""
        for worker in self._workers:
            if worker.ended() is not None:
                self._bury(worker)
            elif not worker.running and self._clock() >= worker.due:
                self._metrics.restarts.inc()
                worker.start()

    def _bury(self, worker: Worker) -> None:
        """What a worker decided to end for would end the next one too, unless only the broker is away."""
        why, ending, code = worker.why(), worker.report.ending, worker.ended()
        if not worker.served or (ending is not None and not ending.broker_away):
            raise WorkerError(why, 2 if code == 2 else 1)
        event("worker_died", logging.WARNING, worker=worker.index, error=why, restart_seconds=worker.bury())

    def end(self, deadline: float) -> None:
        """End every worker, those that are left at `deadline` (of the clock) by SIGKILL."""
        event("stopping", workers=self._left())
        self._send(signal.SIGTERM)
        while self._left() and self._clock() < deadline:
            time.sleep(LOOK_S)
        if left := self._left():
            event("not_flushed", logging.ERROR, workers=left, error="not ended within kafka.shutdown_timeout")
            self._send(signal.SIGKILL)
        while self._left():
            time.sleep(LOOK_S)

    def _left(self) -> list[int]:
        return [worker.index for worker in self._workers if worker.running and worker.ended() is None]

    def _send(self, number: signal.Signals) -> None:
        for worker in self._workers:
            worker.send(number)
