"""Sensors and prices beside the best of all baselines: trained on the past, scored on all of the rest.

python -m benchmarks.streams --folder DIR [--only NAME …] [--seeds N …]

All settings but those of the stream are the defaults. Of each recording the first 35 % of the observations are
trained on, 15 % choose the epoch and the seasons, and `forecaster backtest` scores every origin of the last half;
exchange_rate has the split of its literature. A finished cell is kept in --cells and not run again. The last line
printed is one JSON object.
"""

import argparse
import json
import platform
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.accuracy import ROOT, forecaster

WEIGHTED = "last value, weighted quantiles"
SHARES = 0.35, 0.15


class Stream(NamedTuple):
    """A file with its columns, its stream settings, and the split where it is not that of all."""

    name: str
    file: str
    step: str
    horizon: int
    columns: tuple[str, ...] = ()
    bar: str | None = None
    shares: tuple[float, float] = SHARES


BEIJING = ("--time-column", "year,month,day,hour", "--value-column", "pm2.5")
QUOTES = ("--time-column", "ts_utc", "--series-column", "symbol", "--value-column", "bid,ask")
RATES = 5311 / 7588, 760 / 7588
STREAMS = [
    Stream("machine_temperature", "nab/machine_temperature_system_failure.csv.gz", "5min", 12),
    Stream("ambient_temperature", "nab/ambient_temperature_system_failure.csv.gz", "1h", 24),
    Stream("beijing_pm25", "beijing_pm25/beijing_pm25.csv.gz", "1h", 24, BEIJING),
    Stream("fx_ticks", "fx_ticks/oanda_eurusd_nzdusd_20140501_20140507.csv.gz", "1s", 60, QUOTES, "last"),
    Stream("exchange_rate", "exchange_rate/exchange_rate.csv.gz", "1d", 96, shares=RATES),
    Stream("exchange_rate", "exchange_rate/exchange_rate.csv.gz", "1d", 720, shares=RATES),
]
FIGURES = "mase", "crps", "pinball", "coverage_80", "mse"


def run_cell(stream: Stream, seed: int, folder: Path, kept: Path) -> dict:
    """The figures of one stream and seed; from `kept` where it has been run."""
    file = kept / f"{stream.name}-{stream.horizon}-{seed}.json"
    if file.exists():
        return json.loads(file.read_text())
    bar = f'bar = "{stream.bar}"\n' if stream.bar else ""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "cell.toml").write_text(
            f'[stream]\nstep = "{stream.step}"\n{bar}[model]\nbundle = "{work}/bundle"\nhorizon = {stream.horizon}\n'
            f"[training]\nseed = {seed}\ntrain_fraction = {stream.shares[0]}\n"
            f"validation_fraction = {stream.shares[1]}\n"
        )
        shared = ["--config", str(work / "cell.toml"), "--input", str(folder / stream.file), *stream.columns]
        forecaster("train", *shared, "--out", f"{work}/bundle")
        forecaster("backtest", *shared, "--out", f"{work}/backtest.json")
        report = json.loads((work / "backtest.json").read_text())
        manifest = json.loads((work / "bundle" / "manifest.json").read_text())
    scores = {
        name: {figure: found[figure] for figure in FIGURES if figure in found}
        for name, found in report["overall"].items()
    }
    figures = {
        "stream": stream.name, "horizon": stream.horizon, "seed": seed, "origins": report["origins"],
        "seasons": manifest["features"]["seasons"], "candidates": manifest["training"]["candidates"],
        "crossings": report["crossings"], "scores": scores,
    }  # fmt: skip
    kept.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def compared(cells: list[dict]) -> list[dict]:
    """What each stream is held to: its figure, the mean over the seeds, beside the one to beat."""
    stream = cells[0]["stream"]
    rivals = [name for name in cells[0]["scores"] if name != "model"]

    def mean(name: str, figure: str) -> float:
        return statistics.mean(cell["scores"][name][figure] for cell in cells)

    def beside(figure: str, rival: str | None = None, most: float = 1.0) -> dict:
        rival = rival or min(rivals, key=lambda name: mean(name, figure))
        ratio = mean("model", figure) / mean(rival, figure)
        return {"figure": figure, "model": mean("model", figure), "rival": rival, "rival_figure": mean(rival, figure),
                "ratio": ratio, "holds": ratio < most}  # fmt: skip

    if stream == "exchange_rate":
        return [beside("mse", "last value", 1.01)]
    if stream == "fx_ticks":
        covers = mean("model", "coverage_80")
        inside = {"figure": "coverage_80", "model": covers, "holds": 0.78 <= covers <= 0.82}
        return [beside("pinball", WEIGHTED), beside("pinball"), inside]
    return [beside("mase"), beside("crps")]


def show(cells: list[dict]) -> list[dict]:
    summary = []
    for key in dict.fromkeys((cell["stream"], cell["horizon"]) for cell in cells):
        of_stream = [cell for cell in cells if (cell["stream"], cell["horizon"]) == key]
        for held in compared(of_stream):
            rival = f"{held['rival']} {held['rival_figure']:.6g}, ratio {held['ratio']:.4f}" if "rival" in held else ""
            verdict = "holds" if held["holds"] else "SHORT"
            print(
                f"{key[0]:22}{key[1]:5}{len(of_stream):3}  {held['figure']:12}{held['model']:<12.6g}{verdict:7}{rival}"
            )
            summary.append({"stream": key[0], "horizon": key[1], "seeds": len(of_stream), **held})
    return summary


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where nab, beijing_pm25, fx_ticks, … are")
    parser.add_argument("--only", nargs="+", choices=sorted({stream.name for stream in STREAMS}))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--cells", type=Path, default=ROOT / ".cache" / "streams", help="where finished cells are kept")
    options = parser.parse_args()
    chosen = [stream for stream in STREAMS if not options.only or stream.name in options.only]
    cells = [run_cell(stream, seed, options.folder, options.cells) for stream in chosen for seed in options.seeds]
    summary = show(cells)
    print(json.dumps({"benchmark": "streams", "python": platform.python_version(), "held": summary, "cells": cells}))


if __name__ == "__main__":
    main()
