"""Train every kind of model, or those that are named, and print the table; the last line is JSON.

Choices are made on the validation part alone, the measure is of the test part, which nothing else has seen.
"""

import argparse
import json
from dataclasses import asdict
from importlib import import_module
from pathlib import Path

MODELS: tuple[str, ...] = (
    "cells",
    "channels",
    "aggregates",
    "covariates",
    "windows",
    "symbols",
    "classes",
    "paths",
    "calendar",
)  # modules of this package; `measure(folder, seed)` of each gives its rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="the folder of the real series")
    parser.add_argument("--only", nargs="*", choices=MODELS, default=MODELS, help="these models alone")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows = []
    for name in arguments.only:
        for row in import_module(f"benchmarks.family.{name}").measure(arguments.folder, arguments.seed):
            print(row.text(), flush=True)
            rows.append(row)
    print(json.dumps([asdict(row) for row in rows]))


if __name__ == "__main__":
    main()
