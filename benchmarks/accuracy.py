"""Forecast accuracy by the ETT protocol: normalised test MSE and MAE beside naive and published figures.

python -m benchmarks.accuracy --folder DIR [--quick]           ETTh1 and ETTm1 from DIR, all cells (or two)
python -m benchmarks.accuracy --data FILE --step 1h --season 1d --train-rows N --validation-rows N --test-rows N

A cell is a data set, a network (both, or --network), a horizon and a seed: `forecaster
train` on the training rows, the best epoch by the validation rows, then `forecaster backtest` over every window
of the test rows. A finished cell is kept in --cells and not run again, so that an interrupted run goes on. The
last line printed is one JSON object.
"""

import argparse
import gzip
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import product, starmap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
HORIZONS, SEEDS = (96, 192, 336, 720), (1, 2, 3)
NETWORKS = ("carried", "segment")
PUBLISHED = {  # normalised test MSE, no windows dropped
    "ETTh1": {"SegRNN": (0.351, 0.392, 0.423, 0.466), "DUET": (0.352, 0.398, 0.413, 0.430)},
    "ETTm1": {"SegRNN": (0.293, 0.328, 0.357, 0.410), "DUET": (0.278, 0.320, 0.347, 0.405)},
}
ANCHORS = {  # last value and daily seasonal naive: normalised MSE, MAE
    ("ETTh1", 96): ((1.294, 0.713), (0.512, 0.433)),
    ("ETTh1", 720): ((1.335, 0.755), (0.655, 0.514)),
    ("ETTm1", 96): ((1.214, 0.665), (0.423, 0.387)),
    ("ETTm1", 720): ((1.322, 0.729), (0.574, 0.464)),
}

FIGURES = {"mse": "normalised_mse", "mae": "normalised_mae", "coverage_80": "coverage_80"}


class DataSet(NamedTuple):
    """A wide CSV and its protocol; `context` is the rule's: ten days of steps of an hour, four of shorter ones.

    `window` is as long as the published lookback, whatever the step.
    """

    name: str
    path: Path
    step: str
    season: str
    context: int
    window: int
    rows: tuple[int, int, int]  # training, validation, test


class Cell(NamedTuple):
    data: DataSet
    network: str
    horizon: int
    seed: int

    @property
    def name(self) -> str:
        """Also the file that keeps it."""
        kind = "" if self.network == "carried" else f"-{self.network}"
        return f"{self.data.name}{kind}-{self.horizon}-{self.seed}"

    def model(self) -> str:
        """The settings of `[model]` that are this network's."""
        if self.network == "segment":
            return f'network = "segment"\nunits = [256]\ncontext_length = {self.data.window}\n'
        return f"context_length = {self.data.context}\n"


def count_rows(path: Path) -> int:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt") as file:
        return sum(1 for _ in file) - 1


def run_cell(cell: Cell, kept: Path) -> dict:
    """The figures of one cell; from `kept` where it has been run."""
    data, network, horizon, seed = cell
    file = kept / f"{cell.name}.json"
    if file.exists():
        return json.loads(file.read_text())
    train, validation, test = data.rows
    span = count_rows(data.path) - 1
    seasons = "" if data.season == "auto" else f"seasons = {json.dumps(data.season.split(','))}\n"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = folder / "cell.toml"
        config.write_text(
            f'[stream]\nstep = "{data.step}"\n[model]\nbundle = "{folder}/bundle"\nhorizon = {horizon}\n'
            f"{seasons}{cell.model()}"
            f"[training]\nseed = {seed}\ntrain_fraction = {train / span}\nvalidation_fraction = {validation / span}\n"
        )
        shared = ["--config", str(config), "--input", str(data.path)]
        begun = time.monotonic()
        forecaster("train", *shared, "--out", f"{folder}/bundle")
        seconds = time.monotonic() - begun
        rows = f"{train + validation}:{train + validation + test}"
        out = folder / "backtest.json"
        forecaster("backtest", *shared, "--rows", rows, "--normalise-rows", f"0:{train}", "--out", str(out))
        report = json.loads(out.read_text())
        training = json.loads((folder / "bundle" / "manifest.json").read_text())["training"]
    figures = {
        "data": data.name, "network": network, "horizon": horizon, "seed": seed, "train_seconds": round(seconds, 1),
        "epoch": training["epoch"], "windows": report["origins"] // len(report["by_series"]),
        "crossings": report["crossings"],
        "scores": {
            name: {figure: scores[source] for figure, source in FIGURES.items()}
            for name, scores in report["overall"].items()
        },
    }  # fmt: skip
    kept.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def forecaster(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "forecaster", *arguments], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)


