"""Results of the rows: one JSON line for every piece of a row that was judged, added up over runs."""

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Tally = dict[str, Any]  # numbers add up, those named longest_… and most_… take the largest; texts and lists collect

FAULTS_OF_A_ROW = ("lost", "doubled", "different", "letters_lost", "letters_doubled", "broken")


class Ledger:
    """The file of one row in `folder`."""

    def __init__(self, folder: Path, row: str) -> None:
        self._path = folder / f"{row}.jsonl"

    def append(self, tally: Tally) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(tally) + "\n")

    def total(self) -> Tally:
        """Everything in the file together."""
        total: Tally = {"faults": 0}
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        for line in lines:
            add(total, json.loads(line))
        return total


def add(total: Tally, tally: Tally) -> None:
    """Add `tally` to `total`."""
    for name, value in tally.items():
        if name not in total or isinstance(value, str):
            total[name] = value
        elif isinstance(value, list):
            total[name] = total[name] + value
        elif isinstance(value, dict):
            total[name] = dict(total[name])
            add(total[name], value)
        elif name.startswith(("longest_", "most_")):
            total[name] = max(total[name], value)
        else:
            total[name] = round(total[name] + value, 3)


def failed(total: Tally) -> bool:
    """Whether something was lost, doubled, different, or not as the row says."""
    return any(total.get(name, 0) for name in FAULTS_OF_A_ROW)


def guarded(run: Callable[[], Tally]) -> Tally:
    """The tally of a stretch; one that did not end as it should is a broken one."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001  # whatever it is, the row has failed and the others go on
        traceback.print_exc()
        return {"faults": 0, "broken": 1, "why": [" ".join(str(error).split())[:2000]]}
