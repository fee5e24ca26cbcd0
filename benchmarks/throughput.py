"""Forecasts a second, end to end on a real Apache Kafka, beside a plain echo of the same bytes.

python -m benchmarks.throughput [--ticks N] [--rounds N]

Echo and daemon are one process each, run in turn on the same backlog of ticks with the same library,
batch settings, keys and output bytes; the daemon with either delivery, checkpoints included. The rate is read off
the output topic: records behind the first batch, over the time from its last record to the very last. The last line
printed is one JSON object.
"""

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from integration.helpers import create_topics, produce, read_topic, unique, wait_until  # noqa: E402
from integration.kafka_broker import KafkaBroker, free_port  # noqa: E402

from forecaster.bundle import save_bundle  # noqa: E402
from forecaster.features import FeatureSettings  # noqa: E402
from forecaster.manifest import Manifest, NetworkSettings  # noqa: E402
from forecaster.network import Network  # noqa: E402

SERIES, HORIZON, CONTEXT, UNITS = 10_000, 16, 64, 64
PARTITIONS = 4
DELIVERIES = ("at_least_once", "exactly_once")


def make_bundle(folder: Path) -> None:
    """One carried GRU of 64 units, horizon 16, 3 quantiles; its weights do not change its speed."""
    features = FeatureSettings.derive((), CONTEXT)
    shape = NetworkSettings(
        inputs=len(features.input_names), units=(UNITS,), horizon=HORIZON, quantiles=(0.1, 0.5, 0.9)
    )
    manifest = Manifest(
        name="bench", version="", step_ms=1_000, bar=None, context_length=CONTEXT, features=features,
        network=shape, training={},
    )  # fmt: skip
    save_bundle(folder, manifest, Network(shape, seed=0))


def write_config(path: Path, bootstrap: str, bundle: Path, ticks: str, delivery: str) -> dict[str, str]:
    names = {"output": unique("forecasts"), "dead_letter": unique("dlq")}
    port = free_port()
    path.write_text(
        f'delivery = "{delivery}"\n[state]\ncheckpoint_interval = "10s"\n'
        f'[stream]\nstep = "1s"\n[model]\nbundle = "{bundle}"\n'
        f'[kafka]\nbootstrap_servers = "{bootstrap}"\ngroup_id = "{unique("group")}"\nsession_timeout = "6s"\n'
        f'transaction_timeout = "5s"\n'
        f'[topics]\nstate = "{unique("state")}"\ninput = "{ticks}"\noutput = "{names["output"]}"\n'
        f'dead_letter = "{names["dead_letter"]}"\n'
        f'[metrics]\nhost = "127.0.0.1"\nport = {port}\n'
    )
    create_topics(bootstrap, {names["output"]: PARTITIONS, names["dead_letter"]: 1})
    return {**names, "port": str(port)}


def rate(bootstrap: str, topic: str) -> float:
    """Records a second behind the first batch of `topic`, by the times at which they were sent."""
    times = np.sort([record.timestamp for record in read_topic(bootstrap, topic, timeout=120)])
    first_batch_ends = times[np.argmax(np.diff(times) > 20)] if (np.diff(times) > 20).any() else times[0]
    behind = times[times > first_batch_ends]
    return float(len(behind) / (times[-1] - first_batch_ends) * 1000)


def run_daemon(config: Path, port: str, ticks: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "forecaster", "run", "--config", str(config)], stderr=subprocess.DEVNULL, cwd=ROOT
    )

    def done() -> bool:
        assert process.poll() is None, f"the daemon ended with {process.returncode}"
        try:
            text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
        except OSError:
            return False
        count = next(line for line in text.splitlines() if line.startswith("forecaster_forecasts_total"))
        return float(count.split()[1]) >= ticks

    wait_until(done, 300, what="all forecasts")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ticks", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    broker = KafkaBroker()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_bundle(folder / "bundle")
        try:
            broker.start()
            figures = measure(broker.bootstrap, folder, options.ticks, options.rounds)
        finally:
            broker.close()
    print(f"{'':28}{'median':>12}{'all':>40}")
    for label in ("echo", *DELIVERIES):
        rates = figures[label]
        every = ", ".join(f"{rate:,.0f}" for rate in rates)
        print(f"{label + ', records a second':28}{statistics.median(rates):12,.0f}{every:>40}")
    ratio = statistics.median(figures["at_least_once"]) / statistics.median(figures["echo"])
    cost = statistics.median(figures["exactly_once"]) / statistics.median(figures["at_least_once"])
    setting = f"{SERIES} series, horizon {HORIZON}, 3 quantiles, {figures['bytes']:.0f} bytes each"
    print(f"forecaster, at least once / echo: {ratio:.2f}   ({setting})")
    print(f"exactly once / at least once: {cost:.2f}")
    summary = {
        "benchmark": "throughput", "client": "kafka-python", "emit": "every",
        "ticks": options.ticks, "series": SERIES, "horizon": HORIZON, "forecast_bytes": round(figures["bytes"]),
        "echo_per_s": round(statistics.median(figures["echo"])),
        "at_least_once_per_s": round(statistics.median(figures["at_least_once"])),
        "exactly_once_per_s": round(statistics.median(figures["exactly_once"])),
        "ratio": round(ratio, 3), "exactly_once_ratio": round(cost, 3),
        "cores": os.cpu_count(), "python": platform.python_version(),
    }  # fmt: skip
    print(json.dumps(summary))


def measure(bootstrap: str, folder: Path, ticks: int, rounds: int) -> dict:
    source = unique("ticks")
    create_topics(bootstrap, {source: PARTITIONS})
    random = np.random.default_rng(0)
    produce(
        bootstrap,
        source,
        (
            {
                "key": b"sensor-%d" % (n % SERIES),
                "value": b'{"series":"sensor-%d","ts":%d,"value":%.3f}'
                % (n % SERIES, 1_700_000_000_000 + 1_000 * (n // SERIES), random.normal(20, 1)),
            }
            for n in range(ticks)
        ),
    )
    figures: dict = {"echo": [], **{delivery: [] for delivery in DELIVERIES}}
    dump = folder / "forecasts.tsv"
    for turn in range(rounds):
        for delivery in DELIVERIES:
            config = folder / f"{delivery}-{turn}.toml"
            names = write_config(config, bootstrap, folder / "bundle", source, delivery)
            run_daemon(config, names["port"], ticks)
            figures[delivery].append(rate(bootstrap, names["output"]))
        if not turn:
            forecasts = read_topic(bootstrap, names["output"], timeout=120)
            figures["bytes"] = float(np.mean([len(record.value) for record in forecasts]))
            dump.write_bytes(b"\n".join(record.key + b"\t" + record.value for record in forecasts))
        config = folder / f"echo-{turn}.toml"
        names = write_config(config, bootstrap, folder / "bundle", source, "at_least_once")
        echo = [sys.executable, "-m", "benchmarks.echo", str(config), str(dump), str(ticks)]
        subprocess.run(echo, check=True, cwd=ROOT, stderr=subprocess.DEVNULL, timeout=300)
        figures["echo"].append(rate(bootstrap, names["output"]))
    return figures


if __name__ == "__main__":
    main()