def check_anchors(figures: dict) -> None:
    """The naive forecasts must come out as published: else the harness measures something else."""
    anchor = ANCHORS.get((figures["data"], figures["horizon"]))
    found = figures["scores"]
    for name, expected in zip(("last value", "seasonal naive 1d"), anchor or (), strict=False):
        got = round(found[name]["mse"], 3), round(found[name]["mae"], 3)
        if got != expected:
            raise SystemExit(f"{figures['data']} at {figures['horizon']}: {name} scores {got}, published is {expected}")


def ett(folder: Path) -> list[DataSet]:
    hourly = DataSet("ETTh1", folder / "ETTh1.csv.gz", "1h", "1d", 240, 720, (8640, 2880, 2880))
    return [hourly, DataSet("ETTm1", folder / "ETTm1.csv.gz", "15min", "1d", 384, 720, (34560, 11520, 11520))]


def show(results: list[dict]) -> None:
    titles = f"{'data':8}{'network':8}{'horizon':>8}{'seeds':>6}{'MSE':>8}{'MAE':>8}{'covers':>8}{'level+profile':>15}"
    print(f"{titles}{'seasonal':>10}  published MSE")

    def key(figures: dict) -> tuple[str, str, int]:
        return figures["data"], figures.get("network", "carried"), figures["horizon"]

    for data, network, horizon in dict.fromkeys(map(key, results)):
        cells = [figures for figures in results if key(figures) == (data, network, horizon)]

        def mean(name: str, figure: str, cells: list[dict] = cells) -> float:
            return statistics.mean(cell["scores"][name][figure] for cell in cells)

        naive = next((name for name in cells[0]["scores"] if name.startswith("seasonal naive")), "last value")
        column = HORIZONS.index(horizon) if horizon in HORIZONS else None
        published = PUBLISHED.get(data, {}) if column is not None else {}
        beside = ", ".join(f"{name} {values[column]:.3f}" for name, values in published.items())
        print(
            f"{data:8}{network:8}{horizon:8}{len(cells):6}{mean('model', 'mse'):8.4f}{mean('model', 'mae'):8.4f}"
            f"{100 * mean('model', 'coverage_80'):7.1f}%{mean('level and profile', 'mse'):15.4f}"
            f"{mean(naive, 'mse'):10.4f}  {beside}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where ETTh1.csv.gz and ETTm1.csv.gz are")
    parser.add_argument("--sets", choices=("ETTh1", "ETTm1"), nargs="+", default=["ETTh1", "ETTm1"], help="of --folder")
    parser.add_argument("--quick", action="store_true", help="horizon 96 and one seed only")
    parser.add_argument("--data", type=Path, help="a wide CSV of your own instead")
    parser.add_argument("--step", default="1h")
    parser.add_argument("--season", default="1d", help="several with commas, or auto: chosen by validation")
    parser.add_argument("--context", type=int, default=240)
    parser.add_argument("--window", type=int, default=720, help="the segment network's context")
    for part in ("train", "validation", "test"):
        parser.add_argument(f"--{part}-rows", type=int)
    parser.add_argument("--network", choices=NETWORKS, nargs="+", help="both; with --quick the carried one")
    parser.add_argument("--horizons", type=int, nargs="+", default=list(HORIZONS))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument(
        "--cells", type=Path, default=ROOT / ".cache" / "accuracy", help="where finished cells are kept"
    )
    options = parser.parse_args()
    if options.data:
        rows = options.train_rows, options.validation_rows, options.test_rows
        name = options.data.name.split(".")[0]
        sets = [DataSet(name, options.data, options.step, options.season, options.context, options.window, rows)]
    elif options.folder:
        sets = [data for data in ett(options.folder) if data.name in options.sets]
    else:
        parser.error("give --folder or --data")
    horizons, seeds = ([96], [1]) if options.quick else (options.horizons, options.seeds)
    networks = options.network or (NETWORKS[:1] if options.quick else NETWORKS)
    results = []
    for cell in starmap(Cell, product(sets, networks, horizons, seeds)):
        figures = run_cell(cell, options.cells)
        check_anchors(figures)
        results.append(figures)
        mse = figures["scores"]["model"]["mse"]
        print(
            f"{cell.data.name} {cell.network} {cell.horizon} seed {cell.seed}: MSE {mse:.4f}, "
            f"{figures['train_seconds']} s",
            flush=True,
        )
    show(results)
    print(json.dumps({"benchmark": "accuracy", "python": platform.python_version(), "cells": results}))


if __name__ == "__main__":
    main()
