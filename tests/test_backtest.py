"""The backtest: forecasts are those that serving publishes, no origin is dropped, and the figures are right."""

import csv
import json
from pathlib import Path

import builders
import numpy as np
import pytest
from builders import CONTEXT, FEATURES, FLAT, START_MS
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import named_weights, save_bundle
from forecaster.cli.main import main
from forecaster.config import Settings
from forecaster.engines.carried import Engine
from forecaster.errors import ConfigError
from forecaster.features.settings import FeatureSettings
from forecaster.formats.forecast_json import Forecasts
from forecaster.networks.many_to_many import Network
from forecaster.recording import Columns, Recording, read_recording
from forecaster.replay import replay
from training import backtest as backtest_module
from training.backtest import Part, Results, backtest
from training.origins import Choice
from training.scores import as_json
from training.skill import _against_best, skills
from training.tally import few_steps

HORIZON = 3
ETT = Path(__file__).parents[2] / "shared" / "data" / "ett" / "ETTh1.csv.gz"


@pytest.fixture(autouse=True)
def _compiled_once(monkeypatch) -> None:
    """All engines of one network share what was compiled for it, as in `builders.pipeline`."""
    initialise = Engine.__init__

    def shared(self: Engine, network: Network, resident: int | None = None) -> None:
        initialise(self, network, resident)
        first = _ENGINES.setdefault(id(network), self)
        self._step, self._advance, self._head = first._step, first._advance, first._head

    monkeypatch.setattr(Engine, "__init__", shared)


_ENGINES: dict[int, Engine] = {}


def wide(values: np.ndarray, *, start_ms: int = START_MS) -> Recording:
    """`values` `[series, rounds]`, a round a second."""
    series, rounds = values.shape
    time_ms = np.repeat(start_ms + 1_000 * np.arange(rounds), series)
    return Recording([f"s{n}" for n in range(series)], np.tile(np.arange(series), rounds), time_ms, values.T.ravel())


