"""Observations (steps × series) trained on a second, beside PyTorch's nn.GRU of the same size doing the same work.

python -m benchmarks.training [--rounds N] [--steps N] [--torch-python PATH]

Both train the network of the ETTh1 settings from the same weights on the same batch: windows through a GRU,
dropout, head, pinball loss, clipping, AdamW and the mean of the weights. They take turns on the same cores,
PyTorch with one thread and with all, and their losses must agree. Debian's python3-torch is a CPU build; it
needs libopenblas0 beside it to be compared fairly. The last line printed is one JSON object.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # as the command line sets it

import numpy as np

from forecaster.bundle.store import named_weights
from forecaster.config import TrainingSettings
from forecaster.networks.many_to_many import Network
from forecaster.networks.spec import NetworkSettings
from training.cluster import Cluster
from training.course import Course
from training.loss import Loss
from training.scored import ScoredNetwork
from training.step import Step

WINDOWS, ROUNDS, SCORED, INPUTS, UNITS, HORIZON = 32, 240, 24, 15, 64, 96
LEVELS = (0.1, 0.5, 0.9)
DROPOUT = 0.5
LOSS = Loss(LEVELS, np.zeros(HORIZON))
WARM_UP = 3
NOISE = 1  # seed of the dropout of every step: both sides drop the same
Run = Callable[[int], tuple[float, list[float]]]  # steps to seconds and losses


def a_batch() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    inputs = random.normal(size=(WINDOWS, ROUNDS, INPUTS)).astype(np.float32)
    scored = random.integers(ROUNDS * 2 // 5, ROUNDS, (WINDOWS, SCORED)).astype(np.int32)
    target = random.normal(size=(WINDOWS, SCORED, HORIZON)).astype(np.float32)
    weight = (random.random(target.shape) < 0.9).astype(np.float32)
    recent = np.zeros((*target.shape, 0), np.float32)  # PyTorch's side has none
    return {"inputs": inputs, "scored": scored, "recent": recent, "target": target, "weight": weight}


def ours(network: Network, training: TrainingSettings, batch: dict[str, np.ndarray]) -> Run:
    cluster, scored = Cluster(), ScoredNetwork(network, on_gpu=False)
    step = Step(scored, LOSS, training, cluster)
    state = cluster.everywhere(step.state(Course.of(scored.weights())))

    def run(steps: int) -> tuple[float, list[float]]:
        nonlocal state
        begun, losses = time.perf_counter(), []
        for _ in range(steps):
            state, loss = step(state, tuple(batch.values()), np.random.default_rng(NOISE))
            losses.append(float(loss))
        return time.perf_counter() - begun, losses

    return run


def torch_python(chosen: str | None) -> str | None:
    """The first interpreter that can import torch."""
    candidates = [chosen] if chosen else [sys.executable, "/usr/bin/python3"]
    for python in candidates:
        importing = [python, "-c", "import torch"]
        if shutil.which(python) and subprocess.run(importing, capture_output=True, check=False).returncode == 0:
            return python
    return None


@contextmanager
def pytorch(python: str, file: Path, threads: int) -> Iterator[tuple[str, Run]]:
    """The version of PyTorch, and a process of it that trains with so many threads."""
    command = [python, str(Path(__file__).with_name("training_torch.py")), str(file), str(threads)]
    libraries = {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "OPENBLAS", "MKL")}
    environment = os.environ | libraries
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:

        def run(steps: int) -> tuple[float, list[float]]:
            process.stdin.write(f"{steps}\n")
            process.stdin.flush()
            answer = json.loads(process.stdout.readline())
            return answer["seconds"], answer["losses"]

        yield json.loads(process.stdout.readline())["version"], run
        process.stdin.close()


def measure(runs: dict[str, Run], rounds: int, steps: int) -> dict[str, list[float]]:
    """Observations a second of each, in turns."""
    rates: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds):
        names = list(runs) if turn % 2 == 0 else list(reversed(runs))
        for name in names:
            rates[name].append(steps * WINDOWS * ROUNDS / runs[name](steps)[0])
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=40, help="of each in a round")
    parser.add_argument("--torch-python", help="interpreter that can import torch")
    options = parser.parse_args()
    shape = NetworkSettings(inputs=INPUTS, units=(UNITS,), horizon=HORIZON, quantiles=LEVELS, dropout=DROPOUT)
    network = Network(shape, seed=0)
    training = TrainingSettings(epochs=20, steps_per_epoch=50)
    batch = a_batch()
    runs = {"forecaster": ours(network, training, batch)}
    python = torch_python(options.torch_python)
    version = None
    if python is None:
        print("no PyTorch to compare with: neither this interpreter nor /usr/bin/python3 can import torch")
        runs["forecaster"](WARM_UP)
        rates = measure(runs, options.rounds, options.steps)
    else:
        version, rates = beside_torch(python, runs, network, training, batch, options)
    show(rates, version)


def beside_torch(
    python: str,
    runs: dict[str, Run],
    network: Network,
    training: TrainingSettings,
    batch: dict[str, np.ndarray],
    options: argparse.Namespace,
) -> tuple[str, dict[str, list[float]]]:
    """PyTorch's version, and the rates of it and of `runs`; raises SystemExit where the losses differ."""
    noise = ScoredNetwork(network, on_gpu=False).noise(np.random.default_rng(NOISE), WINDOWS, SCORED)
    step = Step(ScoredNetwork(network, on_gpu=False), LOSS, training, Cluster())
    rates = np.asarray(step.optimizer.learning_rate(np.arange(training.epochs * training.steps_per_epoch)))
    weights = {f"weight:{name}": value.numpy() for name, value in named_weights(network).items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "work.npz"
        np.savez(file, **batch, **weights, noise=noise, rates=rates, levels=np.array(LEVELS))
        with ExitStack() as stack:
            for threads in sorted({1, os.cpu_count() or 1}):
                version, run = stack.enter_context(pytorch(python, file, threads))
                runs[f"PyTorch, {threads} thread{'s' * (threads > 1)}"] = run
            losses = {name: run(WARM_UP)[1] for name, run in runs.items()}
            if not np.allclose(list(losses.values()), losses["forecaster"], rtol=1e-3):
                raise SystemExit(f"not the same work: the losses differ: {losses}")
            return version, measure(runs, options.rounds, options.steps)


def show(rates: dict[str, list[float]], version: str | None) -> None:
    print(f"{'observations a second':24}{'median':>12}{'all':>50}")
    for name, values in rates.items():
        print(f"{name:24}{statistics.median(values):12,.0f}{', '.join(f'{value:,.0f}' for value in values):>50}")
    medians = {name: statistics.median(values) for name, values in rates.items()}
    best = max((value for name, value in medians.items() if name != "forecaster"), default=None)
    ratio = medians["forecaster"] / best if best else None
    work = f"{WINDOWS} windows of {ROUNDS} rounds, {UNITS} units, horizon {HORIZON}, {len(LEVELS)} quantiles"
    print(f"forecaster / best of PyTorch {version}: {ratio:.2f}   ({work})" if ratio else work)
    summary = {
        "benchmark": "training", "windows": WINDOWS, "rounds": ROUNDS, "units": UNITS, "horizon": HORIZON,
        "observations_per_s": {name: round(value) for name, value in medians.items()},
        "ratio": ratio and round(ratio, 2), "torch": version, "cores": os.cpu_count(),
        "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
