"""The input topic's history, read from a real Apache Kafka: all that was there at the start, and nothing else."""

import json
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from integration.daemon import Stream, forecaster
from integration.helpers import create_topics, delete_records, produce, unique
from integration.kafka_broker import free_port
from integration.rigs import make_settings, topics_of
from kafka import KafkaAdminClient, KafkaProducer

from forecaster.config import InputSettings, Settings
from forecaster.errors import BrokerUnavailableError, ConfigError
from forecaster.kafka import python_history
from forecaster.kafka.python_history import read_history
from forecaster.recording import Columns, Recording, join, read_recording

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(300)]

START = 1_700_000_000_000


@pytest.fixture
def settings(kafka: str) -> Settings:
    """A topic of two partitions of its own."""
    made = make_settings(kafka)
    create_topics(kafka, {made.topics.input: 2})
    return made


def tick(series: str, number: int) -> bytes:
    return json.dumps({"series": series, "ts": START + 1000 * number, "value": number}).encode()


def put(settings: Settings, values: list[bytes], partition: int = 0, timestamp_ms: int | None = None) -> None:
    records = [{"value": value, "partition": partition, "timestamp_ms": timestamp_ms} for value in values]
    produce(settings.kafka.bootstrap_servers, settings.topics.input, records)


def history(settings: Settings, start_ms: int | None = None) -> tuple[list[Recording], list[str]]:
    """The parts, and what was said about them."""
    said: list[str] = []
    return list(read_history(settings, "test", start_ms, said.append)), said


def numbers(parts: list[Recording]) -> list[tuple[str, int]]:
    return [(series, round(value)) for series, _, value in join(parts).ticks()]


def test_every_tick_comes_once_in_the_order_of_its_partition(settings, monkeypatch) -> None:
    monkeypatch.setattr(python_history, "RECORDS", 70)  # so that there are many parts
    put(settings, [tick("a" if n % 3 else "b", n) for n in range(300)], 1)
    put(settings, [tick("c", n) for n in range(100)], 0)
    parts, said = history(settings)
    assert numbers(parts) == [*(("c", n) for n in range(100)), *(("a" if n % 3 else "b", n) for n in range(300))]
    assert [part.partition for part in parts] == sorted(part.partition for part in parts)
    assert len(parts) > 4
    assert said == []


def test_what_comes_while_it_is_read_is_left_for_the_next_time(settings) -> None:
    for partition in (0, 1):
        put(settings, [tick("ab"[partition], n) for n in range(10)], partition)
    reading = read_history(settings, "test", None, print)
    parts = [next(reading)]
    for partition in (0, 1):
        put(settings, [tick("ab"[partition], n) for n in range(10, 20)], partition)
    assert numbers(parts + list(reading)) == [(series, n) for series in "ab" for n in range(10)]


def test_transactions_end_where_their_markers_are_and_aborted_ones_are_left_out(settings) -> None:
    with closing(
        KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers, transactional_id=unique("writer"))
    ) as producer:
        producer.init_transactions()
        for number, end in enumerate(("commit", "abort", "commit", "abort")):
            producer.begin_transaction()
            producer.send(settings.topics.input, tick("a", number), partition=0).get(timeout=30)
            getattr(producer, f"{end}_transaction")()
        parts, _ = history(settings)
        assert numbers(parts) == [("a", 0), ("a", 2)]

        producer.begin_transaction()  # one that is open ends the history before it
        producer.send(settings.topics.input, tick("a", 9), partition=0).get(timeout=30)
        parts, _ = history(settings)
        producer.abort_transaction()
        assert numbers(parts) == [("a", 0), ("a", 2)]


def test_it_may_begin_at_a_time_of_the_records(settings) -> None:
    for number in range(10):
        put(settings, [tick("a", number)], 0, START + 60_000 * number)
    put(settings, [tick("old", number) for number in range(10)], 1, START)
    parts, _ = history(settings, START + 60_000 * 4 - 1)
    assert numbers(parts) == [("a", number) for number in range(4, 10)]


