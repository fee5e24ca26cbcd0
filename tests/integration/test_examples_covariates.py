"""The configuration with covariates: trained small, served on a real Kafka, and its forecasts use what is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from integration.daemon import forecaster
from integration.examples import replayed, trained
from integration.helpers import produce, read_topic, wait_until
from integration.test_run import assert_equal_forecasts, published

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SMALL = {"MODEL__UNITS": "[8]", "MODEL__CONTEXT_LENGTH": "96", "TRAINING__EPOCHS": "12"}
SMALL |= {"TRAINING__STEPS_PER_EPOCH": "20", "TRAINING__BATCH_SIZE": "16", "TRAINING__LEARNING_RATE": "0.02"}
ROUNDS, HORIZON, START_MS, HOUR = 600, 24, 1_700_002_800_000, 3_600_000


@pytest.fixture
def values() -> np.ndarray:
    """`[rounds, 3]`: a value that an outdoor temperature without a pattern drives, a load, and the temperature."""
    random = np.random.default_rng(0)
    outdoor, load = random.normal(10, 8, ROUNDS), random.normal(3, 1, ROUNDS)
    return np.stack([100 - 2 * outdoor + random.normal(0, 1, ROUNDS), load, outdoor], axis=1)


def history(path: Path, values: np.ndarray, *, known: bool = True) -> Path:
    """A file of `values`, whose temperature is missing unless it is `known`."""
    rows = (f"{START_MS + HOUR * n},{v:.3f},{load:.3f},{t if known else ''}" for n, (v, load, t) in enumerate(values))
    path.write_text("\n".join(["ts,house,load,outdoor", *rows]))
    return path


def error(forecasts: list[dict], values: np.ndarray) -> float:
    """The mean absolute error of those from the last third of the values."""
    found = []
    for forecast in forecasts:
        first = (forecast["origin"] - START_MS) // HOUR + 1
        if 2 * ROUNDS // 3 < first <= ROUNDS - HORIZON:
            found.append(np.abs(values[first : first + HORIZON, 0] - forecast["point"]).mean())
    return float(np.mean(found))


def test_the_example_is_trained_and_served_and_forecasts_by_what_is_known(kafka, values, tmp_path, monkeypatch) -> None:
    recorded = history(tmp_path / "history.csv", values)
    stream = trained(kafka, tmp_path, "covariates", recorded, SMALL, monkeypatch)
    unknown, blind = history(tmp_path / "unknown.csv", values, known=False), tmp_path / "unknown.jsonl"
    done = forecaster("replay", "--config", str(stream.config), "--input", str(unknown), "--out", str(blind))
    assert done.returncode == 0, done.stderr
    short = {"series": "house", "ts": START_MS + HOUR * ROUNDS, "value": 80, "outdoor": [1.0] * HORIZON}
    produce(kafka, stream.input, [{"value": json.dumps(short).encode()}])
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= ROUNDS, 60, what="every forecast")
        wait_until(lambda: daemon.metric("forecaster_dead_letters_total") == 1, 60, what="the dead letter")
        assert daemon.outcomes() == {"forecast": ROUNDS}
        assert daemon.terminate() == 0
    (letter,) = read_topic(kafka, stream.dead)
    headers = dict(letter.headers)
    assert headers["forecaster-reason"] == b"bad_covariate"
    assert b"'outdoor' has 24 numbers, not 25" in headers["forecaster-error"]
    forecasts = published(stream)
    assert_equal_forecasts(forecasts, replayed(stream))
    without = [json.loads(line) for line in blind.read_text("utf-8").splitlines()]
    assert error(forecasts, values) < 0.4 * error(without, values)
