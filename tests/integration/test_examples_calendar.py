"""The configurations of docs/examples for time zones and sessions: trained small, served on a real Kafka."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from integration.examples import assert_documented, replayed, trained
from integration.helpers import wait_until
from integration.test_run import assert_a_backtest_scores, assert_equal_forecasts, published

from forecaster.config import load_settings
from forecaster.grid import Grid

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SMALL = {"MODEL__UNITS": "[8]", "TRAINING__EPOCHS": "2", "TRAINING__STEPS_PER_EPOCH": "5", "TRAINING__BATCH_SIZE": "8"}
SERIES = ("a", "b")
BEGIN_MS = (
    1_741_608_000_000  # 10 March 2025, noon: a Monday on which New York has changed its clocks and London has not
)
HOUR_MS, MINUTE_MS = 3_600_000, 60_000


def write_history(path: Path, times_ms: np.ndarray, zone: str) -> None:
    """Values with a day on the clock of `zone`."""
    random = np.random.default_rng(0)
    clock = [datetime.fromtimestamp(time_ms / 1_000, ZoneInfo(zone)) for time_ms in times_ms]
    minutes = [local.hour * 60 + local.minute for local in clock]
    values = 20 + 5 * np.sin(2 * np.pi * np.array(minutes) / 1_440) + random.normal(0, 0.5, (len(SERIES), len(minutes)))
    rows = [
        f"{name},{time_ms},{values[s, n]:.3f}" for n, time_ms in enumerate(times_ms) for s, name in enumerate(SERIES)
    ]
    path.write_text("\n".join(["series,ts,value", *rows]))


@pytest.fixture(params=["time_zone", "sessions"])
def served(request, kafka, tmp_path, monkeypatch):
    """The name of an example, its stream after training and serving, the times of its ticks, and the outcomes."""
    name, history = request.param, tmp_path / "history.csv"
    times_ms = BEGIN_MS + {"time_zone": HOUR_MS * np.arange(600), "sessions": 10 * MINUTE_MS * np.arange(2_000)}[name]
    write_history(history, times_ms, {"time_zone": "Europe/London", "sessions": "America/New_York"}[name])
    stream = trained(kafka, tmp_path, name, history, SMALL, monkeypatch)
    ticks = len(SERIES) * len(times_ms)
    with stream.daemon() as daemon:
        wait_until(lambda: sum(daemon.outcomes().values()) >= ticks, 60, what="an outcome for every tick")
        outcomes = daemon.outcomes()
        assert daemon.terminate() == 0
    return name, stream, times_ms, outcomes


def test_an_example_is_trained_and_served_as_it_stands_and_a_backtest_scores_the_same(served) -> None:
    name, stream, times_ms, outcomes = served
    settings = load_settings(stream.config)
    opened = int(Grid.of(settings.stream).is_open(times_ms).sum())
    closed = len(times_ms) - opened
    taken = "forecast" if name == "time_zone" else "aggregated"
    counts = {taken: len(SERIES) * opened, "rejected": len(SERIES) * closed}
    assert outcomes == {outcome: count for outcome, count in counts.items() if count}
    assert (closed > 0) == (name == "sessions")

    forecasts = published(stream)
    assert_documented(forecasts)
    for forecast in forecasts:
        assert len(forecast.get("times", [])) == (forecast["horizon"] if name == "sessions" else 0)
    assert_equal_forecasts(forecasts, replayed(stream))
    assert_a_backtest_scores(forecasts, stream, stream.folder / "history.csv")
