"""Multivariate series in training: each channel is a run of its own, told apart by what is learnt of it."""

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from test_training import HOUR, START, configured, daily

from forecaster.bundle.store import save_bundle
from forecaster.config import InputSettings, Settings
from forecaster.errors import ConfigError
from forecaster.features.settings import FeatureSettings
from forecaster.formats.json_encode import JsonTickEncoder
from forecaster.formats.json_ticks import JsonTickDecoder
from forecaster.networks.multivariate import ChannelNetwork
from forecaster.recording import Columns, Recording, join, read_parts, read_recording
from forecaster.replay import record_batches
from training.backtest import backtest
from training.backtest_report import backtest_with_tables
from training.data import sequences
from training.fit import train
from training.html.report import HtmlReport
from training.observed import observe
from training.origins import Choice
from training.prepare import Source
from training.report import replay_with_scores
from training.scores import as_json
from training.table import feature_table

CHANNELS = ("load", "heat")
INPUT = InputSettings(channels=CHANNELS)


def multivariate(values: np.ndarray) -> Recording:
    """`values` `[series, channels, rounds]` as a long file would give them."""
    series, channels, rounds = values.shape
    return Recording(
        [f"s{n}" for n in range(series)],
        np.tile(np.arange(series), rounds),
        np.repeat(START + HOUR * np.arange(rounds), series),
        values.transpose(2, 0, 1).reshape(-1, channels),
    )


def of_channels(settings: Settings, **model) -> Settings:
    return settings.model_copy(update={"input": INPUT, "model": settings.model.model_copy(update=model)})


@given(st.lists(st.integers(1, 239), max_size=5), st.integers(0, 2**16), st.sampled_from([0, 5, 100]))
@hypothesis_settings(max_examples=15, deadline=None)
def test_each_channel_is_the_run_that_a_series_of_its_own_is(cuts, seed, gap) -> None:
    random = np.random.default_rng(seed)
    values = np.stack([daily(2, 10), daily(2, 10, seed=1)], axis=1)
    values[random.random(values.shape) < 0.2] = np.nan
    ticks = multivariate(values)
    in_gap = (ticks.time_ms >= START + 100 * HOUR) & (ticks.time_ms < START + (100 + gap) * HOUR)
    ticks = ticks.where(~(in_gap & (ticks.series == 1)))
    parts = [ticks.part(low, high) for low, high in pairwise([0, *sorted(set(cuts)), len(ticks)])]
    settings, features = configured(), FeatureSettings.derive((24,), 48)
    together = sequences(parts, of_channels(settings))
    tables = feature_table(together, features)
    for place, name in enumerate(CHANNELS):
        plain = [Recording(p.names, p.series, p.time_ms, p.value[:, place]) for p in parts]
        alone = sequences(plain, settings)
        table = feature_table(alone, features)
        runs = np.flatnonzero(together.channel == place)
        assert [together.names[run] for run in runs] == [f"{series}.{name}" for series in alone.names]
        for run, one in zip(runs.tolist(), range(len(alone.names)), strict=True):
            here, there = together.rows(run), alone.rows(one)
            np.testing.assert_array_equal(together.value[here], alone.value[there])
            np.testing.assert_array_equal(tables.inputs[here], table.inputs[there])
            rows = np.arange(here.start, here.stop)
            assert (tables.given(tables.inputs[rows], rows)[:, -1] == place).all()


def test_a_backtest_by_logarithms_leaves_a_tick_out_where_a_channel_is_not_above_0() -> None:
    values = daily(2, 1)[None]
    values[0, 1, 5] = -1.0
    observed = observe(multivariate(values), configured().stream, 48, log=True, channels=CHANNELS)
    assert observed.tick.tolist() == [-1 if n == 5 else n for n in range(24)] * 2


@pytest.fixture(scope="module")
def opposite() -> Recording:
    """One channel moves on as it began the hour before, the other turns back: one rule does not serve both."""
    random, rounds = np.random.default_rng(0), 24 * 60
    moves = random.normal(size=(2, 2, rounds))
    values = np.zeros((2, 2, rounds))
    for n in range(1, rounds):
        last = values[..., n - 1]
        values[..., n] = np.array([0.9, -0.9]) * last + moves[..., n]
    return multivariate(20 + values)


