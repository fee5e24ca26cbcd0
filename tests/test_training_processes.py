"""Real processes of `forecaster train`: killed, stopped, and two that share the work. About 40 s in all."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from integration.forked import Forked
from integration.helpers import unique, wait_until
from integration.kafka_broker import free_port
from safetensors.numpy import load_file

ROOT = Path(__file__).parents[1]
CONFIG = """
[stream]
step = "1h"
[model]
horizon = 4
context_length = 24
seasons = ["1d"]
units = [6]
[training]
epochs = 80
patience = 80
steps_per_epoch = 4
batch_size = 7
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with `history.csv` and `train.toml`."""
    made = tmp_path_factory.mktemp("training")
    random = np.random.default_rng(0)
    hours = np.arange(20 * 24)
    values = 20 + 5 * np.sin(2 * np.pi * hours / 24) + np.cumsum(random.normal(0, 0.1, len(hours)))
    rows = (f"{1_699_999_200_000 + 3_600_000 * hour},{value:.4f}" for hour, value in zip(hours, values, strict=True))
    (made / "history.csv").write_text("\n".join(["time,pump", *rows]) + "\n")
    (made / "train.toml").write_text(CONFIG)
    return made


class Training:
    """A `forecaster train` of the history; `said` is all that it has said so far."""

    def __init__(self, folder: Path, out: str, **environment: str) -> None:
        command = ["train", "--config", str(folder / "train.toml"), "--input", str(folder / "history.csv")]
        self._log = folder / unique(out)
        self.process = Forked([*command, "--out", str(folder / out)], os.devnull, str(self._log), **environment)

    def said(self) -> str:
        return self._log.read_text("utf-8") if self._log.exists() else ""

    def until(self, text: str) -> None:
        wait_until(lambda: text in self.said() or self.process.poll() is not None, 120, what=repr(text))
        assert text in self.said()

    def end(self) -> tuple[int, list[str]]:
        code = self.process.wait(120)
        return code, self.said().splitlines()


@pytest.fixture(scope="module")
def whole(folder) -> dict[str, np.ndarray]:
    """The weights of a training that nothing interrupted."""
    code, said = Training(folder, "whole").end()
    assert code == 0, said
    assert not (folder / "whole.training").exists()
    return load_file(folder / "whole" / "weights.safetensors")


def test_a_training_that_is_stopped_then_killed_ends_with_the_bits_of_one_that_was_not(folder, whole) -> None:
    out, kept = folder / "again", folder / "again.training"
    stopped = Training(folder, "again")
    stopped.until("epoch 1/80")
    stopped.process.send_signal(signal.SIGTERM)
    code, said = stopped.end()
    assert code == 128 + signal.SIGTERM
    assert said[-1].startswith(f"forecaster: training stopped: {kept} keeps ")
    assert said[-1].endswith(" epochs, the same command goes on")
    assert not out.exists()

    killed = Training(folder, "again")
    killed.until("epoch ")
    assert "going on after epoch " in killed.said()
    killed.process.kill()
    killed.end()
    assert not out.exists()

    code, said = Training(folder, "again").end()
    assert code == 0, said
    assert not kept.exists()
    found = load_file(out / "weights.safetensors")
    assert found.keys() == whole.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(found[name], array)
    training = json.loads((out / "manifest.json").read_text())["training"]
    assert [epoch["epoch"] for epoch in training["history"]] == list(range(1, 81))
    assert training["throughput"] > 0


@pytest.fixture
def two_workers(folder) -> Iterator[list[Training]]:
    """Two processes that train one model, chief first."""
    addresses = [f"127.0.0.1:{free_port()}" for _ in range(2)]
    started = []
    for index in range(2):
        place = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
        started.append(Training(folder, f"shared-{index}", TF_CONFIG=json.dumps(place)))
    yield started
    for training in started:
        training.process.kill()
        training.end()


def test_two_processes_end_with_the_weights_of_one(folder, whole, two_workers) -> None:
    chief, worker = two_workers
    assert chief.end()[0] == 0
    assert worker.end()[0] == 0
    found = load_file(folder / "shared-0" / "weights.safetensors")
    for name, array in whole.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4)
    assert not (folder / "shared-1").exists()
    assert not list(folder.glob("shared-*.training"))


SEVERAL_DEVICES = """
import sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from forecaster.bundle.store import save_bundle
from forecaster.config import InputSettings, load_settings
from forecaster.recording import Columns, read_recording
from training.cluster import Cluster
from training.fit import train
from training.prepare import Source
settings = load_settings(Path("train.toml"))
recording = read_recording([Path("history.csv")], settings.input, Columns())
cluster = Cluster(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
assert cluster.devices == 2
save_bundle(Path("mirrored"), *train(Source([recording]), settings, None, cluster))
"""


def test_two_devices_of_a_machine_end_with_the_weights_of_one(folder, whole) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
    subprocess.run([sys.executable, "-c", SEVERAL_DEVICES], cwd=folder, env=environment, check=True, timeout=120)
    found = load_file(folder / "mirrored" / "weights.safetensors")
    for name, array in whole.items():
        np.testing.assert_allclose(found[name], array, atol=1e-4)