def waves(series: int, rounds: int, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    wave = 3 * np.sin(np.arange(rounds) * np.pi / 2)
    return 20 + wave + np.cumsum(random.normal(0, 0.3, (series, rounds)), axis=1)


def run(ticks: Recording, choice: Choice | None = None, made: Network | None = None, **changes) -> Results:
    made = made or builders.network()
    return backtest(ticks, Settings(), builders.manifest(made, **changes), made, choice or Choice())


def zero_network(features: FeatureSettings = FEATURES, horizon: int = HORIZON) -> Network:
    made = Network(builders.network(features=features, horizon=horizon, units=(2,)).settings)
    for weight in named_weights(made).values():
        weight.assign(np.zeros(tuple(weight.shape), np.float32))
    return made


def untidy(seed: int) -> Recording:
    """Three series with missing values, gaps filled and gaps too long, late and repeated ticks."""
    random = np.random.default_rng(seed)
    ticks = wide(waves(3, 150, seed))
    value = np.where(random.uniform(size=len(ticks)) < 0.1, np.nan, ticks.value)
    keep = random.uniform(size=len(ticks)) > 0.1
    gone = (ticks.series == 1) & (ticks.time_ms > START_MS + 60_000) & (ticks.time_ms < START_MS + 100_000)
    rows = np.flatnonzero(keep & ~gone)
    rows = np.concatenate([rows, rows[-40:-30]])  # late
    rows = np.repeat(rows, 1 + (random.uniform(size=len(rows)) < 0.05))
    return Recording(ticks.names, ticks.series[rows], ticks.time_ms[rows], value[rows])


@pytest.mark.parametrize("stream", [{"step": "1s"}, {"step": "1s", "bar": "mean"}, {"step": "tick"}])
@pytest.mark.parametrize("kind", ["carried", "segment"])
def test_the_forecasts_are_those_that_replay_publishes(stream, kind, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(backtest_module, "CHUNK_NUMBERS", 500)
    ticks, settings = untidy(1), Settings(stream=stream)
    features = FLAT if stream["step"] == "tick" else FEATURES if kind == "carried" else builders.WINDOWED
    made = builders.network(features=features) if kind == "carried" else builders.segment_network()
    line = builders.pipeline(settings, made, features=features)
    scales: list[float] = []

    def scored(forecasts: Forecasts) -> None:
        scales.extend(forecasts.scale.tolist())

    replay(ticks, settings, line, tmp_path / "out.jsonl", scored)
    published = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert len(published) > 250
    found: list[tuple[str, int, np.ndarray]] = []

    def watch(part: Part) -> None:
        found.extend(zip([part.series] * len(part.quantiles), part.origin_ms.tolist(), part.quantiles, strict=True))

    manifest = builders.manifest(made, features=features, step_ms=settings.stream.step, bar=settings.stream.bar)
    results = backtest(ticks, settings, manifest, made, Choice(), watch)
    assert results.origins == len(published)
    served = sorted(zip(published, scales, strict=True), key=lambda one: (one[0]["series"], one[0]["origin"]))
    for (one, scale), (series, origin, quantiles) in zip(served, found, strict=True):
        assert (one["series"], one["origin"]) == (series, origin)
        expected = np.array(list(one["quantiles"].values())).T
        tolerance = 1e-5 * np.maximum(max(1.0, scale), np.abs(expected))
        assert (np.abs(quantiles - expected) <= tolerance).all(), one


def test_the_state_is_carried_from_the_first_tick_wherever_the_origins_begin() -> None:
    ticks, made = untidy(4), builders.network()
    start_ms, seen = START_MS + 70_000, []
    for choice in (Choice(), Choice(start_ms=start_ms)):
        found: dict[tuple[str, int], np.ndarray] = {}

        def watch(part: Part, found: dict = found) -> None:
            keys = [(part.series, origin) for origin in part.origin_ms.tolist()]
            found.update(zip(keys, part.quantiles, strict=True))

        backtest(ticks, Settings(), builders.manifest(made), made, choice, watch)
        seen.append(found)
    whole, later = seen
    assert later.keys() == {key for key in whole if key[1] >= start_ms}
    for key, quantiles in later.items():
        np.testing.assert_allclose(quantiles, whole[key], rtol=1e-5, atol=1e-5)


@given(missing=st.sets(st.integers(1, 79), max_size=40), start=st.integers(0, 70))
@hypothesis_settings(max_examples=15, deadline=None)
def test_every_origin_and_step_with_a_known_actual_counts_for_everyone(missing, start) -> None:
    values = waves(2, 80)
    values[1, sorted(missing)] = np.nan
    results = run(wide(values), Choice(start_ms=START_MS + 1_000 * start))
    expected = [
        sum(not np.isnan(row[o + step]) for o in range(start, 80) for step in (1, 2, 3) if o + step < 80)
        for row in values
    ]
    assert results.origins == 2 * (80 - start)
    for name, tally in results.tallies.items():
        assert tally.pairs().tolist() == expected, name
    assert results.crossings == results.not_finite == 0


def test_what_comes_again_after_a_clock_was_set_back_is_no_actual_of_a_step_ahead() -> None:
    steps, made, found = np.r_[0:40, 38:60], builders.network(), list[np.ndarray]()
    values = waves(1, len(steps))[0]
    ticks = Recording(["a"], np.zeros(len(steps), np.int64), START_MS + 1_000 * steps, values)
    settings = Settings(stream={"late_restart": 1})
    backtest(ticks, settings, builders.manifest(made), made, Choice(), lambda part: found.extend(part.actual))
    np.testing.assert_array_equal(found[39], [values[42], np.nan, np.nan])  # of the rows behind it one is ahead


def test_the_size_of_a_chunk_changes_no_figure(monkeypatch) -> None:
    ticks = untidy(2)
    figures = []
    for numbers in (8_000_000, 100):
        monkeypatch.setattr(backtest_module, "CHUNK_NUMBERS", numbers)
        results = run(ticks)
        figures.append({name: tally.by_series() for name, tally in results.tallies.items()})
    for name, metrics in figures[0].items():
        for metric, values in metrics.items():
            np.testing.assert_allclose(figures[1][name][metric], values, rtol=1e-4, equal_nan=True)


def test_a_network_of_zeros_scores_as_level_and_profile_alone() -> None:
    results = run(untidy(3), made=zero_network())
    model, rival = (results.tallies[name].by_series() for name in ("model", "level and profile"))
    for metric in ("mse", "mae", "mase", "smape"):
        np.testing.assert_allclose(model[metric], rival[metric], rtol=1e-6)
    found = skills(results, HORIZON, "mase")[0]
    assert found is not None
    assert found.skill <= 1e-6


def test_rows_hold_whole_horizons_and_the_origin_before_them() -> None:
    results = run(wide(waves(2, 60)), Choice(rows=(40, 50)))
    origins = np.concatenate(results.origin_ms[0])
    assert origins.tolist() == [START_MS + 1_000 * row for row in range(39, 47)]  # A − 1 to B − H − 1
    assert results.tallies["model"].pairs().tolist() == [8 * HORIZON] * 2


@pytest.mark.parametrize("rows", [(0, 30), (20, 22), (50, 61)])
def test_rows_that_hold_no_origin_are_refused(rows) -> None:
    with pytest.raises(ConfigError, match="--rows"):
        run(wide(waves(1, 60)), Choice(rows=rows))


def test_rows_to_normalise_over_that_are_not_there_are_refused() -> None:
    with pytest.raises(ConfigError, match="--normalise-rows 0:61: the longest series has rows 0:60"):
        run(wide(waves(1, 60)), Choice(normalise_rows=(0, 61)))


def test_a_range_without_an_actual_is_refused() -> None:
    with pytest.raises(ConfigError, match="no origin"):
        run(wide(waves(1, 60)), Choice(start_ms=START_MS + 59_000))


def test_origins_begin_behind_what_the_model_was_chosen_on() -> None:
    ticks = wide(waves(1, 60))
    behind = run(ticks, training={"validation_end_ms": START_MS + 40_000})
    assert behind.origins == 20
    other = run(ticks, training={"validation_end_ms": START_MS + 90_000})  # another recording than it was trained on
    assert other.origins == 60


def test_normalised_errors_are_in_units_of_each_series_deviation() -> None:
    values = waves(2, 60)
    values[1] *= 10
    results = run(wide(values), Choice(rows=(40, 60), normalise_rows=(0, 30)))
    found = results.tallies["last value"].by_series()
    deviation = values[:, :30].std(axis=1)
    np.testing.assert_allclose(found["normalised_mse"], found["mse"] / deviation**2)
    np.testing.assert_allclose(found["normalised_mae"], found["mae"] / deviation)


def test_mase_divides_by_the_seasonal_steps_before_the_first_origin() -> None:
    values = waves(1, 60)
    values[0, 11] = np.nan
    results = run(wide(values), Choice(rows=(40, 60)))
    found = results.tallies["model"].by_series()
    naive = np.nanmean(np.abs(values[0, 4:39] - values[0, :35]))
    np.testing.assert_allclose(found["mase"], found["mae"] / naive)


def test_a_constant_series_has_no_mase_and_spoils_nobody_elses() -> None:
    values = waves(2, 60)
    values[1] = 5.0
    results = run(wide(values), Choice(rows=(40, 60)))
    model = results.tallies["model"]
    assert np.isnan(model.by_series()["mase"][1])
    assert model.overall()["mase"] == pytest.approx(model.by_series()["mase"][0])
    json.dumps(as_json(results, builders.manifest(builders.network())), allow_nan=False)


def test_actuals_are_found_behind_a_restart_but_no_rival_remembers_what_was_before_it() -> None:
    values = waves(1, 60)
    values[0, 32:] += 1_000
    ticks = wide(values)
    keep = ~np.isin(np.arange(60), [30, 31])
    ticks = Recording(ticks.names, ticks.series[keep], ticks.time_ms[keep], ticks.value[keep])
    made = builders.network()
    settings = Settings(stream={"step": "1s", "max_gap": "1s"})
    results = backtest(ticks, settings, builders.manifest(made), made, Choice())
    assert results.origins == 58
    # three steps from each origin, but not those into the gap or past the end
    missing = sum(
        origin + step in {30, 31} or origin + step > 59 for origin in np.flatnonzero(keep) for step in (1, 2, 3)
    )
    assert results.tallies["level and profile"].pairs().tolist() == [3 * 58 - missing]
    for name, tally in results.tallies.items():
        losses = tally.by_origin("mase", 0)[:, 0] / tally.overall()["mase"] * tally.overall()["mae"]
        if name not in {"model", "damped Holt"}:
            assert losses[29] > 900, name  # origin 29, actual 32
            assert (losses[30:] < 100).all(), name


def test_skill_names_the_best_rival_and_its_interval_holds_it() -> None:
    results = run(wide(waves(2, 120)))
    totals = {name: tally.overall()["mase"] for name, tally in results.tallies.items()}
    model = totals.pop("model")
    found = skills(results, HORIZON, "mase")[0]
    assert found is not None
    assert found.rival == min(totals, key=lambda name: totals[name])
    assert found.skill == pytest.approx(1 - model / totals[found.rival], rel=1e-4)
    assert found.low < found.skill < found.high
    one = skills(results, HORIZON, "pinball", series=1)[0]
    assert one is not None
    scores = {name: tally.by_series()["crps"][1] for name, tally in results.tallies.items()}
    assert one.skill == pytest.approx(1 - scores["model"] / scores[one.rival], rel=1e-4)


def test_skill_at_a_step_is_that_of_the_step_alone() -> None:
    results = run(wide(waves(2, 120)))
    by_step = {name: tally.by_step()["mase"] for name, tally in results.tallies.items()}
    assert few_steps(HORIZON) == [1, 2, 3]
    for step, found in enumerate(skills(results, HORIZON, "mase")[1:]):
        assert found is not None
        rivals = {name: losses[step] for name, losses in by_step.items() if name != "model"}
        assert found.rival == min(rivals, key=lambda name: rivals[name])
        assert found.skill == pytest.approx(1 - by_step["model"][step] / rivals[found.rival], rel=1e-4)


def test_skill_beside_a_rival_that_hardly_ever_loses_has_an_interval_without_an_end() -> None:
    losses = {"model": np.ones(40), "last value": np.where(np.arange(40) == 7, 1.0, 0.0)}
    found = _against_best(losses, 1)
    assert found is not None
    assert found.as_json() == {"rival": "last value", "skill": -39.0, "low": None, "high": found.high}


def write_case(folder: Path) -> list[str]:
    made = builders.network()
    save_bundle(folder / "model", builders.manifest(made), made)
    (folder / "f.toml").write_text(f'[stream]\nstep = "1s"\n[model]\nbundle = "{folder}/model"\n')
    ticks = wide(waves(2, 60))
    rows = (f"{name},{time_ms},{value}" for name, time_ms, value in ticks.ticks())
    (folder / "t.csv").write_text("\n".join(["series,ts,value", *rows]))
    return ["backtest", "--config", str(folder / "f.toml"), "--input", str(folder / "t.csv")]


def test_the_command_prints_every_table_and_writes_every_figure(tmp_path, capsys) -> None:
    arguments = [*write_case(tmp_path), "--rows", "40:60", "--normalise-rows", "0:30", "--out", f"{tmp_path}/r.json"]
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    for text in ("norm. MSE", "MASE", "CRPS", "Winkler 80 %", "seasonal naive 4s", "damped Holt", "by horizon step"):
        assert text in shown
    assert "0 crossing quantiles" in shown
    assert "not available from the trained quantiles [0.1, 0.5, 0.9]: intervals of 50 %, 90 %, 95 %" in shown
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["origins"] == 2 * 18
    assert report["pairs"] == 2 * 18 * HORIZON
    assert set(report["by_series"]) == {"s0", "s1"}
    assert len(report["by_step"]["model"]["mae"]) == HORIZON
    assert list(report["skill_by_step"]) == ["1", "2", "3"]
    assert report["intervals"] == {"scored": [0.8], "not_trained": [0.5, 0.9, 0.95]}


@pytest.mark.parametrize("name", ["[/]", "[red]x[/red]", "a\tb\x1b[31mred\nc\0d\u202e", "x" * 200])
def test_no_name_of_a_series_breaks_colours_or_cuts_a_table(name, tmp_path, capsys) -> None:
    arguments = write_case(tmp_path)
    file = tmp_path / "odd.csv"
    time_ms = START_MS + 1_000 * np.arange(80)
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(["series", "ts", "value"])
        rows.writerows([name, t, v] for t, v in zip(time_ms.tolist(), waves(1, 80)[0].tolist(), strict=True))
    arguments[arguments.index("--input") + 1] = str(file)
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    out = capsys.readouterr().out
    assert ended.value.code == 0, out
    assert not {character for character in out if not character.isprintable()} - {"\n"}
    shown = name if name.isprintable() else "a\\tb\\x1b[31mred\\nc\\x00d\\u202e"
    assert shown[:31] in out
    assert "…" not in out.replace(f"{name[:31]}…", "")


def test_scores_beyond_every_number_are_null_and_not_an_end(tmp_path, capsys) -> None:
    arguments = write_case(tmp_path)
    file, scores = tmp_path / "tiny.csv", tmp_path / "tiny.json"
    rows = (f"a,{START_MS + 1_000 * n},{(n % 7 + 1) * 1e-299}" for n in range(80))
    file.write_text("\n".join(["series,ts,value", *rows]) + "\n")
    arguments[arguments.index("--input") + 1] = str(file)
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--out", str(scores)])
    assert ended.value.code == 0, capsys.readouterr()
    json.loads(scores.read_text())


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--rows", "5"], "A:B"),
        (["--rows", "50:40"], "A:B"),
        (["--rows", "50:99"], "--rows"),
        (["--start", "yesterday"], "--start"),
        (["--rows", "40:60", "--start", "0"], "not allowed"),
    ],
)
def test_bad_usage_ends_with_2_and_names_the_option(arguments, named, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*write_case(tmp_path), *arguments])
    assert ended.value.code == 2
    assert named in capsys.readouterr().err


