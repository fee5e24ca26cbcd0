"""Rows of ten million: records that nobody should send, and more series than are kept."""

import importlib.util
import os
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
from integration.helpers import configure_topic
from kafka import KafkaConsumer, TopicPartition

from chaos.ledger import Tally
from chaos.scene import Scene
from chaos.worker import ROOT, Worker

COUNT = int(os.environ.get("CHAOS_VOLUME", "10000000"))  # fewer only to try the row out
MOST_SERIES = 200_000
MOST_RESIDENT_MB = 2_000.0
KEPT_BYTES = str(256 * 2**20)  # of the output, by partition: nobody reads it here
WITHIN = 3 * 3600.0


def hostile(scene: Scene, turn: int) -> Tally:
    """Ten million hostile records: each tick has one outcome, each bad record one dead letter, no crash."""
    del turn
    if importlib.util.find_spec("hostile") is None:
        return {"faults": 0, "skipped": "tests/hostile.py is not there"}
    told, worker, most = _through(scene, "hostile", COUNT)
    outcomes, letters = worker.metric("forecaster_ticks_total"), worker.metric("forecaster_dead_letters_total")
    worker.terminate()
    in_topic = _sources(scene)
    wrong = [] if outcomes == told["ticks"] else [f"{outcomes:.0f} outcomes of {told['ticks']} ticks"]
    odd = {letters, in_topic} - {told["letters"]}
    wrong += [f"{counted:.0f} dead letters of {told['letters']} bad records" for counted in odd]
    return _tally(told["records"], most, wrong) | {"outcomes": int(outcomes), "letters": int(letters)}


def keys(scene: Scene, turn: int) -> Tally:
    """Ten million series, one tick each, of which 200,000 are kept."""
    del turn
    told, worker, most = _through(scene, "keys", COUNT)
    outcomes, series = worker.metric("forecaster_ticks_total"), worker.metric("forecaster_series")
    worker.terminate()
    wrong = [] if outcomes == told["ticks"] else [f"{outcomes:.0f} outcomes of {told['ticks']} ticks"]
    if series > MOST_SERIES:
        wrong.append(f"{series:.0f} series are kept")
    return _tally(told["records"], most, wrong) | {"outcomes": int(outcomes), "series_kept": int(series)}


def _sources(scene: Scene) -> int:
    """How many dead letters the topic has; of a record that has more than one, all but one count double."""
    topic, found = scene.topics["dead"], []
    options = {"isolation_level": "read_committed", "enable_auto_commit": False, "auto_offset_reset": "earliest"}
    with closing(KafkaConsumer(bootstrap_servers=scene.rig.broker.bootstrap, **options)) as consumer:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        ends = consumer.end_offsets(parts)
        while any(consumer.position(part) < end for part, end in ends.items()):
            for rows in consumer.poll(timeout_ms=100, max_records=5_000).values():
                found += [_number(dict(row.headers)["forecaster-source"]) for row in rows]
    return 2 * len(found) - len(np.unique(np.array(found, np.int64)))


def _number(source: bytes) -> int:
    _, partition, offset = source.rsplit(b"/", 2)
    return int(partition) << 40 | int(offset)


def _through(scene: Scene, kind: str, count: int) -> tuple[dict[str, int], Worker, float]:
    """What was produced, the daemon that has taken all of it, and its most resident memory in MB."""
    bootstrap = scene.rig.broker.bootstrap
    for role in ("input", "output"):
        configure_topic(bootstrap, scene.topics[role], **{"segment.bytes": str(64 * 2**20)})
    configure_topic(bootstrap, scene.topics["output"], **{"retention.bytes": KEPT_BYTES})
    scene.poll = 5_000
    worker = scene.worker(state=f"max_series = {MOST_SERIES}").start()
    scene.wait_ready(worker)
    command = [sys.executable, "-m", "chaos.producing", kind, str(count), bootstrap, scene.topics["input"]]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": "/usr/bin:/bin"}
    producing = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)
    most, deadline, told = 0.0, time.monotonic() + WITHIN, None
    while told is None or scene.behind() > 0:
        most = max(most, worker.resident_mb())
        if worker.code is not None or time.monotonic() > deadline:
            raise AssertionError(f"after {WITHIN} s, or ended with {worker.code}: {worker.log()[-2000:]}")
        if told is None and producing.poll() is not None:
            told = dict(zip(("records", "ticks", "letters"), map(int, producing.stdout.read().split()), strict=True))
            scene.produced = told["records"]
        time.sleep(0.5)  # the step of the sampling
    return told, worker, most


def _tally(records: int, most: float, wrong: list[str]) -> Tally:
    if most > MOST_RESIDENT_MB:
        wrong.append(f"{most:.0f} MB resident")
    return {"faults": 1, "records": records, "most_resident_mb": round(most), "broken": len(wrong), "why": wrong}
