"""Rows of the consumer group: workers that come and go, a zombie, and two of one identity."""

import struct
import time

from integration.helpers import read_topic, wait_until

from chaos.brokers import stop_inside
from chaos.ledger import Tally
from chaos.scene import SESSION_SECONDS, Scene
from chaos.worker import Worker

LOAD = 1_000
PATIENT_SECONDS = 45  # the default: within it a restart must be done, also on a busy machine
SETTLED_SECONDS = 4.0  # several heartbeats, which is how members hear of a rebalance


def scale(workers: int) -> object:
    """The fault of a group that grows from one to so many workers in mid-stream, and shrinks back to one."""

    def scaled(scene: Scene, turn: int) -> Tally:
        first = scene.running()
        scene.feed(LOAD)
        others = [scene.worker(index).start() for index in range(1, workers)]
        scene.feed(LOAD)
        scene.wait_ready(*others)
        wait_until(lambda: all(worker.events("partition_restored") for worker in others), 60, what="a part for each")
        scene.feed(LOAD)
        wait_until(lambda: scene.behind() < LOAD, 60, what="progress with all workers")
        for number, worker in enumerate(others):
            leave = worker.terminate if (turn + number) % 2 == 0 else worker.kill  # leave the group, or be missed
            leave()
        scene.feed(LOAD)
        wait_until(lambda: scene.behind() == 0, 120, what="the end with one worker again")
        scene.wait_ready(first)
        return {"faults": 1}

    return scaled


def rolling_restart(scene: Scene, turn: int) -> Tally:
    """Restart each of three static members in turn; the group must not notice."""
    del turn
    scene.session = PATIENT_SECONDS
    workers = scene.alive() or [scene.worker(index, static=True).start() for index in range(3)]
    scene.feed(LOAD)
    scene.wait_ready(*workers)
    wait_until(lambda: scene.behind() == 0, 60, what="progress")
    generation = _settled_generation(scene)
    for index, worker in enumerate(workers):
        scene.feed(LOAD)
        if worker.terminate() != 0:
            raise AssertionError(f"no clean end: {worker.log()[-500:]}")
        scene.wait_ready(scene.worker(index, static=True).start())
    wait_until(lambda: scene.behind() == 0, 120, what="the end of the ticks")
    moved = group_generation(scene) - generation
    why = [f"{moved} new generations"] if moved else []
    return {"faults": 1, "generations": moved, "broken": len(why), "why": why}


def _settled_generation(scene: Scene) -> int:
    """The generation once it has stayed the same for a while: partitions move to new members in two steps."""
    seen, since = group_generation(scene), time.monotonic()
    while time.monotonic() - since < SETTLED_SECONDS:
        newest = group_generation(scene)
        if newest != seen:
            seen, since = newest, time.monotonic()
    return seen


def group_generation(scene: Scene) -> int:
    """The group's generation, as the broker keeps it in its own topic."""
    newest = -1
    for record in read_topic(scene.rig.broker.bootstrap, "__consumer_offsets"):
        version, length = struct.unpack_from(">hh", record.key)
        if version == 2 and record.key[4 : 4 + length].decode() == scene.group and record.value:
            (size,) = struct.unpack_from(">h", record.value, 2)
            newest = struct.unpack_from(">i", record.value, 4 + size)[0]
    return newest


def zombie(scene: Scene, turn: int) -> Tally:
    """Stop a worker inside of a transaction past its session, let another take over, and wake it up."""
    sleeper = scene.running()
    label = stop_inside(scene, sleeper, turn)
    heir = scene.worker(1 + turn % 2).start()  # by turns one with another identity, and a third
    stopped = time.monotonic()
    wait_until(lambda: scene.behind() == 0, 6 * SESSION_SECONDS + 30, what="the heir to take everything")
    wait_until(lambda: time.monotonic() - stopped > SESSION_SECONDS + 1, 60, what="the end of the session")
    published = _ends(scene)
    sleeper.resume()
    wait_until(lambda: sleeper.code is not None or _noticed(sleeper), 60, what="the zombie to notice")
    after = _ends(scene)
    wrong = [f"the zombie published: {published} became {after}"] if after != published else []
    if sleeper.code is None:
        sleeper.terminate()
    scene.feed(LOAD)
    wait_until(lambda: scene.behind() == 0, 60, what="the heir to go on")
    return {"faults": 1, "asleep": {label: 1}, "broken": len(wrong), "why": wrong, "heirs": int(heir.code is None)}


def _noticed(worker: Worker) -> bool:
    """Whether it said that it failed or lost its partitions; one that ended is as good."""
    return bool(worker.events("broker_failure") or worker.events("partition_dropped"))


def _ends(scene: Scene) -> int:
    """How many forecasts are committed."""
    return len(scene.read("output"))


def twin(scene: Scene, turn: int) -> Tally:
    """Start a second worker with the same identity: the first one is fenced and says so."""
    del turn
    first = scene.running()
    second = scene.worker(0).start()
    deadline = time.monotonic() + 60
    while first.code is None and second.code is None and time.monotonic() < deadline:
        scene.feed(40)
    loser, keeper = (first, second) if first.code is not None else (second, first)
    wrong = []
    if loser.code != 1:
        wrong.append(f"the fenced one ended with {loser.code}")
    elif not (last := loser.log().strip().splitlines()[-1]).startswith("forecaster: "):
        wrong.append(f"its last line is {last[:200]}")
    if keeper.code is not None:
        wrong.append("both ended")
    wait_until(lambda: scene.behind() == 0, 60, what="the end of the ticks")
    return {"faults": 1, "broken": len(wrong), "why": wrong}