@pytest.mark.skipif(not ETT.exists(), reason="needs ../shared/data/ett, which is not part of the repository")
def test_the_published_anchors_of_etth1_come_out_to_three_decimals() -> None:
    settings = Settings(stream={"step": "1h"})
    ticks = read_recording([ETT], settings.input, Columns())
    features = FeatureSettings.derive((24,), CONTEXT)
    made = zero_network(features, 96)
    manifest = Manifest(**(builders.manifest(made, features=features).model_dump() | {"step_ms": 3_600_000}))
    results = backtest(ticks, settings, manifest, made, Choice(rows=(11_520, 14_400), normalise_rows=(0, 8_640)))
    assert results.origins == 7 * 2_785
    found = {name: tally.overall() for name, tally in results.tallies.items()}
    for name, anchors in (("last value", (1.294, 0.713)), ("seasonal naive 1d", (0.512, 0.433))):
        errors = found[name]["normalised_mse"], found[name]["normalised_mae"]
        assert tuple(round(error, 3) for error in errors) == anchors


def test_every_figure_is_documented() -> None:
    results = run(wide(waves(1, 60)), Choice(rows=(40, 60), normalise_rows=(0, 30)))
    document = (Path(__file__).parents[1] / "docs" / "backtest.md").read_text("utf-8")
    assert {name for name in results.tallies["model"].overall() if f"`{name}`" not in document} == set()
    assert {name for name in results.tallies if name.removesuffix(" 4s") not in document} == set()
