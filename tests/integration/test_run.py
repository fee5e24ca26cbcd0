"""`forecaster run` as an operator knows it: a process, a real Apache Kafka, and clients that are not ours."""

import csv
import gzip
import json
import signal
import subprocess
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from integration.daemon import ROOT, Daemon, Stream, forecaster
from integration.helpers import kcat, produce, read_topic, tool, wait_until
from integration.kafka_broker import free_port
from integration.undisturbed import undisturbed
from jsonschema import Draft202012Validator

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import load_configured, save_bundle
from forecaster.config import load_settings
from forecaster.features.settings import FeatureSettings
from forecaster.networks.many_to_many import Network
from forecaster.networks.spec import NetworkSettings
from forecaster.recording import Columns, read_recording
from training.backtest import Part, backtest
from training.origins import Choice

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(600)]

SHARED = ROOT.parent / "shared" / "data"
ROWS = 600  # of ETTh1
DESIGN_METRICS = [
    "forecaster_ticks_total",
    "forecaster_forecasts_total",
    "forecaster_tick_to_forecast_seconds_count",
    "forecaster_stage_seconds_count",
    "forecaster_batch_size_count",
    "forecaster_series",
    "forecaster_consumer_lag_records",
    "forecaster_consumer_lag_seconds",
    "forecaster_model_info",
    "forecaster_checkpoint_seconds_count",
]


def needs(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"needs the data file {path.name}, which is not beside this checkout")
    return path


def bundle(folder: Path, step_ms: int, *, bar: str | None = None, seasons: tuple[int, ...] = (), context=48, horizon=6):
    """A bundle with drawn weights: what is tested here is the way of the ticks, not the forecasts' worth."""
    features = FeatureSettings.derive(seasons, context)
    shape = NetworkSettings(
        inputs=len(features.input_names), recents=features.recents, units=(8,), horizon=horizon,
        quantiles=(0.1, 0.5, 0.9), dropout=0.0,
    )  # fmt: skip
    manifest = Manifest(
        name="drawn", version="", step_ms=step_ms, bar=bar, context_length=context, features=features,
        network=shape, training={},
    )  # fmt: skip
    save_bundle(folder, manifest, Network(shape, seed=1))
    return folder


def sine_ticks(series: int, rounds: range) -> list[dict]:
    """`rounds` ticks a second apart for each of `series` series."""
    return [
        {
            "key": f"s{n}".encode(),
            "value": json.dumps(
                {"series": f"s{n}", "ts": 1_700_000_000_000 + 1000 * r, "value": round(20 + n + np.sin(r / 9), 4)}
            ).encode(),
        }
        for r in rounds
        for n in range(series)
    ]


def published(stream: Stream) -> list[dict]:
    return [json.loads(record.value) for record in read_topic(stream.bootstrap, stream.output)]


def by_origin(forecasts: list[dict]) -> dict[tuple[str, int], dict]:
    return {(f["series"], f["origin"]): f for f in forecasts}


def assert_equal_forecasts(left: list[dict], right: list[dict]) -> None:
    """The same (series, origin) pairs, once each, with numbers equal in the design's sense."""
    assert len(left) == len(right)
    one, other = by_origin(left), by_origin(right)
    assert one.keys() == other.keys()
    assert len(one) == len(left)
    for key, forecast in one.items():
        for level, numbers in forecast["quantiles"].items():
            a, b = np.array(numbers), np.array(other[key]["quantiles"][level])
            spread = np.ptp([forecast["quantiles"]["0.1"], forecast["quantiles"]["0.9"]])
            assert (np.abs(a - b) <= 1e-5 * np.maximum(1, np.maximum(np.abs(a), spread))).all(), key
        assert forecast["maturity"] == other[key]["maturity"]


@pytest.fixture(scope="module")
def second_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return bundle(tmp_path_factory.mktemp("model") / "second", 1_000)


def second_stream(kafka: str, folder: Path, model: Path, extra: str = "", **options) -> Stream:
    return Stream(kafka, folder, f'{extra}\n[stream]\nstep = "1s"\n[model]\nbundle = "{model}"\n', **options)


