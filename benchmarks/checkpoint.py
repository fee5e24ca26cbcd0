"""What a checkpoint of one partition costs: the pause, the records, and the way back. No broker.

python -m benchmarks.checkpoint [--series N] [--rounds N]

One GRU of 64 units, context 64, no season. The last line printed is one JSON object.
"""

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.models import make_manifest, make_pipeline
from forecaster.checkpoint.keys import StateRecord
from forecaster.checkpoint.reader import Found, Reader
from forecaster.checkpoint.writer import Writer
from forecaster.pipeline import Pipeline

CONTEXT, UNITS, START_MS = 64, 64, 1_700_000_000_000
SOURCE = "topic"
BUDGET = 1 << 20  # bytes a transaction


def fill(line: Pipeline, series: int, first: int, rounds: int) -> None:
    """Observations `first` to `first + rounds` of every series, through the line's own windows and inference."""
    names, random = [f"sensor-{n}" for n in range(series)], np.random.default_rng(0)
    for step in range(first, first + rounds):
        time_ms = np.full(series, START_MS + 1_000 * step)
        _, block = line.windows.admit(np.zeros(series, np.int64), names, time_ms, random.normal(20, 1, series))
        line.inference.run(block, np.zeros(len(block), bool))


def timed(call: Callable[[], object]) -> float:
    """Milliseconds that `call` takes."""
    begun = time.perf_counter()
    call()
    return (time.perf_counter() - begun) * 1000


def write(writer: Writer, records: list[StateRecord]) -> list[float]:
    """Everything that is under way into `records`; milliseconds of each transaction's `next`."""
    pauses = []
    while writer.busy:
        pauses.append(timed(lambda: records.extend(writer.next(BUDGET))))
        writer.delivered()
    return pauses


def restore(line: Pipeline, records: list[StateRecord]) -> dict[str, float]:
    reader, found = Reader("bench", 0, line.identity), list[Found]()
    for record in records:
        reader.add(record.key, record.value)
    line.drop(0)
    verify = timed(lambda: found.append(reader.newest(1 << 40, SOURCE)))
    checkpoint = found[0].checkpoint
    assert checkpoint is not None, found[0].problems
    return {"verify_ms": verify, "load_ms": timed(lambda: line.load(0, checkpoint))}


def measure(series: int, rounds: int) -> dict[str, list[float]]:
    line, fresh, other = (make_pipeline(make_manifest(version=version)) for version in ("1", "1", "2"))
    fill(line, series, 0, CONTEXT)
    figures: dict[str, list[float]] = {}

    def note(**values: float) -> None:
        for name, value in values.items():
            figures.setdefault(name, []).append(value)

    for turn in range(rounds):
        writer, records = Writer("bench"), list[StateRecord]()
        note(take_ms=timed(lambda: writer.take(line, 0, turn + 1, SOURCE)))  # noqa: B023  # called at once
        pauses = write(writer, records)
        size = sum(len(record.key) + len(record.value or b"") for record in records)
        note(encode_ms=sum(pauses), next_ms=max(pauses), records=len(records), topic_bytes=size / series)
        note(**restore(fresh, records))
        fill(line, series // 4, CONTEXT + turn, 1)
        note(delta_take_ms=timed(lambda: writer.take(line, 0, 10**6 + turn, SOURCE)))  # noqa: B023
        delta: list[StateRecord] = []
        note(delta_encode_ms=sum(write(writer, delta)))
    note(first_take_ms=figures["take_ms"][0])
    copied = line.snapshot(0, 1 << 40, SOURCE).part.arrays.values()
    note(memory_bytes=sum(array.nbytes for array in copied) / series)
    note(rebuild_ms=restore(other, records)["load_ms"])
    return figures


ROWS = {
    "take_ms": "pause of taking a full copy, ms",
    "first_take_ms": "the very first one, into memory new to the process, ms",
    "next_ms": f"longest pause of a transaction's records ({BUDGET >> 20} MiB), ms",
    "encode_ms": "encoding all of a full copy, ms",
    "delta_take_ms": "pause of taking a quarter as a delta, ms",
    "delta_encode_ms": "encoding it, ms",
    "records": "records of a full copy",
    "memory_bytes": "bytes a series in a copy",
    "topic_bytes": "bytes a series in the state topic",
    "verify_ms": "verifying what was read, ms",
    "load_ms": "loading it, ms",
    "rebuild_ms": "loading it into another network (hidden state anew), ms",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    figures = measure(options.series, options.rounds)
    print(f"{options.series:,} series of {CONTEXT} observations{'':29}{'median':>12}{'worst':>12}")
    for name, label in ROWS.items():
        print(f"{label:60}{statistics.median(figures[name]):12,.1f}{max(figures[name]):12,.1f}")
    summary = {"benchmark": "checkpoint", "series": options.series, "context": CONTEXT, "units": UNITS}
    summary |= {name: round(statistics.median(figures[name]), 1) for name in ROWS}
    summary["take_worst_ms"] = round(max(figures["take_ms"]), 1)
    print(json.dumps(summary | {"cores": os.cpu_count(), "python": platform.python_version()}))


if __name__ == "__main__":
    main()
