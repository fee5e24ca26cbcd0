"""Rows of things that run out or run backwards: the broker's disk, the daemon's, and the clock."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from integration.helpers import wait_until
from integration.kafka_broker import KafkaBroker

from chaos.brokers import stop_inside
from chaos.ledger import Tally
from chaos.scene import Scene
from chaos.worker import Zygote

LOAD = 3_000
SMALL = {"log.index.size.max.bytes": "65536", "log.segment.bytes": "1048576"}
PLACES = ("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/lib")


def disk_full(scene: Scene, turn: int) -> Tally:
    """The broker's disk fills up in mid-stream, which ends it; space is made and it is started again."""
    del turn
    with small_disk(192) as disk:
        if disk is None:
            return {"faults": 0, "skipped": "a small file system cannot be mounted here"}
        broker = KafkaBroker({**SMALL, "log.dirs": str(disk / "data")})
        try:
            broker.start()
            return _filled(Scene(replace(scene.rig, broker=broker), scene.ticks), disk)
        finally:
            broker.close()


def _filled(scene: Scene, disk: Path) -> Tally:
    with scene:
        worker = scene.running()
        stop_inside(scene, worker, 0)
        fill(disk)
        worker.resume()
        wait_until(lambda: worker.events("broker_failure"), 60, what="a failure for want of space")
        (disk / "filler").unlink()
        scene.rig.broker.stop()
        scene.rig.broker.start()
        scene.wait_ready(worker)
        return {"faults": 1, **scene.verdict()}


def no_space(scene: Scene, turn: int) -> Tally:
    """A daemon whose every place for files is full goes on, and has no file open to write to but its log."""
    del turn
    with small_disk(1) as disk:
        if disk is None:
            return {"faults": 0, "skipped": "a small file system cannot be mounted here"}
        fill(disk)
        places = dict.fromkeys(("TMPDIR", "TMP", "TEMP", "HOME", "XDG_CACHE_HOME"), str(disk))
        worker = scene.worker(environment=places).start()
        scene.feed(LOAD)
        wait_until(lambda: scene.behind() == 0, 90, what="progress without space")
        written = [path for path in _written(worker.pid) if path != str(worker.log_path)]
        scene.drain(worker)
        worker.terminate()
        left = {path.name for path in disk.iterdir()} - {"filler"}
        wrong = [f"writes {path}" for path in written] + [f"left {name}" for name in left]
        return {"faults": 1, "files_written": len(written), "broken": len(wrong), "why": wrong}


def _written(pid: int) -> list[str]:
    """Regular files that a process has open for writing."""
    found = []
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            path = handle.readlink()
            flags = int(Path(f"/proc/{pid}/fdinfo/{handle.name}").read_text().split("flags:")[1].split()[0], 8)
            if flags & os.O_ACCMODE != os.O_RDONLY and path.is_file():
                found.append(str(path))
    return found


def clock_back(scene: Scene, turn: int) -> Tally:
    """The daemon's clock jumps back an hour in mid-stream (libfaketime)."""
    del turn
    library = next((f"{place}/faketime/libfaketime.so.1" for place in PLACES if Path(place, "faketime").is_dir()), None)
    if library is None:
        return {"faults": 0, "skipped": "libfaketime is not installed (Debian: faketime)"}
    clock = scene.rig.folder / "clock"
    clock.write_text("+0\n")
    faked = {"LD_PRELOAD": library, "FAKETIME_TIMESTAMP_FILE": str(clock), "FAKETIME_NO_CACHE": "1"}
    zygote = Zygote(scene.rig.folder / "compiled", scene.rig.zygote.client, **faked, FAKETIME_DONT_FAKE_MONOTONIC="1")
    try:
        with Scene(replace(scene.rig, zygote=zygote), scene.ticks) as faked_scene:
            worker = faked_scene.running()
            faked_scene.feed(LOAD)
            faked_scene.wait_progress()
            clock.write_text("-1h\n")
            for _ in range(5):
                faked_scene.feed(LOAD)
                wait_until(lambda: faked_scene.behind() == 0, 60, what="progress after the jump")
            worker.terminate()
            first, last = (event["time"] for event in (worker.events()[0], worker.events()[-1]))
            wrong = [] if last < first else [f"its clock went from {first} to {last}"]
            return {"faults": 1, "broken": len(wrong), "why": wrong, **faked_scene.verdict()}
    finally:
        zygote.close()


@contextmanager
def small_disk(megabytes: int) -> Iterator[Path | None]:
    """A file system of that size; None where this user may not mount one."""
    folder = Path(tempfile.mkdtemp(prefix="forecaster-disk-"))
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        folder.rmdir()


def fill(disk: Path) -> None:
    """Leave not a byte."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
