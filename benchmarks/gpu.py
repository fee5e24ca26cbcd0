"""The engine alone on a GPU, with each backend that is installed and sees one: see benchmarks.engine.

python -m benchmarks.gpu [--quick] [--save]
"""

import os
import subprocess
import sys

from benchmarks.report import Report, arguments, command, finish

SEES = "import keras, sys; sys.exit(not any('gpu' in name for name in keras.distribution.list_devices()))"
BACKENDS = ("tensorflow", "jax")


def sees_gpu(backend: str) -> bool:
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([sys.executable, "-c", SEES], env=environment, capture_output=True, check=False)
    return done.returncode == 0


def measure(*, quick: bool) -> Report:
    report = Report()
    for backend in BACKENDS:
        if not sees_gpu(backend):
            report.missing[f"gpu.{backend}"] = "not installed, or sees no GPU"
            continue
        found = command("engine", *(["--quick"] if quick else []), KERAS_BACKEND=backend)
        for name, figures in found.rounds.items():
            report.rounds[name.replace("engine", f"gpu.{backend}", 1)] = figures
        report.missing |= {f"gpu.{backend}": reason for reason in found.missing.values()}
    return report


if __name__ == "__main__":
    options = arguments(__doc__).parse_args()
    finish("gpu", measure(quick=options.quick), options)
