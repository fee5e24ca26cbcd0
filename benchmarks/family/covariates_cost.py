"""What covariates cost a tick in the line, decode to encode: python -m benchmarks.family.covariates_cost

The network of `benchmarks.family.answers`, horizon 24, without covariates, with two past ones, and with two known ones,
which are lists of 25 numbers in each message; a batch of one tick, and of one tick of each of 1,000 series. Each batch
goes through all three lines in turn; the fastest of a number of batches.
"""

import argparse
import json
from functools import partial

import numpy as np

from benchmarks.family.answers import BATCHES, HORIZON, NUMBERS, START_MS, records, seconds
from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.features.covariates import CovariateSettings
from forecaster.networks.kinds import make_network
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Pipeline
from forecaster.records import RecordBatch

HOUR, TWO = 3_600_000, {"mean": (0.0, 0.0), "deviation": (1.0, 1.0)}
KINDS = {
    "none": CovariateSettings(),
    "two past": CovariateSettings(past=("a", "b"), **TWO),
    "two known": CovariateSettings(known=("a", "b"), horizon=HORIZON, **TWO),
}


def pipeline(covariates: CovariateSettings) -> Pipeline:
    features = NUMBERS.model_copy(update={"covariates": covariates})
    shape = NetworkSettings(
        inputs=len(features.input_names), recents=features.recents, known=covariates.ahead, units=(64,),
        horizon=HORIZON, quantiles=(0.1, 0.5, 0.9),
    )  # fmt: skip
    manifest = Manifest(
        name="bench", version="1", step_ms=HOUR, bar=None, context_length=240, features=features, network=shape,
        training={},
    )  # fmt: skip
    fields = {"past_covariates": covariates.past, "known_covariates": covariates.known}
    return Pipeline(Settings(stream={"step": "1h"}, input=fields), manifest, make_network(shape))


def batch(covariates: CovariateSettings, series: int, step: int) -> RecordBatch:
    """A tick of each series."""
    draw, time_ms = np.random.default_rng(step), START_MS + HOUR * step
    steps = 1 + covariates.horizon if covariates.known else 1

    def message(n: int) -> bytes:
        numbers = draw.normal(0, 1, (len(covariates.names), steps)).round(3).tolist()
        given = {name: row if covariates.known else row[0] for name, row in zip(covariates.names, numbers, strict=True)}
        return json.dumps({"series": f"s{n}", "ts": time_ms, "value": round(draw.normal(20, 3), 4)} | given).encode()

    return records([message(n) for n in range(series)], step)


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    lines = {name: pipeline(covariates) for name, covariates in KINDS.items()}
    for line in lines.values():
        line.inference.engine.warm_up()
    print(f"{'covariates':10} {'series':>7} {'us a tick':>10}")
    for series in (1, 1_000):
        took: dict[str, list[float]] = {name: [] for name in KINDS}
        for step in range(BATCHES + 1):
            for name, line in lines.items():
                records = batch(KINDS[name], series, (series > 1) * 100 + step)
                took[name].append(seconds(partial(line.process, records)))
        for name, times in took.items():
            print(f"{name:10} {series:7} {1e6 * min(times[1:]) / series:10.1f}", flush=True)


if __name__ == "__main__":
    main()
