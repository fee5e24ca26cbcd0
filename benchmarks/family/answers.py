"""What a tick costs in the line, decode to encode, by what is answered: python -m benchmarks.family.answers [--paths N]

Networks of one layer of 64 units with drawn weights, which do not change the speed; horizon 24, three codes or bins of
54, seven channels; a batch of one tick, and of one tick of each of 1,000 series: the fastest of a number of batches.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.features.settings import FeatureSettings
from forecaster.networks.kinds import make_network
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.records import RecordBatch

START_MS, HORIZON, BATCHES = 1_714_550_400_000, 24, 30
CODES = ("down", "flat", "up")
CHANNELS = tuple("abcdefg")
NUMBERS = FeatureSettings.derive((24,), 240)
LAST_CODE = FeatureSettings(level_spans=(1.0,), scale_span=1.0)
SHAPES = {
    "forecast": {"inputs": len(NUMBERS.input_names), "recents": NUMBERS.recents},
    "multivariate": {
        "inputs": len(NUMBERS.input_names) + 1,
        "recents": NUMBERS.recents,
        "channels": CHANNELS,
    },
    "paths": {"inputs": len(NUMBERS.input_names), "recents": NUMBERS.recents, "seasons": (24,)},
    "symbols": {"inputs": 1, "vocabulary": CODES},
    "classify": {"inputs": 1, "vocabulary": CODES, "labels": ("calm", "near")},
}
SHAPES["paths"] |= {"bins": tuple(np.linspace(-4, 4, 55).tolist())}


def pipeline(task: str, paths: int) -> Pipeline:
    horizon, channels = 1 if task == "classify" else HORIZON, SHAPES[task].get("channels", ())
    shape = NetworkSettings(
        task="forecast" if channels else task, units=(64,), horizon=horizon, quantiles=(0.1, 0.5, 0.9), **SHAPES[task]
    )
    features = LAST_CODE if shape.coded else NUMBERS
    manifest = Manifest(
        name="bench", version="1", kind=shape.message_kind, step_ms=3_600_000, bar=None, context_length=240,
        features=features, network=shape, training={},
    )  # fmt: skip
    settings = Settings(stream={"step": "1h"}, input={"channels": channels}, model={"sampling": {"paths": paths}})
    return Pipeline(settings, manifest, make_network(shape))


def batch(task: str, series: int, step: int) -> RecordBatch:
    """A tick of each series."""
    draw, time_ms = np.random.default_rng(step), START_MS + 3_600_000 * step
    if task in {"symbols", "classify"}:
        texts = [b'"%b"' % CODES[code].encode() for code in draw.integers(0, 3, series)]
    elif task == "multivariate":
        member = b",".join(b'"%b":%%.4f' % name.encode() for name in CHANNELS)
        texts = [b"{%b}" % (member % tuple(row)) for row in draw.normal(20, 3, (series, len(CHANNELS))).tolist()]
    else:
        texts = [b"%.4f" % value for value in draw.normal(20, 3, series).tolist()]
    return records([b'{"series":"s%d","ts":%d,"value":%b}' % (n, time_ms, text) for n, text in enumerate(texts)], step)


def records(values: list[bytes], step: int) -> RecordBatch:
    """A record of each series at `step`."""
    series = len(values)
    return RecordBatch(
        topic="ticks",
        partition=np.zeros(series, np.int64),
        offset=series * step + np.arange(series),
        timestamp_ms=np.full(series, START_MS + 3_600_000 * step),
        key=[None] * series,
        value=[*values],
        headers=[()] * series,
        silent=np.zeros(series, bool),
    )


def seconds(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--paths", type=int, default=16)
    parser.add_argument("--only", nargs="*", choices=SHAPES, default=list(SHAPES), help="these tasks alone")
    options = parser.parse_args()
    print(f"{'task':12} {'series':>7} {'us a tick':>10} {'bytes':>7}")
    for task in options.only:
        line = pipeline(task, options.paths)
        line.inference.engine.warm_up()
        for series in (1, 1_000):
            rounds = [batch(task, series, (series > 1) * 100 + step) for step in range(BATCHES + 2)]
            took = [seconds(partial(line.process, records)) for records in rounds[:-1]][1:]
            size = len(line.process(rounds[-1]).messages[0].value or b"")
            print(f"{task:12} {series:7} {1e6 * min(took) / series:10.1f} {size:7}", flush=True)


if __name__ == "__main__":
    main()
