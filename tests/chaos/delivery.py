"""Rows of forecasts that cannot be delivered and of a network that cuts, delays and swallows."""

from integration.helpers import configure_topic, wait_until

from chaos.brokers import LOAD, stop_inside
from chaos.ledger import Tally
from chaos.scene import DELIVERY_SECONDS, TRANSACTION_SECONDS, Scene
from chaos.worker import Worker

SLACK = 3.0  # of a busy machine
DELIVERY_WITHIN = DELIVERY_SECONDS + 1 + SLACK
STEP_WITHIN = DELIVERY_SECONDS + TRANSACTION_SECONDS + SLACK


def undeliverable(scene: Scene, turn: int) -> Tally:
    """Raise the output topic's min.insync.replicas in mid-transaction, so that no forecast can be delivered."""
    broker, output = scene.rig.broker, scene.topics["output"]
    worker = scene.running(proxied=True)
    known = len(worker.events("broker_failure"))
    worker.arm("forecast-sent" if turn % 2 or not scene.rig.exactly_once else "begun", 1 + turn % 3)
    scene.feed(LOAD)
    if not worker.wait_stopped(30.0):
        raise AssertionError("the worker has sent nothing")
    configure_topic(broker.bootstrap, output, **{"min.insync.replicas": "2"})
    worker.resume()
    seconds = _noticed(worker, known, DELIVERY_WITHIN)
    configure_topic(broker.bootstrap, output, **{"min.insync.replicas": "1"})
    return _went_on(scene, worker, known, seconds, DELIVERY_WITHIN)


def cut_commit(scene: Scene, turn: int) -> Tally:
    """Cut the connection once the broker has been given an EndTxn, before its answer comes back."""
    del turn
    worker, proxy = scene.running(proxied=True), scene.rig.proxy
    known, before = len(worker.events("broker_failure")), proxy.cut_done
    proxy.cuts = 1
    scene.feed(LOAD)
    wait_until(lambda: proxy.cut_done > before, 60, what="an EndTxn to cut at")
    return _went_on(scene, worker, known, 0.0, STEP_WITHIN)


def latency(scene: Scene, turn: int) -> Tally:
    """Hold up every piece in both directions, from a fifth of a second to most of a deadline."""
    worker, proxy = scene.running(proxied=True), scene.rig.proxy
    known = len(worker.events("broker_failure"))
    proxy.latency = (0.2, 0.5, 1.0, 0.45 * DELIVERY_SECONDS)[turn % 4]
    scene.feed(LOAD // 2)
    wait_until(
        lambda: scene.behind() == 0 or len(worker.events("broker_failure")) > known, 120, what="progress or a failure"
    )
    proxy.heal()
    return _went_on(scene, worker, known, 0.0, STEP_WITHIN)


def half_open(scene: Scene, turn: int) -> Tally:
    """Swallow everything in mid-transaction, also new connections; when the network heals, these stay dead."""
    worker, proxy = scene.running(proxied=True), scene.rig.proxy
    known = len(worker.events("broker_failure"))
    label = stop_inside(scene, worker, turn)
    proxy.swallowing = True
    worker.resume()
    seconds = _noticed(worker, known, STEP_WITHIN)
    proxy.heal()
    return _went_on(scene, worker, known, seconds, STEP_WITHIN) | {"inside": {label: 1}}


def _noticed(worker: Worker, known: int, limit: float) -> float:
    """Seconds until the daemon says that a step has failed."""
    return worker.wait_event("broker_failure", known, 3 * limit)


def _went_on(scene: Scene, worker: Worker, known: int, seconds: float, limit: float) -> Tally:
    """The tally of a fault that was noticed after `seconds`, once ticks are committed again."""
    scene.wait_progress(timeout=120)
    late = [f"a step ended after {seconds:.1f} s, not {limit:g}"] if seconds > limit else []
    logged = len(worker.events("broker_failure")) - known
    tally = {"faults": 1, "failures_logged": logged, "broken": len(late), "why": late}
    return tally | {"longest_step_seconds": round(seconds, 2)}
