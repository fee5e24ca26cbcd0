"""What a batch takes with traces beside without: decode to encode in memory, all four ways in turn.

python -m benchmarks.tracing [--quick] [--save]

`before` times the stages for the metrics and knows nothing of traces; `off` is `tracing.enabled = false`; `unsampled`
and `sampled` trace no and every batch, with an exporter that takes the spans and drops them. Batches are of one record,
where a stage's own cost weighs most, and of 5,000.
"""

import statistics
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from itertools import cycle

from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from benchmarks.engine import timed
from benchmarks.models import BATCH, make_manifest, make_pipeline, new_series
from benchmarks.report import Report, arguments, finish
from forecaster.config import Settings
from forecaster.engines.tile import Stage
from forecaster.pipeline import Pipeline
from forecaster.records import RecordBatch
from forecaster.telemetry.metrics import Metrics
from forecaster.telemetry.otel import OtelTraces
from forecaster.telemetry.traces import NoTraces, Stages, Traces

SIZES, ROUNDS = (1, BATCH), 5
WARM_UP = 5  # batches that meet memory new to the process


class Switch:
    """The stage of one pipeline, which the ways take in turn."""

    now: Stage

    def __call__(self, name: str) -> AbstractContextManager[object]:
        return self.now(name)


class Nowhere(SpanExporter):
    """Takes spans and drops them."""

    def export(self, _: object) -> SpanExportResult:
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None: ...


def ways() -> dict[str, tuple[Stage, Traces]]:
    metrics = Metrics()
    made: dict[str, Traces] = {"off": NoTraces()}
    for name, ratio in (("unsampled", 0.0), ("sampled", 1.0)):
        made[name] = OtelTraces(Settings(tracing={"enabled": True, "sample_ratio": ratio}), metrics, Nowhere())
    found: dict[str, tuple[Stage, Traces]] = {name: (Stages(metrics, traces), traces) for name, traces in made.items()}
    return {"before": (lambda name: metrics.stage.labels(name).time(), made["off"]), **found}


def batches(size: int, count: int) -> list[RecordBatch]:
    """`count` batches of the same `size` series, a second apart."""
    made = []
    for number in range(count):
        whole = new_series(number * BATCH)
        values = [b'{"series":"sensor-%d","ts":%d,"value":1.5}' % (n, whole.timestamp_ms[0]) for n in range(size)]
        columns = {name: getattr(whole, name)[:size] for name in ("partition", "offset", "timestamp_ms", "silent")}
        made.append(replace(whole, value=values, key=[None] * size, headers=[()] * size, **columns))
    return made


def work(line: Pipeline, traces: Traces, records: RecordBatch) -> Callable[[], object]:
    def one() -> None:
        with traces.batch(records):
            traces.carried(line.process(records).messages)

    return one


def measure(*, quick: bool) -> Report:
    report, switch, all_ways = Report(), Switch(), ways()
    line = make_pipeline(make_manifest(), stage=switch)
    line.inference.engine.warm_up()
    for size in SIZES:
        turns = (400 if size == 1 else 40) // (4 if quick else 1)
        took = in_turn(line, switch, all_ways, batches(size, (turns + WARM_UP) * len(all_ways)))
        for name, seconds in took.items():
            for low in range(WARM_UP, len(seconds), turns // ROUNDS):
                report.add(f"tracing.{size}.{name}_us", 1e6 * statistics.median(seconds[low : low + turns // ROUNDS]))
        for name in ("off", "unsampled", "sampled"):
            report.ratio(f"tracing.{size}.{name}_over_before", f"tracing.{size}.{name}_us", f"tracing.{size}.before_us")
    return report


def in_turn(
    line: Pipeline, switch: Switch, all_ways: dict[str, tuple[Stage, Traces]], given: list[RecordBatch]
) -> dict[str, list[float]]:
    """Seconds of each batch by the way that took it: one after the other."""
    took: dict[str, list[float]] = {name: [] for name in all_ways}
    for records, name in zip(given, cycle(all_ways), strict=False):
        switch.now, traces = all_ways[name]
        took[name].append(timed(work(line, traces, records)))
    return took


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    finish("tracing", measure(quick=options.quick), options)
