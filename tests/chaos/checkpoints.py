"""Rows that damage the state topic while no worker runs, by the documented layout of its records.

A key is `<group>/<partition>/<part>`: a manifest `m0` or `m1`, and the pieces `f0/<n>`, `d0/<n>`
and so on that it counts. A manifest is {"sha256": …, "checkpoint": {"format_version": …}}.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from integration.helpers import produce, unique, wait_until

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
        scene.rig.zygote.bundle(bundle, scene.ticks.stream, seed=2)
    group, topics = unique("other"), scene.other_topics()
    bootstrap, count = scene.rig.broker.bootstrap, scene.ticks.partitions
    config = scene.config(bootstrap, 0, bundle=bundle, topics=topics, group=group)
    worker = Worker(scene.rig.zygote, config, topics).start()
    wait_until(lambda: scene.behind(group) <= 0, 120, what="the other daemon to read everything")
    wait_until(lambda: _whole(read_state(scene, topics["state"]), count), 30, what="its checkpoints")
    worker.kill()
    theirs = read_state(scene, topics["state"])
    renamed = {
        (number, key.replace(group.encode(), scene.group.encode(), 1)): value for (number, key), value in theirs.items()
    }
    rounds = scene.produced // scene.ticks.series - scene.ticks.shuffled  # those held back are forecast after it
    settling = [scene.ticks.time_ms(round_) for round_ in range(rounds, rounds + SETTLING_ROUNDS)]
    scene.unsettled |= {(series, time_ms) for series in range(scene.ticks.series) for time_ms in settling}
    return {**dict.fromkeys(state), **renamed}


class Damage(NamedTuple):
    """What is done to the state topic, how the daemon's log names it, and its metric's label."""

    change: Callable[[State, Scene], Changes]
    text: str
    label: str


DAMAGES = {
    "state-corrupt": Damage(corrupt, "not as its sha256 says", 'reason="corrupt"'),
    "state-missing": Damage(missing, "is not there", 'reason="missing"'),
    "state-newer-format": Damage(newer_format, "is of format 1000", 'reason="newer_format"'),
    "state-other-bundle": Damage(other_bundle, '"source": "other_bundle"', 'source="other_bundle"'),
}


def damaged(name: str) -> Callable[[Scene, int], Tally]:
    """The fault of that name: stop, damage, start, and look at what the daemon says of it."""
    change, text, label = DAMAGES[name]

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
        said = any(text in json.dumps(event) for event in fresh.events())
        counted = re.search(rf"^forecaster_\w+{{.*{label}.*}} [1-9]", fresh.get("/metrics"), re.MULTILINE)
        wrong = [f"nothing {how}" for how, done in (("logged", said), ("counted", counted)) if not done]
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
