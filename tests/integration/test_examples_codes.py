"""The examples that go on from a state, trained and served as they are configured, on a real Kafka at a small size."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from integration.daemon import Stream, forecaster
from integration.examples import EXAMPLES, assert_documented
from integration.helpers import create_topics, produce, read_topic, wait_until
from integration.rigs import make_settings

from forecaster.config import InputSettings, ModelSettings
from forecaster.kafka.python_history import read_history
from forecaster.recording import join

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

START_MS, STEP_MS, SERIES, ROUNDS = 1_700_000_100_000 // 300_000 * 300_000, 300_000, ("press-1", "press-2"), 400
SMALL = {"epochs = 20": "epochs = 6\nsteps_per_epoch = 20\nlearning_rate = 0.02", "= 288": "= 32", "= 128": "= 32"}
SMALL |= {"context_length = 240": "context_length = 48", "paths = 32": "paths = 8"}
STATES = ("idle", "warm", "hot")
MOVES = np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]])


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """States that mostly go round, and a label that they decide: hot after warm is near a failure."""
    draw, path = np.random.default_rng(0), tmp_path_factory.mktemp("codes") / "states.csv"
    state = dict.fromkeys(SERIES, 0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["series", "ts", "value", "near"])
        for n in range(ROUNDS):
            for name in SERIES:
                before, state[name] = state[name], int(draw.choice(3, p=MOVES[state[name]]))
                near = "yes" if (before, state[name]) == (1, 2) else "no"
                rows.writerow([name, START_MS + n * STEP_MS, STATES[state[name]], near])
    return path


def served(kafka: str, folder: Path, recording: Path, example: str) -> tuple[list[dict], dict[str, float]]:
    """Every message that a daemon with `example` gives for the ticks of `recording`, and what it counted."""
    text = (EXAMPLES / f"{example}.toml").read_text()
    for long, small in SMALL.items():
        text = text.replace(long, small)
    stream = Stream(kafka, folder, text.replace("[model]", f'[model]\nbundle = "{folder / "bundle"}"'))
    for command in (["train", "--out", str(folder / "bundle")], ["backtest"], ["produce"]):
        done = forecaster(command[0], "--config", str(stream.config), "--input", str(recording), *command[1:])
        assert done.returncode == 0, done.stderr
    with stream.daemon() as daemon:
        total = len(SERIES) * ROUNDS
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= total, 60, what="an answer per tick")
        counts = daemon.outcomes() | {"unknown": daemon.metric("forecaster_unknown_codes_total")}
        assert daemon.terminate() == 0
    messages = [json.loads(record.value) for record in read_topic(kafka, stream.output)]
    assert_documented(messages)
    return messages, counts


def test_the_next_symbol_is_told_and_continued(kafka, tmp_path, recording) -> None:
    messages, counts = served(kafka, tmp_path, recording, "symbols")
    assert counts == {"forecast": len(SERIES) * ROUNDS, "unknown": 0}
    with recording.open() as file:
        states = {(row["series"], int(row["ts"])): row["value"] for row in csv.DictReader(file)}
    following = {state: STATES[(n + 1) % 3] for n, state in enumerate(STATES)}
    late = [m for m in messages if m["maturity"] == "ready"]
    right = [next(iter(m["next"])) == following[states[m["series"], m["origin"]]] for m in late]
    assert np.mean(right) > 0.9, "eight moves of ten go round: the likeliest is the next one of the circle"
    steps = [path[0] == following[states[m["series"], m["origin"]]] for m in late for path in m["paths"]]
    assert 0.6 < np.mean(steps) < 0.95


def test_a_class_is_told_of_each_tick(kafka, tmp_path, recording) -> None:
    messages, counts = served(kafka, tmp_path, recording, "classify")
    assert counts == {"forecast": len(SERIES) * ROUNDS, "unknown": 0}
    with recording.open() as file:
        near = {(row["series"], int(row["ts"])): row["near"] for row in csv.DictReader(file)}
    late = [m for m in messages if m["maturity"] == "ready"]
    assert np.mean([m["class"] == near[m["series"], m["origin"]] for m in late]) > 0.9


@pytest.fixture(scope="module")
def hourly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two series with a day's wave, and noise that lasts for hours."""
    draw, path = np.random.default_rng(0), tmp_path_factory.mktemp("paths") / "hourly.csv"
    noise = dict.fromkeys(SERIES, 0.0)
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["series", "ts", "value"])
        for n in range(ROUNDS):
            for name in SERIES:
                noise[name] = 0.9 * noise[name] + draw.normal()
                rows.writerow([name, START_MS // 3_600_000 * 3_600_000 + n * 3_600_000, 20 + noise[name] + n % 24])
    return path


def test_paths_of_values_are_drawn_and_their_quantiles_are_those_of_the_paths(kafka, tmp_path, hourly) -> None:
    messages, counts = served(kafka, tmp_path, hourly, "paths")
    assert counts == {"forecast": len(SERIES) * ROUNDS, "unknown": 0}
    for message in messages[-20:]:
        paths = np.array(message["paths"])
        assert paths.shape == (8, 24)
        for level, numbers in message["quantiles"].items():
            np.testing.assert_allclose(numbers, np.quantile(paths, float(level), axis=0), atol=1e-4)
    together = [np.corrcoef(np.array(m["paths"])[:, :2].T)[0, 1] for m in messages if m["maturity"] == "ready"]
    assert np.mean(together) > 0.05, "what lasts for hours shows in one step after the other, soon after the start"


def test_codes_and_labels_come_from_the_history_of_a_topic_too(kafka) -> None:
    settings = make_settings(kafka)
    update = {"model": ModelSettings(task="classify"), "input": InputSettings(label_field="near")}
    settings = settings.model_copy(update=update)
    create_topics(kafka, {settings.topics.input: 1})
    rows = [("warm", "no"), (7, "yes"), (None, None), ("warm", "yes")]
    records = [
        {"value": json.dumps({"series": "a", "ts": START_MS + n, "value": value, "near": near}).encode()}
        for n, (value, near) in enumerate(rows)
    ]
    produce(kafka, settings.topics.input, records)
    ticks = join(read_history(settings, "test", None, print))
    assert [code for _, _, code in ticks.ticks()][:2] == ["warm", "7"]
    assert list(zip(ticks.codes, ticks.labels, strict=True)) == [("warm", "no"), ("7", "yes"), ("warm", "yes")]
