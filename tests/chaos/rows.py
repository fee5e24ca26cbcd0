"""The rows of the table: what each does, how often in a full run, and how many faults one scene takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from chaos.kills import KILL_TICKS, kill
from chaos.ledger import Tally, add
from chaos.scene import Rig, Scene
from chaos.ticks import Ticks

Fault = Callable[[Scene, int], Tally]


@dataclass(frozen=True)
class Row:
    """A fault that is done `full` times, `stretch` times to one stream before it is judged."""

    fault: Fault
    full: int
    stretch: int
    series: int = 40

    def run(self, rig: Rig, done: int, upto: int) -> Tally:
        """One stretch, from fault `done` to at most `upto`, on a stream of its own."""
        started = time.monotonic()
        tally: Tally = {}
        late = 3 if done // self.stretch % 2 else 0  # every other stream holds ticks back to put them in order
        with Scene(rig, Ticks(self.series, shuffled=late)) as scene:
            for turn in range(done, min(upto, done + self.stretch)):
                add(tally, self.fault(scene, turn))
            add(tally, scene.verdict())
        return {**tally, "seconds": round(time.monotonic() - started, 1)}


ROWS: dict[str, Row] = {
    "kill": Row(kill, full=500, stretch=25),
}
assert KILL_TICKS * ROWS["kill"].full == 1_000_000