@pytest.fixture(scope="module")
def etth1(kafka: str, tmp_path_factory: pytest.TempPathFactory):
    """ETTh1 through `train`, `produce`, `run` and `replay`: the stream, its daemon's outcomes and the replay."""
    path = needs(SHARED / "ett" / "ETTh1.csv.gz")
    folder = tmp_path_factory.mktemp("etth1")
    part = folder / "part.csv"
    with gzip.open(path, "rt") as file:
        part.write_text("".join(next(file) for _ in range(ROWS + 1)))
    toml = f"""
[stream]
step = "1h"
[model]
bundle = "{folder}/bundle"
horizon = 24
context_length = 96
seasons = ["1d"]
units = [16]
[training]
epochs = 2
steps_per_epoch = 5
"""
    stream = Stream(kafka, folder, toml, partitions=4)
    for command in (
        ("train", "--config", str(stream.config), "--input", str(part), "--out", f"{folder}/bundle"),
        ("produce", "--config", str(stream.config), "--input", str(part)),
        ("replay", "--config", str(stream.config), "--input", str(part), "--out", f"{folder}/replay.jsonl"),
    ):
        done = forecaster(*command)
        assert done.returncode == 0, done.stderr
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= 7 * ROWS, 60, what="a forecast per tick")
        outcomes = daemon.outcomes()
        assert daemon.terminate() == 0
    replayed = [json.loads(line) for line in (folder / "replay.jsonl").read_text().splitlines()]
    return stream, outcomes, replayed


def test_an_independent_client_reads_exactly_one_valid_forecast_per_tick(etth1) -> None:
    stream, outcomes, _ = etth1
    lines = kcat(stream.bootstrap, "-C", "-t", stream.output, "-e", "-q", "-f", "%k\t%s\n").decode().splitlines()
    schema = json.loads((ROOT / "docs" / "forecast.schema.json").read_text())
    validator = Draft202012Validator(schema)
    per_series: Counter[str] = Counter()
    for line in lines:
        key, value = line.split("\t")
        forecast = json.loads(value)
        validator.validate(forecast)
        assert key == forecast["series"]
        per_series[key] += 1
    assert set(per_series) == {"HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"}
    assert set(per_series.values()) == {ROWS}
    assert outcomes == {"forecast": 7 * ROWS}


def test_a_replay_of_the_same_file_gives_the_same_forecasts_as_kafka(etth1) -> None:
    stream, _, replayed = etth1
    assert_equal_forecasts(published(stream), replayed)


def test_a_backtest_scores_the_very_forecasts_that_kafka_has(etth1) -> None:
    stream, _, _ = etth1
    assert_a_backtest_scores(published(stream), stream, stream.config.parent / "part.csv")


def assert_a_backtest_scores(forecasts: list[dict], stream: Stream, history: Path) -> None:
    """A backtest of `history` with the stream's settings has these forecasts, and no others."""
    settings = load_settings(stream.config)
    recording = read_recording([history], settings.input, Columns())
    manifest, network = load_configured(settings)
    parts: list[Part] = []
    backtest(recording, settings, manifest, network, Choice(start_ms=0), parts.append)
    scored = {
        (part.series, origin): quantiles
        for part in parts
        for origin, quantiles in zip(part.origin_ms.tolist(), part.quantiles, strict=True)
    }
    assert {(forecast["series"], forecast["origin"]) for forecast in forecasts} == scored.keys()
    for forecast in forecasts:
        expected = scored[forecast["series"], forecast["origin"]]
        found = np.array(list(forecast["quantiles"].values())).T
        assert (np.abs(found - expected) <= 1e-5 * np.maximum(1, np.abs(expected))).all()


