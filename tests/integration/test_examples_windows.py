"""The configurations of docs/examples for networks over windows: trained small, served on a real Kafka."""

import json
from pathlib import Path

import numpy as np
import pytest
from integration.examples import assert_documented, replayed, trained
from integration.helpers import wait_until
from integration.test_run import assert_equal_forecasts, published

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SMALL = {
    "MODEL__UNITS": "[8]", "MODEL__CONTEXT_LENGTH": "48", "MODEL__HORIZON": "12", "TRAINING__EPOCHS": "2",
    "TRAINING__STEPS_PER_EPOCH": "8", "TRAINING__BATCH_SIZE": "8",
}  # fmt: skip
HOURS = 400


@pytest.fixture
def history(tmp_path: Path) -> tuple[Path, int]:
    """Hourly values of three sensors: one with a gap of a day and one that is new at the end; and how many ticks."""
    random, rows = np.random.default_rng(0), []
    for hour in range(HOURS):
        for sensor in ("old", "gap", "new"):
            if (sensor == "gap" and 200 <= hour < 224) or (sensor == "new" and hour < HOURS - 30):
                continue
            value = 20 + 5 * np.sin(2 * np.pi * hour / 24) + random.normal()
            rows.append(f"{sensor},{1_700_000_400_000 + 3_600_000 * hour},{value:.3f}")
    path = tmp_path / "history.csv"
    path.write_text("\n".join(["series,ts,value", *rows]))
    return path, len(rows)


@pytest.mark.parametrize("name", ["short_windows", "encoder_decoder", "attention"])
def test_an_example_is_trained_and_served_from_the_first_tick_of_a_new_sensor_on(
    name, kafka, history, tmp_path, monkeypatch
) -> None:
    path, ticks = history
    stream = trained(kafka, tmp_path, name, path, SMALL, monkeypatch)
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= ticks, 120, what="every forecast")
        assert daemon.outcomes() == {"forecast": ticks}
        seen, padding = (daemon.metric("forecaster_window_steps_total", part=part) for part in ("seen", "padding"))
        assert seen >= ticks
        assert padding > 0
        assert daemon.terminate() == 0
    forecasts = published(stream)
    assert_documented(forecasts)
    assert sum(forecast["series"] == "new" for forecast in forecasts) == 30
    assert json.loads((tmp_path / "bundle" / "manifest.json").read_text())["training"]["padding"] > 0
    assert_equal_forecasts(forecasts, replayed(stream))
