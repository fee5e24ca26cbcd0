"""Rows that take the broker away in mid-transaction, for a moment or for minutes."""

import random
import time

from integration.helpers import wait_until

from chaos.ledger import Tally
from chaos.scene import DELIVERY_SECONDS, TRANSACTION_SECONDS, Scene
from chaos.worker import Worker

INSIDE = ("begun", "forecast-sent", "acknowledged", "flushing", "flushed", "offsets", "offsets-sent", "committing")
INSIDE_ALWAYS = ("forecast-sent", "acknowledged", "flushing", "flushed", "offsets")
MOST_GROWTH_MB = 50.0
NOTICED_WITHIN = DELIVERY_SECONDS + TRANSACTION_SECONDS + 3.0  # of a step that can wait for both
LOAD = 2_000


def stop_inside(scene: Scene, worker: Worker, turn: int) -> str:
    """Give `worker` ticks and let it stop itself at one of the points inside of a transaction."""
    labels = INSIDE if scene.rig.exactly_once else INSIDE_ALWAYS
    label = labels[turn % len(labels)]
    worker.arm(label, random.Random(turn).randint(1, 3))
    scene.feed(LOAD)
    if not worker.wait_stopped(30.0):
        raise AssertionError(f"the worker has not come to {label}")
    return label


def broker_kill(scene: Scene, turn: int) -> Tally:
    """kill -9 of the broker in mid-transaction, and a restart."""
    return _outage(scene, turn, 0.0)


def broker_stop(seconds: float) -> object:
    """The fault of a broker that stays away for so long."""

    def stopped(scene: Scene, turn: int) -> Tally:
        return _outage(scene, turn, seconds)

    return stopped


def _outage(scene: Scene, turn: int, seconds: float) -> Tally:
    worker = scene.running()
    label = stop_inside(scene, worker, turn)
    known, before = len(worker.events("broker_failure")), worker.resident_mb()
    scene.rig.broker.stop()
    worker.resume()
    noticed = worker.wait_event("broker_failure", known, NOTICED_WITHIN) if seconds else 0.0
    most, wrong = _wait_out(worker, seconds)
    scene.rig.broker.start()
    scene.wait_progress(timeout=120)
    most = max(most, worker.resident_mb())
    tally = {"faults": 1, "outages": {label: 1}, "longest_unnoticed_seconds": round(noticed, 2)}
    wrong += [f"memory grew by {most - before:.0f} MB"] if most - before > MOST_GROWTH_MB else []
    return tally | {"most_growth_mb": round(most - before, 1), "broken": len(wrong), "why": wrong}


def _wait_out(worker: Worker, seconds: float) -> tuple[float, list[str]]:
    """Most resident memory in that time, and what was wrong: it must be alive and not ready."""
    deadline, most, wrong = time.monotonic() + seconds, 0.0, []
    while time.monotonic() < deadline:
        most = max(most, worker.resident_mb())
        if worker.is_ready():
            wrong.append("ready without a broker")
        if worker.get("/livez") != "ok\n":
            wrong.append("not alive")
        time.sleep(min(1.0, seconds))  # the outage itself
    return most, sorted(set(wrong))


def wait_for_failure_or_progress(scene: Scene, worker: Worker, known: int) -> None:
    """Wait until the worker has noticed a fault or has got past it."""
    before = scene.behind()
    wait_until(
        lambda: len(worker.events("broker_failure")) > known or scene.behind() < before,
        NOTICED_WITHIN, what="a noticed fault or progress",
    )  # fmt: skip
