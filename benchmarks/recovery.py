"""What a restart costs with many series: the time to the first forecast, and what checkpoints take.

python -m benchmarks.recovery [--series N] [--partitions N]

One daemon learns N series of 64 observations each and writes checkpoints; a second one, started after the first was
killed, goes on from them. Measured from outside: the process's start to the first new forecast that a reader of
committed records sees, beside a bare `import tensorflow` in the same run. The last line printed is one JSON object.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from benchmarks.throughput import CONTEXT, ROOT, make_bundle

sys.path.insert(0, str(ROOT / "tests"))

from integration.helpers import create_topics, read_topic, unique, wait_until
from integration.kafka_broker import KafkaBroker, free_port

START_MS = 1_700_000_000_000
TICKS_A_RECORD = 1_000
CONFIG = """
emit = "latest"
[state]
checkpoint_interval = "{interval}"
[stream]
step = "1s"
[model]
bundle = "{bundle}"
[kafka]
bootstrap_servers = "{bootstrap}"
group_id = "{group}"
session_timeout = "6s"
transaction_timeout = "5s"
group_instance_id = "bench"
[topics]
input = "{input}"
output = "{output}"
dead_letter = "{dead_letter}"
state = "{state}"
[metrics]
host = "127.0.0.1"
port = {port}
"""


def records(series: int, partitions: int) -> Iterator[tuple[int, bytes]]:
    """(partition, record): 64 observations of every series, a thousand ticks a record."""
    values = np.random.default_rng(0).normal(20, 1, 1_000).round(3).tolist()
    for step in range(CONTEXT):
        for low in range(0, series, TICKS_A_RECORD):
            ticks = (
                f'{{"series":"sensor-{n}","ts":{START_MS + 1000 * step},"value":{values[(n + step) % 1_000]}}}'
                for n in range(low, min(low + TICKS_A_RECORD, series))
            )
            yield low // TICKS_A_RECORD % partitions, f"[{','.join(ticks)}]".encode()


def start(config: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "forecaster", "run", "--config", str(config)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, cwd=ROOT)


def metrics(port: int) -> dict[str, float]:
    """Samples by name and labels; empty while nothing answers."""
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode()
    except OSError:
        return {}
    lines = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in lines}


def seconds_to_import() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import tensorflow"], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - began


def total(found: dict[str, float], name: str) -> float:
    """The sum over all labels of metric `name`."""
    return sum(value for sample, value in found.items() if sample.partition("{")[0] == name)


def first_run(config: Path, bootstrap: str, names: dict[str, str], series: int, partitions: int) -> dict[str, float]:
    """Let a daemon take everything and write a checkpoint behind it; then kill it."""
    port = int(names["port"])
    process = start(config)

    def reaches(name: str, least: float) -> None:
        def there() -> bool:
            assert process.poll() is None, "the daemon ended"
            return total(metrics(port), name) >= least

        wait_until(there, 900, what=f"{name} {least}")

    reaches("forecaster_ticks_total", series * CONTEXT)
    for more in (1, 2):  # the first checkpoint from now on may have been begun before
        produce_tick(bootstrap, names["input"], CONTEXT + more, partitions)
        reaches("forecaster_checkpoints_total", total(metrics(port), "forecaster_checkpoints_total") + partitions)
    found = metrics(port)
    process.send_signal(signal.SIGKILL)
    process.wait()
    copies = found["forecaster_checkpoint_seconds_count"]
    return {
        "mean_copy_ms": 1_000 * found["forecaster_checkpoint_seconds_sum"] / copies,
        "slowest_copy_below_ms": 1_000 * slowest(found),
    }


def produce_tick(bootstrap: str, topic: str, step: int, partitions: int) -> None:
    """One more tick into each partition."""
    with closing(KafkaProducer(bootstrap_servers=bootstrap)) as producer:
        for number in range(partitions):
            tick = {"series": f"sensor-{number * TICKS_A_RECORD}", "ts": START_MS + 1000 * step, "value": 20.5}
            producer.send(topic, json.dumps(tick).encode(), partition=number).get(30)


def slowest(found: dict[str, float]) -> float:
    """The upper end of the last bucket of copies that holds one, in seconds."""
    buckets = {name: value for name, value in found.items() if name.startswith("forecaster_checkpoint_seconds_bucket")}
    total = found["forecaster_checkpoint_seconds_count"]
    return min(float(name.split('"')[1]) for name, value in buckets.items() if value >= total)


def second_run(config: Path, bootstrap: str, names: dict[str, str]) -> dict[str, float]:
    """Seconds from the start of a new process to the first new forecast, and its counts then."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")) as reader:
        parts = [TopicPartition(names["output"], number) for number in reader.partitions_for_topic(names["output"])]
        reader.assign(parts)
        for part, end in reader.end_offsets(parts).items():
            reader.seek(part, end)
        produce_tick(bootstrap, names["input"], CONTEXT + 3, 1)
        began = time.monotonic()
        process = start(config)
        wait_until(lambda: reader.poll(timeout_ms=20), 300, what="the first forecast")
        seconds = time.monotonic() - began
    found = metrics(int(names["port"]))
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    from_checkpoint = found['forecaster_restores_total{source="checkpoint"}']
    return {"start_s": seconds, "replayed": found["forecaster_replayed_records_total"], "restored": from_checkpoint}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=1)
    options = parser.parse_args()
    broker = KafkaBroker()
    with tempfile.TemporaryDirectory() as folder:
        try:
            broker.start()
            figures = measure(broker.bootstrap, Path(folder), options.series, options.partitions)
        finally:
            broker.close()
    for name, figure in figures.items():
        print(f"{name:28}{figure:14,.1f}")
    print(json.dumps({"benchmark": "recovery", **vars(options), **figures, "cores": os.cpu_count()}))


def measure(bootstrap: str, folder: Path, series: int, partitions: int) -> dict[str, float]:
    make_bundle(folder / "bundle")
    names = {name: unique(name) for name in ("input", "output", "dead_letter", "group")}
    names |= {"state": unique("state"), "port": str(free_port())}
    config = folder / "forecaster.toml"
    config.write_text(CONFIG.format(**names, bootstrap=bootstrap, bundle=folder / "bundle", interval="5s"))
    create_topics(bootstrap, {names["input"]: partitions, names["output"]: partitions, names["dead_letter"]: 1})
    with closing(KafkaProducer(bootstrap_servers=bootstrap, batch_size=2**19, linger_ms=5)) as producer:
        for partition, record in records(series, partitions):
            producer.send(names["input"], record, partition=partition)
        producer.flush()
    figures = first_run(config, bootstrap, names, series, partitions)
    state = read_topic(bootstrap, names["state"], timeout=120)
    newest = {record.key: len(record.value or b"") for record in state}
    figures["bytes_in_state_topic"] = sum(newest.values()) / series
    figures["import_tensorflow_s"] = seconds_to_import()
    figures |= second_run(config, bootstrap, names)
    figures["beyond_import_s"] = figures["start_s"] - figures["import_tensorflow_s"]
    return figures


if __name__ == "__main__":
    main()
