"""Rows that damage the state topic while no worker runs, by the documented layout of its records.

A key is `<group>/<partition>/<part>`: a manifest `m0` or `m1`, and the pieces `f0/<n>`, `d0/<n>`
and so on that it counts. A manifest is {"sha256": …, "checkpoint": {"format_version": …}}.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping

from integration.helpers import create_topics, produce, unique, wait_until

from chaos.ledger import Tally
from chaos.scene import Scene, read_settled
from chaos.worker import Worker

LOAD = 3_000
SETTLING_ROUNDS = 200
State = dict[tuple[int, bytes], bytes]  # (partition of the state topic, key): newest value
Changes = Mapping[tuple[int, bytes], bytes | None]


def corrupt(state: State, scene: Scene) -> Changes:
    """One byte of every piece is another."""
    del scene
    pieces = {place: value for place, value in state.items() if not _is_manifest(place)}
    return {place: value[:-1] + bytes([value[-1] ^ 1]) for place, value in pieces.items()}


def missing(state: State, scene: Scene) -> Changes:
    """The first piece of every copy is gone."""
    del scene
    return {place: None for place in state if not _is_manifest(place) and place[1].endswith(b"/0")}


def newer_format(state: State, scene: Scene) -> Changes:
    """Every manifest is of a format that does not exist yet."""
    del scene
    return {place: _of_format(value, 1_000) for place, value in state.items() if _is_manifest(place)}


def other_bundle(state: State, scene: Scene) -> Changes:
    """Everything comes from a daemon with other weights, which has read the same ticks."""
    bundle = scene.rig.folder / "other-bundle"
    if not bundle.exists():
        scene.rig.zygote.bundle(bundle, seed=2)
    group, topics = unique("other"), {**scene.topics, "output": unique("output"), "dead": unique("dead")}
    topics["state"] = unique("state")
    bootstrap, count = scene.rig.broker.bootstrap, scene.ticks.partitions
    create_topics(bootstrap, {topics["output"]: count, topics["dead"]: 1, topics["state"]: count})
    config = scene.config(bootstrap, 0, bundle=bundle, topics=topics, group=group)
    worker = Worker(scene.rig.zygote, config, topics).start()
    wait_until(lambda: scene.behind(group) <= 0, 120, what="the other daemon to read everything")
    wait_until(lambda: _whole(read_state(scene, topics["state"]), count), 30, what="its checkpoints")
    worker.kill()
    theirs = read_state(scene, topics["state"])
    renamed = {
        (number, key.replace(group.encode(), scene.group.encode(), 1)): value for (number, key), value in theirs.items()
    }
    rounds = scene.produced // scene.ticks.series
    scene.unsettled |= {(s, r) for s in range(scene.ticks.series) for r in range(rounds, rounds + SETTLING_ROUNDS)}
    return {**dict.fromkeys(state), **renamed}


# What is done to the state topic, and the word for it in the daemon's log.
DAMAGES: dict[str, tuple[Callable[[State, Scene], Changes], str]] = {
    "state-corrupt": (corrupt, "corrupt"),
    "state-missing": (missing, "missing"),
    "state-newer-format": (newer_format, "newer_format"),
    "state-other-bundle": (other_bundle, "bundle"),
}


def damaged(name: str) -> Callable[[Scene, int], Tally]:
    """The fault of that name: stop, damage, start, and look at what the daemon says of it."""
    change, word = DAMAGES[name]

    def damage(scene: Scene, turn: int) -> Tally:
        del turn
        worker = scene.running()
        scene.feed(LOAD)
        wait_until(lambda: scene.behind() == 0, 60, what="the end of the ticks")
        wait_until(lambda: _whole(read_state(scene), scene.ticks.partitions), 60, what="checkpoints")
        worker.terminate()
        changes = change(read_state(scene), scene)
        _write(scene, changes)
        fresh = scene.running()
        scene.feed(scene.ticks.series)
        wait_until(lambda: scene.behind() == 0, 120, what="the ticks after it")
        wrong = [f"no event says {word}"] if not _says(fresh, word) else []
        if not re.search(rf"^forecaster_\w+\{{.*{word}.*\}} [1-9]", fresh.get("/metrics"), re.MULTILINE):
            wrong.append(f"no metric counts {word}")
        return {"faults": 1, "records_changed": len(changes), "broken": len(wrong), "why": wrong}

    return damage


def read_state(scene: Scene, topic: str | None = None) -> State:
    """The newest value of every key of a state topic."""
    state: State = {}
    for record in read_settled(scene.rig.broker.bootstrap, topic or scene.topics["state"]):
        if record.value is None:
            state.pop((record.partition, record.key), None)
        else:
            state[record.partition, record.key] = record.value
    return state


def _write(scene: Scene, changes: Changes) -> None:
    records = [{"partition": number, "key": key, "value": value} for (number, key), value in changes.items()]
    produce(scene.rig.broker.bootstrap, scene.topics["state"], records)


def _whole(state: State, partitions: int) -> bool:
    """Whether every partition has a manifest."""
    return len({key.split(b"/")[-2] for number, key in state if _is_manifest((number, key))}) == partitions


def _is_manifest(place: tuple[int, bytes]) -> bool:
    return place[1].rpartition(b"/")[2] in {b"m0", b"m1"}


def _of_format(value: bytes, version: int) -> bytes:
    """A manifest with another format version and the checksum that belongs to it."""
    content = json.loads(value)["checkpoint"]
    body = json.dumps({**content, "format_version": version}, separators=(",", ":")).encode()
    return b'{"sha256":"' + hashlib.sha256(body).hexdigest().encode() + b'","checkpoint":' + body + b"}"


def _says(worker: Worker, word: str) -> bool:
    return any(word in json.dumps(event) for event in worker.events())
