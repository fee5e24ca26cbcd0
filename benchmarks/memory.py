"""Memory that a series takes, all told, key included: what the process grows by, over the series that come.

python -m benchmarks.memory [--quick] [--save] [--series N]

Window 64, one layer of 64 units, one daily profile of 48 phases. The pipeline alone takes a tick of each series, in
batches of 5,000; what it needs for a batch at all is there before the first measurement. A process of its own.
"""

from benchmarks.models import BATCH, make_manifest, make_pipeline, new_series, resident_bytes
from benchmarks.report import Report, arguments, finish
from forecaster.config import Settings
from forecaster.memory import settle

SERIES, QUICK_SERIES = 1_000_000, 100_000
WARM = 10 * BATCH


def measure(series: int) -> Report:
    report = Report()
    settings = Settings(stream={"step": "30min"}, state={"max_series": series + WARM})
    manifest = make_manifest(seasons=(48,)).model_copy(update={"step_ms": 1_800_000})
    line = make_pipeline(manifest, settings)
    line.inference.engine.warm_up()
    settle()  # as the daemon does
    for first in range(0, WARM, BATCH):
        line.process(new_series(first))
    before = resident_bytes()
    for first in range(WARM, WARM + series, BATCH):
        assert len(line.process(new_series(first)).forecasts) == BATCH
    report.add("memory.series", series)
    report.add("memory.bytes_per_series", (resident_bytes() - before) / series)
    return report


if __name__ == "__main__":
    parser = arguments(__doc__)
    parser.add_argument("--series", type=int)
    options = parser.parse_args()
    finish("memory", measure(options.series or (QUICK_SERIES if options.quick else SERIES)), options)
