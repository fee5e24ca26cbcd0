"""Memory that a series takes, all told, key included: what the process grows by, over the series that come.

python -m benchmarks.memory [--quick] [--save] [--series N]

Window 64, one layer of 64 units, one daily profile of 48 phases. The pipeline alone takes a tick of each series, in
batches of 5,000; what it needs for a batch at all is there before the first measurement. A process of its own.
"""

import gc
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np

from benchmarks.models import make_manifest, make_pipeline
from benchmarks.report import Report, arguments, finish
from forecaster.config import Settings
from forecaster.records import RecordBatch

BATCH, PARTITIONS, START_MS = 5_000, 4, 1_714_550_400_000
WARM = 10 * BATCH
SERIES, QUICK_SERIES = 1_000_000, 200_000


def resident_bytes() -> int:
    """Memory of this process that is in use; freed memory is given back before it is read."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def batch(first: int, name: str = "sensor") -> RecordBatch:
    """`BATCH` records, each of a series of its own."""
    return RecordBatch(
        topic="ticks",
        partition=np.repeat(np.arange(PARTITIONS), BATCH // PARTITIONS),
        offset=np.arange(first, first + BATCH),
        timestamp_ms=np.full(BATCH, START_MS),
        key=[None] * BATCH,
        value=[b'{"series":"%s-%d","ts":%d,"value":1.5}' % (name.encode(), first + n, START_MS) for n in range(BATCH)],
        headers=[()] * BATCH,
        silent=np.zeros(BATCH, bool),
    )


def measure(*, quick: bool, series: int | None = None) -> Report:
    series = series or (QUICK_SERIES if quick else SERIES)
    settings = Settings(stream={"step": "30min"}, state={"max_series": series + WARM})
    line = make_pipeline(make_manifest(seasons=(48,)).model_copy(update={"step_ms": 1_800_000}), settings)
    line.inference.engine.warm_up()
    for first in range(0, WARM, BATCH):
        line.process(batch(first))
    before = resident_bytes()
    for first in range(WARM, WARM + series, BATCH):
        output = line.process(batch(first))
        assert len(output.forecasts) == BATCH
    report = Report()
    report.add("memory.series", series)
    report.add("memory.bytes_per_series", (resident_bytes() - before) / series)
    arrays = sum(array.nbytes / len(array) for array in line.arrays().values())
    report.add("memory.bytes_per_series_in_arrays", arrays)
    return report


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--series", type=int)
    options = parser.parse_args()
    finish("memory", measure(quick=options.quick, series=options.series), options)
