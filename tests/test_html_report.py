"""The HTML report: its figures are those of the JSON, and nothing in it is loaded or run that is not its own."""

import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import builders
import numpy as np
import pytest
from builders import START_MS

from forecaster.bundle.store import save_bundle
from forecaster.cli.main import main
from forecaster.config import load_settings
from training.html import words
from training.html.colours import ALL, DARK
from training.html.markup import element, escaped
from training.scores import TITLES, number

HOSTILE = '</script><img src=x onerror=alert(1)>&"<b>'
HISTORY = [{"epoch": n, "training_loss": 1 / n, "validation_loss": 1.5 / n} for n in (1, 2, 3)]
TRAINED = {"train_end_ms": START_MS + 40_000, "validation_end_ms": START_MS + 60_000, "epoch": 3, "history": HISTORY}
TRAINED |= {"validation_loss": 0.5, "baseline_validation_loss": 0.8, "data_sha256": "f" * 64, "ticks": 9, "series": 1}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Page(HTMLParser):
    """The elements, the text and the tables of a page, as a browser would find them."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.source = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(self.source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in {"td", "th"}:
            self.tables[-1][-1].append("")
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        inside = self._open[-1] if self._open else ""
        if inside in {"td", "th"}:
            self.tables[-1][-1][-1] += data
        if inside == "script":
            self.scripts[-1] += data
        elif inside != "style":
            self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    @property
    def figures(self) -> dict:
        return json.loads(self.scripts[0])["figures"]


def write_case(folder: Path, names: tuple[str, ...] = ("s0", "s1"), rounds: int = 120, **changes) -> list[str]:
    made = changes.pop("made", None) or builders.network(**changes.pop("network", {}))
    save_bundle(folder / "model", builders.manifest(made, **{"training": TRAINED, **changes}), made)
    (folder / "f.toml").write_text(f'[stream]\nstep = "1s"\n[model]\nbundle = "{folder}/model"\n')
    random = np.random.default_rng(0)
    values = (
        20 + 3 * np.sin(np.arange(rounds) * np.pi / 2) + np.cumsum(random.normal(size=(len(names), rounds)), axis=1)
    )
    quoted = ['"' + name.replace('"', '""') + '"' for name in names]
    rows = [
        f"{name},{START_MS + 1_000 * n},{values[series, n]}"
        for n in range(rounds)
        for series, name in enumerate(quoted)
        if not 20 <= n < 25
    ]
    (folder / "t.csv").write_text("\n".join(["series,ts,value", *rows]))
    return ["--config", str(folder / "f.toml"), "--input", str(folder / "t.csv"), "--report", str(folder / "r.html")]


def command(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return ended.value.code


def backtested(folder: Path, names: tuple[str, ...] = ("s0", "s1"), **changes) -> tuple[Page, dict]:
    case = write_case(folder, names, **changes)
    assert command("backtest", *case, "--out", str(folder / "r.json")) == 0
    return Page(folder / "r.html"), json.loads((folder / "r.json").read_text())


@pytest.fixture(scope="module")
def usual(tmp_path_factory) -> tuple[Page, dict]:
    return backtested(tmp_path_factory.mktemp("usual"), (HOSTILE, "s1"))


def test_the_figures_of_the_tables_are_those_of_the_json(usual) -> None:
    page, scores = usual
    overall, intervals, by_series = page.tables[:3]
    metrics = {title: metric for metric, title in TITLES.items()}
    for name, *cells in overall[1:]:
        for title, cell in zip(overall[0][1:], cells, strict=True):
            assert cell == number(scores["overall"][name][metrics[title]]), (name, title)
    assert [row[0] for row in overall[1:]] == list(scores["overall"])
    for name, inside, winkler in intervals[1:]:
        assert inside == words.percent(scores["overall"][name]["coverage_80"])
        assert winkler == number(scores["overall"][name]["winkler_80"])
    ranked = sorted(scores["by_series"].items(), key=lambda one: -one[1]["scores"]["model"]["mase"])
    for row, (name, one) in zip(by_series[1:], ranked, strict=True):
        skill = one["skill"]["mase"]
        numbers = f"{100 * skill['skill']:+.1f} [{100 * skill['low']:+.1f}, {100 * skill['high']:+.1f}]"
        assert row[:3] == [name, str(one["origins"]), number(one["scores"]["model"]["mase"])]
        assert row[3:5] == [numbers.replace("-", "\N{MINUS SIGN}"), skill["rival"]]


def test_a_model_with_attention_has_pictures_of_where_its_forecasts_look(usual, tmp_path) -> None:
    page, _ = backtested(tmp_path, made=builders.encoder_decoder(attention="dot"))
    drawn = [one for one in page.figures.values() if one["data"][0]["type"] == "heatmap"]
    assert len(drawn) == 3
    assert "Where the forecasts look" in page.text
    assert "Where the forecasts look" not in usual[0].text


def test_the_headline_has_model_horizon_skill_and_coverage(usual) -> None:
    page, scores = usual
    lead = next(text for text in page.texts if text.startswith(scores["model"]))
    skill = scores["skill"]["mase"]
    for part in (
        "3 steps of 1s ahead on 2 series",
        f"from {scores['origins']} origins",
        words.percent(abs(skill["skill"])),
        skill["rival"],
        words.interval(skill),
        words.percent(scores["overall"]["model"]["coverage_80"]),
    ):
        assert part in lead


def test_the_charts_hold_the_figures_of_the_json(usual) -> None:
    page, scores = usual
    lines = {trace.get("name"): trace for figure in page.figures.values() for trace in figure["data"]}
    for name, found in scores["by_step"].items():
        assert lines[name]["y"] == found["mase"] or name == "model"  # the reliability curve is the model's too
    assert any(
        trace.get("y") == scores["by_step"]["model"]["mase"]
        for figure in page.figures.values()
        for trace in figure["data"]
    )
    assert lines["inside the 80 % interval"]["y"] == scores["by_step"]["model"]["coverage_80"]
    assert lines["validation"]["y"] == [1.5, 0.75, 0.5]
    assert lines["validation of level and profile alone"]["y"] == [0.8, 0.8]
    steps = [int(step) for step in scores["skill_by_step"]]
    assert lines["skill in CRPS"]["x"] == steps


def test_every_part_is_in_the_list_of_contents(usual) -> None:
    page, _ = usual
    links = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert links == {attributes["id"] for tag, attributes in page.tags if tag == "section"}
    for heading in ("In one look", "Against baselines", "By series", "The data", "Training", "Forecasts and what came",
                    "Along the horizon", "Calibration", "Model card"):  # fmt: skip
        assert page.texts.count(heading) == 2


def test_forecasts_good_typical_and_worst_are_drawn_for_both_series(usual) -> None:
    page, _ = usual
    fans = [figure for figure in page.figures.values() if figure["layout"].get("meta")]
    assert len(fans) == 9
    assert {figure["layout"]["meta"]["series"] for figure in fans} == {escaped(HOSTILE), "s1"}


def test_nothing_is_loaded_from_outside_the_file(usual) -> None:
    page, _ = usual
    assert not [tag for tag, _ in page.tags if tag in {"link", "img", "iframe", "object", "embed", "base"}]
    for _, attributes in page.tags:
        assert not {"src", "srcset", "action", "onload", "onerror"} & attributes.keys()
        assert (attributes.get("href") or "#").startswith("#")
    assert "url(" not in page.source[page.source.index("<style>") : page.source.index("</style>")]
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_the_policy_allows_the_two_scripts_of_the_file_and_plotly_is_in_it_once(usual) -> None:
    page, _ = usual
    policy = next(attributes["content"] for tag, attributes in page.tags if "http-equiv" in attributes)
    _, *scripts = page.scripts  # the first is data
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy) == hashes
    assert ["plotly.js v" in script for script in scripts] == [True, False]
    assert len(page.source) < 10_000_000


def test_a_hostile_name_stays_text_in_the_page_and_in_the_charts(usual) -> None:
    page, _ = usual
    assert HOSTILE in page.text
    assert len(page.scripts) == 3
    assert "<" not in page.scripts[0]
    names = [trace.get("name") for figure in page.figures.values() for trace in figure["data"]]
    assert escaped(HOSTILE) in names  # plotly reads labels as HTML of its own
    assert HOSTILE not in names
    page_without_scripts = re.sub(r"<script.*?</script>", "", page.source, flags=re.DOTALL)
    assert "onerror" in page_without_scripts
    assert "<img" not in page_without_scripts


def test_only_markup_is_taken_as_markup() -> None:
    assert element("p", "a<b", element("i", "&"), title='"x') == '<p title="&quot;x">a&lt;b<i>&amp;</i></p>'


def test_the_card_says_what_the_model_was_made_from_and_how_to_make_it_again(usual) -> None:
    page, scores = usual
    for part in (
        "f" * 64 + " (other data than this report)",
        'seasons = ["4s"]',
        "horizon = 3",
        "forecaster train --config forecaster.toml",
        "forecaster backtest --config",
        "as often too high as too low",
        "Apache-2.0",
    ):
        assert part in page.text, part
    assert scores["model"] in page.text


def test_a_model_of_an_aggregate_has_a_page_without_steps(tmp_path) -> None:
    page, scores = backtested(tmp_path, network={"aggregate": "max"})
    assert f"{scores['model']} forecasts the max over 3 steps of 1s on 2 series" in page.text
    assert "One number is forecast of all 3 steps" in page.text
    assert "network: aggregate" in page.text
    assert len(scores["by_step"]["model"]["mae"]) == 1


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("aggregate", [None, "max"])
def test_the_settings_of_the_card_are_a_configuration_that_loads(tmp_path, cell, aggregate) -> None:
    made = builders.network(cell=cell, aggregate=aggregate)
    manifest = builders.manifest(made, bar="mean", training={"settings": {"epochs": 3, "seed": 4}})
    (tmp_path / "f.toml").write_text(words.settings_toml(manifest))
    settings = load_settings(tmp_path / "f.toml")
    manifest.check_stream(settings)
    assert (settings.model.seasons, settings.model.units, settings.training.seed) == ((4_000,), (6, 5), 4)


def test_series_that_were_left_out_are_named_with_their_reason(tmp_path) -> None:
    page, _ = backtested(tmp_path, training=TRAINED | {"skipped": {"<i>flat</i>": "is constant"}})
    assert [["series", "reason"], ["<i>flat</i>", "is constant"]] in page.tables


def test_a_bundle_without_its_losses_says_so_in_one_line(tmp_path) -> None:
    training = {name: value for name, value in TRAINED.items() if name != "history"}
    page, _ = backtested(tmp_path, training=training)
    assert "does not hold the losses of its epochs" in page.text


@pytest.mark.parametrize(
    "network", [{"horizon": 1}, {"quantiles": (0.5,)}, {"quantiles": (0.2, 0.5, 0.8)}, {"quantiles": (0.5, 0.9, 0.99)}]
)
def test_a_page_is_written_for_any_horizon_and_quantiles(network, tmp_path) -> None:
    page, scores = backtested(tmp_path, ("s0",), network=network, training={})
    assert str(scores["origins"]) in page.text
    assert len(page.figures) > 12


def test_a_constant_series_has_no_forecast_to_show_and_no_verdict(tmp_path) -> None:
    case = write_case(tmp_path, ("s0",))
    rows = "\n".join(f"s0,{START_MS + 1_000 * n},5" for n in range(100))
    (tmp_path / "t.csv").write_text(f"series,ts,value\n{rows}\n")
    assert command("backtest", *case) == 0
    text = Page(tmp_path / "r.html").text
    assert "every series is constant" in text
    assert "no skill to tell" in text


def test_a_forecast_from_ticks_counts_steps_instead_of_time(tmp_path) -> None:
    case = write_case(tmp_path, ("s0",), step_ms=None, features=builders.FLAT, network={"features": builders.FLAT})
    (tmp_path / "f.toml").write_text(f'[stream]\nstep = "tick"\n[model]\nbundle = "{tmp_path}/model"\n')
    assert command("backtest", *case) == 0
    page = Page(tmp_path / "r.html")
    titles = [figure["layout"]["xaxis"]["title"].get("text") for figure in page.figures.values()]
    assert titles.count("steps from the origin") == 9


def skill(low: float, high: float) -> dict:
    found = {"rival": "last value", "skill": (low + high) / 2, "low": low, "high": high}
    return {"mase": found, "crps": found}


@pytest.mark.parametrize(
    ("low", "high", "covered", "mark", "said"),
    [
        (0.1, 0.2, 0.8, "good", ["Better than every baseline", "taken at their word"]),
        (-0.1, 0.2, 0.7, "unclear", ["Not to be told from last value", "too narrow"]),
        (-0.2, -0.1, 0.9, "bad", ["Worse than last value", "too wide"]),
    ],
)
def test_the_verdict_follows_the_interval_of_the_skill(low, high, covered, mark, said) -> None:
    by_series = {"a": {"skill": skill(0.1, 0.2)}, "b": {"skill": skill(-0.2, -0.1)}, "c": {"skill": {"mase": None}}}
    scores = {
        "skill": skill(low, high), "by_series": by_series, "horizon": 10, "crossings": 0, "not_finite": 0,
        "intervals": {"scored": [0.8]}, "overall": {"model": {"coverage_80": covered}},
    }  # fmt: skip
    found, sentences = words.verdict(scores, moments=99)
    text = " ".join(sentences)
    assert found == mark
    assert all(part in text for part in said)
    assert "better on 1 of 2, worse on 1" in text
    assert "fewer than 10 horizons" in text
    assert "horizons" not in " ".join(words.verdict(scores, moments=100)[1])


def test_every_colour_of_the_charts_has_its_own_dark_one() -> None:
    assert len(DARK) == len(ALL)
    source = "".join(
        path.read_text() for path in (Path(words.__file__).parent).glob("*.py") if "colours" not in path.name
    )
    assert not re.search(r"#[0-9a-f]{6}", source)


def test_without_plotly_one_line_names_the_extra(tmp_path, monkeypatch, capsys) -> None:
    case = write_case(tmp_path)
    for module in [name for name in sys.modules if name.startswith(("plotly", "training.html"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "plotly", None)
    assert command("backtest", *case) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    assert 'pip install "forecaster[report]"' in line


def test_plotly_is_not_imported_unless_it_is_asked_for() -> None:
    code = "import sys, training.backtest_report, training.report; sys.exit('plotly' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=False).returncode == 0


@pytest.mark.parametrize("place", ["nowhere/r.html", "."])
def test_a_place_that_cannot_be_written_is_named_before_anything_is_scored(place, tmp_path, capsys) -> None:
    case = write_case(tmp_path)
    (tmp_path / "t.csv").unlink()
    assert command("backtest", *case[:-1], str(tmp_path / place)) == 1
    assert f"{tmp_path / place}: cannot be written" in capsys.readouterr().err


def train_case(folder: Path, validation_fraction: float) -> list[str]:
    case = write_case(folder, ("s0",), rounds=300)
    (folder / "f.toml").write_text(
        '[stream]\nstep = "1s"\n[model]\nhorizon = 3\ncontext_length = 16\nseasons = ["4s"]\nunits = [4]\n'
        "[training]\nepochs = 1\nsteps_per_epoch = 2\nbatch_size = 4\n"
        f"train_fraction = 0.6\nvalidation_fraction = {validation_fraction}\n"
    )
    return ["train", *case, "--out", str(folder / "fresh")]


def test_training_reports_on_what_lies_behind_its_data(tmp_path) -> None:
    assert command(*train_case(tmp_path, 0.2)) == 0
    page = Page(tmp_path / "r.html")
    training = json.loads((tmp_path / "fresh" / "manifest.json").read_text())["training"]
    behind = sum(START_MS + 1_000 * n >= training["validation_end_ms"] for n in range(300))
    assert f"on 1 series from {behind} origins" in page.text
    assert "(the data of this report)" in page.text


def test_training_on_all_of_the_data_says_that_nothing_is_left_to_score(tmp_path) -> None:
    assert command(*train_case(tmp_path, 0.4)) == 0
    page = Page(tmp_path / "r.html")
    assert "nothing to score it on" in page.text
    assert [heading for heading in ("The data", "Training", "Model card", "Calibration") if heading in page.texts] == [
        "The data", "Training", "Model card",
    ]  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium to open the report")
def test_a_browser_opens_it_without_an_error_and_draws_every_chart(usual, tmp_path) -> None:
    page, _ = usual
    (tmp_path / "r.html").write_text(page.source, "utf-8")
    options = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={tmp_path}/p",
    ]
    done = subprocess.run(
        [CHROMIUM, *options, "--virtual-time-budget=20000", "--dump-dom", f"file://{tmp_path}/r.html"],
        capture_output=True, timeout=200, check=True, text=True,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    drawn = set(re.findall(r'id="(chart-\d+)" class="[^"]*js-plotly-plot', done.stdout))
    assert drawn == page.figures.keys()
    assert "<img" not in re.sub(r"<script.*?</script>", "", done.stdout, flags=re.DOTALL)
