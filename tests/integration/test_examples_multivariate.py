"""The configuration of docs/examples for multivariate series: trained small, served on a real Kafka, as documented."""

import json
from contextlib import closing
from operator import itemgetter
from pathlib import Path

import numpy as np
import pytest
from integration.daemon import Daemon, forecaster
from integration.examples import assert_documented, replayed, trained
from integration.helpers import create_topics, produce, read_topic, wait_until
from integration.rigs import make_settings
from integration.test_page import Remote
from live_page import Stream as Events

from forecaster.config import InputSettings
from forecaster.kafka.python_history import read_history
from forecaster.recording import join

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

CHANNELS = ("temperature", "pressure", "flow")
SMALL = {"MODEL__UNITS": "[8]", "TRAINING__EPOCHS": "2", "TRAINING__STEPS_PER_EPOCH": "5", "TRAINING__BATCH_SIZE": "8"}
START_MS, HOUR_MS, ROUNDS, SERIES = 1_700_002_800_000, 3_600_000, 400, 2


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Hourly rows of a few boilers that have a day; of some rows the flow is not known."""
    hours, random = np.arange(ROUNDS), np.random.default_rng(0)
    wave = 20 + 5 * np.sin(2 * np.pi * hours / 24)
    rows = ["series,ts,temperature,pressure,flow"]
    for hour in hours.tolist():
        for n in range(SERIES):
            temperature, pressure, flow = wave[hour] * np.array([1, 0.1, 3]) + random.normal(0, 0.1, 3)
            flow_text = "" if hour % 7 == 3 else f"{flow:.3f}"
            rows.append(f"boiler-{n},{START_MS + HOUR_MS * hour},{temperature:.3f},{pressure:.3f},{flow_text}")
    path = tmp_path / "history.csv"
    path.write_text("\n".join(rows))
    return path


def shown(daemon: Daemon, channel: str) -> dict | None:
    """What the live page shows of a channel, once the last tick and its forecast are there."""
    with closing(Events(Remote(daemon), f"/events?name=boiler-0&channel={channel}")) as events:
        frames = dict(events.next() for _ in range(3))
    assert tuple(frames["channels"]["names"]) == CHANNELS
    series = frames["series"]
    last_ms = START_MS + HOUR_MS * (ROUNDS - 1)
    return series if series["time_ms"][-1:] == [last_ms] and series.get("origin") == last_ms else None


def test_the_example_is_trained_and_served_and_drawn_and_other_channels_are_refused(
    kafka, history, tmp_path, monkeypatch
) -> None:
    stream = trained(kafka, tmp_path, "multivariate", history, SMALL, monkeypatch)
    monkeypatch.setenv("FORECASTER_WEB__ENABLED", "true")
    monkeypatch.setenv("FORECASTER_WEB__PORT", "0")
    with stream.daemon() as daemon:
        frames = {name: wait_until(lambda name=name: shown(daemon, name), 60, what="a fan") for name in CHANNELS}
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= SERIES * ROUNDS, 60, what="every forecast")
        assert daemon.outcomes() == {"forecast": SERIES * ROUNDS}
        assert daemon.terminate() == 0
    served = [json.loads(record.value) for record in read_topic(kafka, stream.output)]
    assert_documented(served)
    for message in served:
        assert tuple(message["channels"]) == CHANNELS
    places = {(message["series"], message["origin"]): message for message in replayed(stream)}
    for message in served:
        other = places.pop((message["series"], message["origin"]))
        for name in CHANNELS:
            one, two = (whole["channels"][name]["point"] for whole in (message, other))
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-3)
    assert not places
    newest = max((message for message in served if message["series"] == "boiler-0"), key=itemgetter("origin"))
    for name, frame in frames.items():
        assert frame["channel"] == name
        middle = frame["fan"]["levels"].index("0.5")
        assert frame["fan"]["bands"][middle] == newest["channels"][name]["quantiles"]["0.5"]
    monkeypatch.setenv("FORECASTER_INPUT__CHANNELS", '["temperature", "flow"]')
    refused = forecaster("run", "--config", str(stream.config))
    assert refused.returncode == 2
    assert refused.stderr.strip().startswith("forecaster: input.channels: the configuration says")


def test_channels_come_from_the_history_of_a_topic_too(kafka) -> None:
    settings = make_settings(kafka)
    settings = settings.model_copy(update={"input": InputSettings(channels=CHANNELS)})
    create_topics(kafka, {settings.topics.input: 1})
    values = [{"temperature": 1, "flow": 2.5, "note": "x"}, None, {"pressure": "high"}, {"pressure": 3}]
    records = [
        {"value": json.dumps({"series": "a", "ts": START_MS + n, "value": value}).encode()}
        for n, value in enumerate(values)
    ]
    produce(kafka, settings.topics.input, records)
    said: list[str] = []
    ticks = join(read_history(settings, "test", None, said.append))
    nan = np.nan
    np.testing.assert_array_equal(ticks.value, [[1, nan, 2.5], [nan, nan, nan], [nan, 3, nan]])
    assert "1 wrong_type" in said[0]
