"""Rows that kill the daemon: at every labelled point, and at random times."""

import random
import time

from chaos.ledger import Tally
from chaos.scene import Scene
from chaos.traps import LABELS

RANDOM = "random"
OF_BOTH = ("polled", "replaying", "forecast-sent", "letter-sent", "acknowledged", "flushing", "flushed", "offsets")
LATER = ("restoring", "replaying")  # there must be a checkpoint
KILL_TICKS = 2_000
STATIC = 25  # so many kills of a static member, which its successor replaces at once, then so many of another
REACHED_WITHIN = 40.0


def kill_points(*, exactly_once: bool) -> list[str]:
    """Every label that the delivery has, those of a restore last, and random times."""
    labels = [label for label in LABELS if exactly_once or label in OF_BOTH]
    return [*(label for label in labels if label not in LATER), *(label for label in LATER if label in labels), RANDOM]


def kill(scene: Scene, turn: int) -> Tally:
    """Start a worker, let it come to the label whose turn it is, and kill it there."""
    points = kill_points(exactly_once=scene.rig.exactly_once)
    label, round_ = points[turn % len(points)], turn // len(points)
    scene.feed(KILL_TICKS)
    draw = random.Random(turn)
    worker = scene.worker(static=turn // STATIC % 2 == 0)
    if label == RANDOM:
        worker.start()
        time.sleep(draw.uniform(0.0, 8.0))  # the fault itself: it must not wait for anything
        reached = True
    else:
        # The first round takes the first passing; later ones any of a few, of the sends any of a poll's.
        often = 1 if round_ == 0 or label in LATER else scene.poll if label == "forecast-sent" else 3
        passes = draw.randint(1, often)
        worker.start(label, passes)
        reached = worker.wait_stopped(REACHED_WITHIN)
    worker.kill()
    return {"faults": 1, "kills": {label: int(reached)}, "not_reached": {} if reached else {label: 1}}