def test_what_retention_has_deleted_is_not_waited_for(settings) -> None:
    put(settings, [tick("a", number) for number in range(10)])
    delete_records(settings.kafka.bootstrap_servers, settings.topics.input, {0: 7})
    assert numbers(history(settings)[0]) == [("a", 7), ("a", 8), ("a", 9)]


def test_what_serving_would_refuse_is_left_out_and_counted_in_one_line(settings) -> None:
    far = json.dumps({"series": "a", "ts": START + 10**10, "value": 1}).encode()
    array = b"[" + tick("a", 1) + b', {"series": "a"}]'
    put(settings, [tick("a", 0), b"no\njson", array, b"{}", far, tick("a", 2)], 0, START + 5000)
    parts, said = history(settings)
    assert numbers(parts) == [("a", 0), ("a", 1), ("a", 2)]
    (line,) = said
    assert line.startswith(
        "left out what is malformed in 4 records (2 missing_field, 1 not_json, 1 future); "
        f"the first: {settings.topics.input}/0/1: "
    )
    assert "\n" not in line


def test_it_joins_no_group_and_creates_no_topic(settings) -> None:
    put(settings, [tick("a", 0)])
    history(settings)
    absent = topics_of(settings, {"input": unique("absent")})
    for _ in range(2):
        with pytest.raises(ConfigError, match=f"topics.input = '{absent.topics.input}': no such topic"):
            history(absent)
    with closing(KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)) as admin:
        assert settings.kafka.group_id not in str(admin.list_groups())


def test_a_topic_without_a_tick_is_refused_and_so_is_one_without_any_since_the_given_time(settings) -> None:
    with pytest.raises(ConfigError, match=r"topics.input = '.*': holds no tick$"):
        history(settings)
    put(settings, [tick("a", 0)], 0, START)
    with pytest.raises(ConfigError, match="holds no tick since --from"):
        history(settings, START + 1)


def test_a_broker_that_is_not_there_is_waited_for_no_longer_than_the_start_may_take() -> None:
    settings = make_settings(f"127.0.0.1:{free_port()}", startup_timeout="1s")
    with pytest.raises(BrokerUnavailableError, match="no broker is ready"):
        history(settings)


def test_training_from_the_topic_equals_training_from_the_file_that_was_produced_to_it(kafka, tmp_path: Path) -> None:
    hours = np.arange(24 * 20)
    wave = np.random.default_rng(0).normal(np.sin(2 * np.pi * hours / 24), 0.1)
    rows = [f"{name},{START + 3_600_000 * hour},{wave[hour] + k}" for hour in hours for k, name in enumerate("ab")]
    (tmp_path / "ticks.csv").write_text("series,ts,value\n" + "\n".join([*rows, rows[0]]))
    toml = """
[stream]
step = "1h"
[model]
horizon = 3
context_length = 24
units = [4]
[training]
epochs = 1
steps_per_epoch = 2
"""
    stream = Stream(kafka, tmp_path, toml, partitions=1)
    config = ["--config", str(stream.config)]
    made = forecaster("produce", *config, "--input", str(tmp_path / "ticks.csv"))
    assert made.returncode == 0, made.stderr
    for name, source in (("file", ["--input", str(tmp_path / "ticks.csv")]), ("topic", ["--from-kafka"])):
        done = forecaster("train", *config, *source, "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        assert "late: 1 tick left out" in " ".join(done.stderr.split())
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("file", "topic")]
    for manifest in manifests:  # how fast it went, and the digest with it, is no part of what came out
        del manifest["training"]["throughput"], manifest["manifest_sha256"]
    assert manifests[0] == manifests[1]
    recording = read_recording([tmp_path / "ticks.csv"], InputSettings(), Columns())
    assert manifests[0]["training"]["data_sha256"] == recording.fingerprint()
