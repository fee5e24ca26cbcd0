"""The configurations of docs/examples for recurrent networks: trained small, served on a real Kafka, as documented."""

from pathlib import Path

import numpy as np
import pytest
from integration.examples import assert_documented, replayed, trained
from integration.helpers import wait_until
from integration.test_run import assert_equal_forecasts, published

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SMALL = {"MODEL__UNITS": "[8]", "TRAINING__EPOCHS": "2", "TRAINING__STEPS_PER_EPOCH": "5", "TRAINING__BATCH_SIZE": "8"}
ROUNDS, SERIES = 500, 2


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Hourly values of a few series that have a day."""
    hours, random = np.arange(ROUNDS), np.random.default_rng(0)
    values = 20 + 5 * np.sin(2 * np.pi * hours / 24) + random.normal(0, 1, (SERIES, ROUNDS))
    rows = (f"s{n},{1_700_002_800_000 + 3_600_000 * h},{values[n, h]:.3f}" for h in hours for n in range(SERIES))
    path = tmp_path / "history.csv"
    path.write_text("\n".join(["series,ts,value", *rows]))
    return path


@pytest.mark.parametrize(
    ("name", "outputs", "changes"),
    [
        ("lstm", 96, {"MODEL__UNITS": "[8, 4]"}),
        ("maximum", 1, {}),
        ("many_to_many", 24, {}),
    ],
)
def test_an_example_is_trained_and_served_as_it_stands(
    name, outputs, changes, kafka, history, tmp_path, monkeypatch
) -> None:
    stream = trained(kafka, tmp_path, name, history, SMALL | changes, monkeypatch)
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= SERIES * ROUNDS, 60, what="every forecast")
        assert daemon.outcomes() == {"forecast": SERIES * ROUNDS}
        assert daemon.terminate() == 0
    forecasts = published(stream)
    assert_documented(forecasts)
    for forecast in forecasts:
        assert {len(forecast["point"]), *map(len, forecast["quantiles"].values())} == {outputs}
        assert forecast.get("aggregate") == ("max" if outputs == 1 else None)
    assert_equal_forecasts(forecasts, replayed(stream))