@pytest.mark.parametrize(
    ("name", "step"), [("machine_temperature_system_failure", "5min"), ("ambient_temperature_system_failure", "1h")]
)
def test_every_tick_of_a_sensor_with_jumps_and_gaps_has_its_outcome(kafka, tmp_path, name, step) -> None:
    path = needs(SHARED / "nab" / f"{name}.csv.gz")
    step_ms = {"5min": 300_000, "1h": 3_600_000}[step]
    model = bundle(tmp_path / "model", step_ms, seasons=(86_400_000 // step_ms,))
    stream = Stream(kafka, tmp_path, f'[stream]\nstep = "{step}"\n[model]\nbundle = "{model}"\n')
    with gzip.open(path, "rt") as file:
        ticks = sum(1 for _ in file) - 1
    assert forecaster("produce", "--config", str(stream.config), "--input", str(path)).returncode == 0
    with stream.daemon() as daemon:
        wait_until(lambda: sum(daemon.outcomes().values()) >= ticks, 120, what="an outcome for every tick")
        outcomes = daemon.outcomes()
        restarts = daemon.metric("forecaster_series_restarts_total", reason="gap")
        filled = daemon.metric("forecaster_filled_steps_total")
        assert daemon.terminate() == 0
    assert sum(outcomes.values()) == ticks
    assert len(published(stream)) == outcomes["forecast"]
    if step == "5min":  # the clock jumps back 55 minutes once
        assert outcomes["duplicate"] + outcomes["late"] == 12
    else:  # ten gaps, some longer than the two days of context
        assert restarts > 0
        assert filled > 0


def test_two_symbols_of_quotes_become_second_bars_and_keep_up_with_5000_ticks_a_second(kafka, tmp_path) -> None:
    path = needs(SHARED / "fx_ticks" / "oanda_eurusd_nzdusd_20140501_20140507.csv.gz")
    ticks = 25_000
    part = tmp_path / "quotes.csv"
    with gzip.open(path, "rt") as file:
        part.write_text("".join(next(file) for _ in range(ticks + 1)))
    with part.open() as file:
        seconds = {(row["symbol"], row["ts_utc"][:19]) for row in csv.DictReader(file)}
    model = bundle(tmp_path / "model", 1_000, bar="last", context=300)
    stream = Stream(kafka, tmp_path, f'[stream]\nstep = "1s"\nbar = "last"\n[model]\nbundle = "{model}"\n')
    with stream.daemon() as daemon:
        columns = ("--time-column", "ts_utc", "--series-column", "symbol", "--value-column", "bid,ask")
        arguments = ("--input", str(part), *columns, "--rate", "5000")
        assert forecaster("produce", "--config", str(stream.config), *arguments).returncode == 0
        produced = time.monotonic()
        wait_until(lambda: sum(daemon.outcomes().values()) >= ticks, 60, what="an outcome for every tick")
        behind = time.monotonic() - produced
        outcomes = daemon.outcomes()
        bars, held = daemon.metric("forecaster_closed_bars_total"), daemon.metric("forecaster_held_observations")
        assert daemon.terminate() == 0
    assert outcomes == {"aggregated": ticks}
    assert bars + held == len(seconds)
    assert len(published(stream)) == bars
    assert behind < 2.0, "a daemon that keeps up is done when the producer is"


def test_sigterm_under_load_ends_within_5_seconds_and_a_restart_leaves_no_gap(
    kafka, tmp_path, second_bundle, monkeypatch
) -> None:
    monkeypatch.setenv("FORECASTER_KAFKA__MAX_POLL_RECORDS", "200")  # so that there is a middle of the stream
    stream = second_stream(kafka, tmp_path, second_bundle)
    ticks = sine_ticks(20, range(1_500))
    produce(kafka, stream.input, ticks)
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") > 500, 60, what="forecasts")
        started = time.monotonic()
        assert daemon.terminate() == 0
        assert time.monotonic() - started < 5
        assert json.loads(daemon.log().splitlines()[-1])["event"] == "stopped"
    assert len(read_topic(kafka, stream.output)) < len(ticks), "stopped when all was done"
    with stream.daemon() as daemon:
        wait_until(lambda: len(read_topic(kafka, stream.output)) >= len(ticks), 60, what="all forecasts")
        assert daemon.terminate() == 0
    assert_equal_forecasts(published(stream), undisturbed(stream, ticks))


def test_the_metrics_are_clean_complete_and_sensible(kafka, tmp_path, second_bundle) -> None:
    stream = second_stream(kafka, tmp_path, second_bundle)
    produce(kafka, stream.input, [*sine_ticks(5, range(100)), {"key": b"s0", "value": b"not json"}])
    with stream.daemon() as daemon:
        wait_until(lambda: daemon.metric("forecaster_dead_letters_total") >= 1, 60, what="the dead letter")
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") >= 500, 60, what="all forecasts")
        text = daemon.get("/metrics")
        lint = subprocess.run(
            [tool("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert (lint.returncode, lint.stdout, lint.stderr) == (0, "", "")
        wait_until(lambda: "forecaster_consumer_lag_records{" in daemon.get("/metrics"), 10, what="lag")
        wait_until(lambda: daemon.metric("forecaster_consumer_lag_records") == 0, 10, what="no lag")
        for name in DESIGN_METRICS:
            assert f"\n{name}" in daemon.get("/metrics"), name
        assert_sensible(daemon)
        assert [daemon.get(path) for path in ("/startupz", "/livez")] == ["ok\n", "ok\n"]
        assert forecaster("healthcheck", "--config", str(stream.config)).returncode == 0
        assert daemon.terminate() == 0
    assert forecaster("healthcheck", "--config", str(stream.config)).returncode == 1
    (letter,) = read_topic(kafka, stream.dead)
    assert (letter.key, letter.value) == (b"s0", b"not json")
    assert dict(letter.headers)["forecaster-reason"] == b"not_json"


def assert_sensible(daemon: Daemon) -> None:
    assert daemon.outcomes() == {"forecast": 500}
    assert daemon.metric("forecaster_series") == 5
    assert daemon.metric("forecaster_model_info", name="drawn") == 1
    assert daemon.metric("forecaster_tick_to_forecast_seconds_count") == 500
    assert 0 < daemon.metric("forecaster_tick_to_forecast_seconds_sum") < 500 * 3600
    assert daemon.metric("forecaster_batch_size_sum") == 501
    stages = ("decode", "admit", "features", "infer", "encode", "publish", "commit")
    assert all(daemon.metric("forecaster_stage_seconds_count", stage=stage) > 0 for stage in stages)


def test_latest_catches_up_without_publishing_stale_forecasts(kafka, tmp_path, second_bundle) -> None:
    stream = second_stream(kafka, tmp_path, second_bundle, 'emit = "latest"')
    produce(kafka, stream.input, sine_ticks(4, range(400)))
    with stream.daemon() as daemon:
        wait_until(lambda: sum(daemon.outcomes().values()) >= 1_600, 60, what="an outcome for every tick")
        outcomes = daemon.outcomes()
        assert daemon.terminate() == 0
    assert outcomes["forecast"] + outcomes["superseded"] == 1_600
    forecasts = published(stream)
    assert len(forecasts) == outcomes["forecast"] < 800
    newest = {series: max(f["origin"] for f in forecasts if f["series"] == series) for series in ("s0", "s3")}
    assert set(newest.values()) == {1_700_000_000_000 + 399_000}


def test_a_second_ctrl_c_ends_the_daemon_at_once(kafka, tmp_path, second_bundle) -> None:
    stream = second_stream(kafka, tmp_path, second_bundle)
    with stream.daemon() as daemon:
        daemon.process.send_signal(signal.SIGSTOP)  # so that both arrive before it can react to the first
        daemon.process.send_signal(signal.SIGINT)
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGCONT)
        assert daemon.process.wait(timeout=10) in (0, 130)


@pytest.mark.parametrize(
    ("toml", "code", "named"),
    [
        ('[stream]\nstep = "1min"\n[model]\nbundle = "BUNDLE"', 2, "stream.step"),
        ('[model]\nbundle = "BUNDLE"\nhorizon = 7', 2, "model.horizon"),
        ('[model]\nbundle = "nowhere"', 2, "nowhere/manifest.json"),
        ("", 2, "model.bundle"),
        ('[kafka]\nsession_timeout = "8s"\n[model]\nbundle = "BUNDLE"', 2, "kafka.transaction_timeout"),
        (
            '[model]\nbundle = "BUNDLE"\n[kafka]\nbootstrap_servers = "127.0.0.1:PORT"\nstartup_timeout = "1s"',
            1,
            "kafka.bootstrap_servers",
        ),
        (
            '[model]\nbundle = "BUNDLE"\n[kafka]\nbootstrap_servers = "KAFKA"\n[topics]\ncreate=false\ninput = "none"',
            2,
            "topics.input",
        ),
    ],
)
def test_a_users_mistake_ends_in_one_line_that_names_it(kafka, tmp_path, second_bundle, toml, code, named) -> None:
    config = tmp_path / "wrong.toml"
    text = toml.replace("BUNDLE", str(second_bundle)).replace("PORT", str(free_port())).replace("KAFKA", kafka)
    config.write_text(text + f'\n[metrics]\nhost = "127.0.0.1"\nport = {free_port()}\n')
    done = forecaster("run", "--config", str(config))
    assert done.returncode == code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("forecaster: ")
    assert named in last
    assert "Traceback" not in done.stderr
