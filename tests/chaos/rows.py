"""The rows of the table: what each does, how often in a full run, and how many faults one stream takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chaos.brokers import broker_kill, broker_stop
from chaos.checkpoints import DAMAGES, damaged
from chaos.delivery import cut_commit, half_open, latency, undeliverable
from chaos.disks import clock_back, disk_full, no_space
from chaos.kills import kill, kill_points
from chaos.ledger import Tally, add, guarded
from chaos.members import rolling_restart, scale, twin, zombie
from chaos.operators import offsets_back, sigterm
from chaos.scene import Rig, Scene
from chaos.ticks import Ticks
from chaos.volume import hostile, keys

Fault = Callable[[Scene, int], Tally]


@dataclass(frozen=True)
class Row:
    """A fault that is done `full` times, `stretch` times to one stream before that is judged."""

    fault: Fault
    full: int
    stretch: int
    judged: bool = True  # False: the fault is done to a stream of its own and judges that itself

    def run(self, rig: Rig, done: int, upto: int) -> Tally:
        """One stretch, from fault `done` to at most `upto`, on a stream of its own."""
        started = time.monotonic()
        tally: Tally = {}
        late = 3 if done // self.stretch % 2 else 0  # every other stream holds ticks back to put them in order
        with Scene(rig, Ticks(shuffled=late, stream=rig.stream)) as scene:
            for turn in range(done, min(upto, done + self.stretch)):
                add(tally, self.fault(scene, turn))
            if self.judged and tally["faults"]:
                add(tally, scene.verdict())
        return {**tally, "seconds": round(time.monotonic() - started, 1)}


ROWS: dict[str, Row] = {
    "kill": Row(kill, 500, 25),
    "broker-kill": Row(broker_kill, 50, 10),
    "broker-stop-70s": Row(broker_stop(70.0), 1, 1),
    "broker-stop-10min": Row(broker_stop(600.0), 1, 1),
    "scale": Row(scale(4), 50, 10),
    "rolling-restart": Row(rolling_restart, 10, 10),
    "zombie": Row(zombie, 20, 5),
    "twin": Row(twin, 20, 5),
    "undeliverable": Row(undeliverable, 20, 10),
    "cut-commit": Row(cut_commit, 20, 10),
    "latency": Row(latency, 20, 10),
    "half-open": Row(half_open, 20, 10),
    **{name: Row(damaged(name), 2, 1) for name in DAMAGES},
    "offsets-back": Row(offsets_back, 1, 1),
    "sigterm": Row(sigterm, 50, 10),
    "disk-full": Row(disk_full, 1, 1, judged=False),
    "no-space": Row(no_space, 1, 1),
    "clock-back": Row(clock_back, 1, 1, judged=False),
    "hostile": Row(hostile, 1, 1, judged=False),
    "keys": Row(keys, 1, 1, judged=False),
}
NEEDS_TRANSACTIONS = {"cut-commit", "twin", *DAMAGES}  # they make no sense with at_least_once

# One stream that all of these happen to, one after the other.
SHORT: dict[str, Fault] = {
    "broker-kill": broker_kill,
    "scale": scale(2),
    "sigterm": sigterm,
    "zombie": zombie,
    "undeliverable": undeliverable,
    "cut-commit": cut_commit,
    **{name: damaged(name) for name in DAMAGES},
}


def run_short(rig: Rig) -> dict[str, Tally]:
    """Each fault of the short run once, on one stream that is judged at the end: figures by row and of the stream."""
    rows: dict[str, Tally] = {}
    started = time.monotonic()
    with Scene(rig, Ticks(stream=rig.stream)) as scene:
        for turn in range(len(kill_points(exactly_once=rig.exactly_once))):
            add(rows.setdefault("kill", {}), guarded(partial(kill, scene, turn)))
        for name, fault in SHORT.items():
            if rig.exactly_once or name not in NEEDS_TRANSACTIONS:
                begun = time.monotonic()
                rows[name] = guarded(partial(fault, scene, 0))
                rows[name]["seconds"] = round(time.monotonic() - begun, 1)
        rows["stream"] = guarded(scene.verdict)
    rows["stream"]["seconds"] = round(time.monotonic() - started, 1)
    return rows