def test_channels_that_behave_unlike_each_other_are_told_apart_by_their_embeddings(opposite) -> None:
    settings = of_channels(configured(epochs=8, steps_per_epoch=40), horizon=2, seasons=(), dropout=0.0)
    manifest, network = train(Source([opposite]), settings)
    assert isinstance(network, ChannelNetwork)
    assert (manifest.kind, manifest.network.channels) == ("multivariate", CHANNELS)
    assert manifest.training["validation_loss"] < 0.8 * manifest.training["baseline_validation_loss"]
    results = backtest(opposite, settings, manifest, network, Choice())
    report = as_json(results, manifest)
    assert set(report["by_series"]) == {f"s{n}.{name}" for n in range(2) for name in CHANNELS}
    told = report["overall"]["model"]["mae"]
    embeddings = network.embedding.embeddings.numpy()
    network.embedding.embeddings.assign(embeddings[::-1].copy())
    mixed = as_json(backtest(opposite, settings, manifest, network, Choice()), manifest)
    assert told < 0.9 * mixed["overall"]["model"]["mae"], "what is learnt of one channel is wrong for the other"


def test_replay_and_backtest_score_the_forecasts_of_every_channel(tmp_path: Path) -> None:
    ticks = multivariate(np.stack([daily(2, 20), daily(2, 20, seed=1)], axis=1))
    settings = of_channels(configured(epochs=1))
    save_bundle(tmp_path / "bundle", *train(Source([ticks]), settings))
    served = of_channels(settings, bundle=tmp_path / "bundle")
    model, *rivals = replay_with_scores(ticks, served, tmp_path / "out.jsonl")
    assert model.mean_absolute_error < 2 * min(rival.mean_absolute_error for rival in rivals)
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == len(ticks)
    page = HtmlReport(tmp_path / "scores.html", "forecaster backtest", datetime.now(UTC))
    report = backtest_with_tables(ticks, served, Choice(), None, page)
    assert set(report["by_series"]) == {f"s{n}.{name}" for n in range(2) for name in CHANNELS}
    assert report["overall"]["model"]["mae"] == pytest.approx(model.mean_absolute_error, rel=0.2)
    html = (tmp_path / "scores.html").read_text("utf-8")
    assert "s1.heat" in html
    assert f"{len(ticks):,} ticks of 4 series" in html


def test_a_channel_that_nothing_can_be_learnt_from_ends_the_training_and_is_named() -> None:
    values = np.stack([daily(1, 20), np.full((1, 480), 3.0)], axis=1)
    with pytest.raises(ConfigError, match=r"series 's0\.heat': constant"):
        train(Source([multivariate(values)]), of_channels(configured()))


def test_a_wide_file_is_one_series_that_is_called_as_the_file_is(tmp_path: Path) -> None:
    path = tmp_path / "boiler.csv"
    path.write_text(f"ts,heat,other,load\n{START},1,x,2\n{START + HOUR},,x,4.5\n{START + 2 * HOUR},NA,x,\n")
    ticks = read_recording([path], INPUT, Columns())
    assert ticks.names == ["boiler"]
    np.testing.assert_array_equal(ticks.value, [[2, 1], [4.5, np.nan], [np.nan, np.nan]])


def test_a_long_file_has_a_row_for_each_tick_of_a_series(tmp_path: Path) -> None:
    paths = tmp_path / "north.csv", tmp_path / "south.csv"
    for path in paths:
        path.write_text(f"series,ts,load,heat\na,{START},1,2\nb,{START},3,\n")
    ticks = join(read_parts(paths, INPUT, Columns()))
    assert ticks.names == ["north.a", "north.b", "south.a", "south.b"]
    np.testing.assert_array_equal(ticks.value[:2], [[1, 2], [3, np.nan]])


def test_a_file_without_a_channel_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "boiler.csv"
    path.write_text(f"ts,load\n{START},1\n")
    with pytest.raises(ConfigError, match="has no column 'heat'"):
        read_recording([path], INPUT, Columns())


def test_a_recording_reads_back_as_the_records_that_produce_makes_of_it() -> None:
    values = np.stack([daily(1, 2), daily(1, 2, seed=1)], axis=1)
    values[0, 1, 5] = np.nan
    ticks, settings = multivariate(values), Settings(input=INPUT)
    (records,) = record_batches(ticks, settings)
    decoded = JsonTickDecoder(INPUT).decode(records)
    np.testing.assert_array_equal(decoded.value, ticks.value)
    text = JsonTickEncoder(INPUT.model_copy(update={"value_format": "numeric_string"}))
    assert b'{"load":"1.5","heat":null}' in text.encode("a", 0, [1.5, float("nan")])


def test_the_fingerprint_tells_what_stands_in_any_channel() -> None:
    ticks = multivariate(np.arange(12.0).reshape(1, 2, 6))
    other = ticks.value.copy()
    other[3, 1] += 1
    changed = Recording(ticks.names, ticks.series, ticks.time_ms, other)
    assert ticks.fingerprint() == join([ticks.part(0, 2), ticks.part(2, 6)]).fingerprint() != changed.fingerprint()
