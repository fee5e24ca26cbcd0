"""Rows of what an operator does: stop the daemon under load, set the group's offsets back."""

import random
import time
from contextlib import closing
from typing import Any

from integration.helpers import wait_until
from kafka import KafkaAdminClient, OffsetAndMetadata, TopicPartition

from chaos.ledger import Tally
from chaos.oracle import Published
from chaos.scene import Scene

GRACE_SECONDS = 30.0  # kafka.shutdown_timeout
LOAD = 2_000


def sigterm(scene: Scene, turn: int) -> Tally:
    """SIGTERM under load; every other time the broker is down."""
    worker = scene.running()
    scene.feed(LOAD)
    time.sleep(random.Random(turn).uniform(0.0, 1.0))  # the fault itself: anywhere in the stream
    down = turn % 2 == 1
    if down:
        scene.rig.broker.stop()
    started = time.monotonic()
    code = worker.terminate()
    seconds = time.monotonic() - started
    if down:
        scene.rig.broker.start()
    wrong = [f"it took {seconds:.1f} s"] if seconds > GRACE_SECONDS + 1 else []
    if code not in ((0, 1) if down else (0,)):
        wrong.append(f"it ended with {code}")
    figures = {"longest_stop_seconds": round(seconds, 2), "broken": len(wrong), "why": wrong}
    return {"faults": 1, "with_broker_down": int(down), **figures}


def offsets_back(scene: Scene, turn: int) -> Tally:
    """Set the offsets back by 10,000 records while no worker runs: each of them is forecast once more."""
    del turn
    records, partitions = 10_000, scene.ticks.partitions
    worker = scene.running()
    scene.feed(2 * records)
    wait_until(lambda: scene.behind() == 0, 120, what="the end of the ticks")
    worker.terminate()
    back = {number: offset - records // partitions for number, offset in scene.committed().items()}
    first = Published(scene.read("output"))
    scene.again |= {place for place, (partition, offset) in first.source.items() if offset >= back[partition]}
    letters = {bytes(record.value): _source(record) for record in scene.read("dead")}
    scene.letters_again |= {value for value, (partition, offset) in letters.items() if offset >= back[partition]}
    offsets = {
        TopicPartition(scene.topics["input"], number): OffsetAndMetadata(offset, "", -1)
        for number, offset in back.items()
    }
    with closing(KafkaAdminClient(bootstrap_servers=scene.rig.broker.bootstrap)) as admin:
        admin.alter_group_offsets(scene.group, offsets)
    scene.running()
    wait_until(lambda: scene.behind() == 0, 120, what="the end of the ticks again")
    return {"faults": 1, "records_again": records, "forecasts_again": len(scene.again)}


def _source(letter: Any) -> tuple[int, int]:
    """Partition and offset of the record that a dead letter is made of."""
    _, partition, offset = dict(letter.headers)["forecaster-source"].rsplit(b"/", 2)
    return int(partition), int(offset)
