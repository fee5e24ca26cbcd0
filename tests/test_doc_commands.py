"""What the site tells a reader to type is typed here, or listed here with the reason why not."""

import ast
import gzip
import json
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from builders import Row, batch
from documents import DOCS, FORECASTER, PAGES, ROOT, Reader, blocks, typed

from forecaster.cli.main import make_parser
from forecaster.config import InputSettings, load_settings
from forecaster.formats.json_ticks import JsonTickDecoder

DATA = ROOT.parent / "shared" / "data"
BUILD_ON_IT = re.compile(r"(runbooks/.+|backtest|operations|security|guides/(feeds|production))\.md")
AFTER_QUICKSTART = [page for page in PAGES if BUILD_ON_IT.match(page)]
FOLLOWED = ["quickstart.md", "guides/sensors.md", "guides/markets.md", *AFTER_QUICKSTART]  # by the tests below
CLUSTER = ["deployment.md"]  # needs Docker or a cluster: what it names is rendered and linted by the tests of deploy/
SERVED = {  # pages whose configurations another test trains and serves, smaller but otherwise as they stand
    "models/recurrent.md": "test_examples_recurrent.py",
    "models/windows.md": "test_examples_windows.py",
    "models/symbols.md": "test_examples_codes.py",
    "models/channels.md": "test_examples_multivariate.py",
    "models/covariates.md": "test_examples_covariates.py",
    "models/calendar.md": "test_examples_calendar.py",
}
SERVED = {page: test for page, test in SERVED.items() if page in PAGES}
NOT_RUN = {  # how a command begins that no test types, and why; its syntax is checked all the same
    "docker ": "no Docker where the tests run; their own broker stands in",
    "helm ": "no cluster where the tests run",
    "kafka-": "Kafka's own scripts, not where the tests run",
    "kubectl ": "no cluster where the tests run",
    "make ": "the targets are what CI itself runs, or take minutes to hours; each must exist",
    "pip install ": "the environment of the tests is what it installs, from the lock; each extra must exist",
    "python3 -m venv ": "the tests run in such an environment",
    ". venv/bin/activate": "the tests run in such an environment",
}
SMALL = {
    "MODEL__UNITS": "[8]", "MODEL__CONTEXT_LENGTH": "48", "TRAINING__EPOCHS": "1", "TRAINING__STEPS_PER_EPOCH": "2",
    "TRAINING__BATCH_SIZE": "8",
}  # fmt: skip
TEXTS = {page: (DOCS / page).read_text("utf-8") for page in PAGES}
TEXTS["README.md"] = (ROOT / "README.md").read_text("utf-8")
INLINE = re.compile(r"(?s)`((?:make|python -m|forecaster|pip install) [^`]+)`")


def is_run(command: str) -> bool:
    return not command.startswith(tuple(NOT_RUN))


def told() -> list[str]:
    """Every command in shell blocks and in prose, a line each; not those that leave something out."""
    of_blocks = [command for page in PAGES for command in typed(page)]
    inline = [" ".join(found.split()) for text in TEXTS.values() for found in INLINE.findall(text)]
    return [command for command in of_blocks + inline if "…" not in command]


def test_every_command_of_the_site_is_typed_by_a_test_or_has_a_reason_not_to_be() -> None:
    others = [page for page in PAGES if page not in {*FOLLOWED, *SERVED, *CLUSTER}]
    assert [(page, command) for page in others for command in typed(page) if is_run(command)] == []


def test_what_is_to_be_typed_is_marked_as_shell() -> None:
    program = "curl|docker|forecaster|helm|kafka-[a-z-]+.sh|kcat|kubectl|make|pip|python3?"
    unmarked = re.compile(rf"(?ms)^```\\n(?:{program}) .*?^```$")
    assert [(page, found) for page in PAGES for found in unmarked.findall(TEXTS[page])] == []


def test_every_shell_block_is_valid_shell() -> None:
    texts = [block.text for page in PAGES for block in blocks(page) if block.language == "sh"]
    assert texts
    for text in texts:
        done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{text}: {done.stderr}"


def test_every_make_target_that_is_told_exists() -> None:
    targets = set(re.findall(r"(?m)^([\w-]+):", (ROOT / "Makefile").read_text("utf-8")))
    named = {command.split()[1] for command in told() if command.startswith("make ")}
    assert named
    assert named - targets == set()


def test_every_extra_that_is_told_exists() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = [
        name for line in told() for part in re.findall(r"pip install .*\[([\w,]+)\]", line) for name in part.split(",")
    ]
    assert named
    assert set(named) - set(extras) == set()


def test_every_module_that_is_told_exists_and_has_the_options() -> None:
    named = [re.match(r"python -m ([\w.]+)(.*)", command) for command in told() if "NAME" not in command]
    for match in filter(None, named):
        path = ROOT / match[1].replace(".", "/")
        module = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        options = re.findall(r"--[\w-]+", match[2])
        assert module.is_file(), match[0]
        package = ROOT / match[1].partition(".")[0]  # what modules have in common is declared once
        sources = [file.read_text("utf-8") for file in package.rglob("*.py")]
        assert [option for option in options if f'"{option}"' not in "".join(sources)] == [], match[0]


def test_every_command_of_forecaster_in_a_shell_block_is_one() -> None:
    lines = [match[0] for page in PAGES for command in typed(page) if (match := FORECASTER.match(command))]
    assert len(lines) > 20
    for line in lines:
        words = shlex.split(line, comments=True)
        make_parser().parse_args(words[words.index("forecaster") + 1 :])


def test_every_option_of_forecaster_that_is_told_exists() -> None:
    source = "".join(path.read_text("utf-8") for path in (ROOT / "forecaster" / "cli").glob("*.py"))
    named = {option for line in told() if line.startswith("forecaster ") for option in re.findall(r"--[\w-]+", line)}
    assert named
    assert {option for option in named if f'"{option}"' not in source} == set()


def test_every_configuration_on_a_page_loads(tmp_path) -> None:
    found = [(page, toml) for page, text in TEXTS.items() for toml in re.findall(r"(?ms)^```toml.*?\n(.*?)^```$", text)]
    assert found
    for page, toml in found:
        (tmp_path / "page.toml").write_text(toml, "utf-8")
        assert load_settings(tmp_path / "page.toml"), page


def test_every_record_of_the_guide_to_feeds_is_read_with_the_settings_above_it() -> None:
    settings, read = InputSettings(), []
    for block in (block for block in blocks("guides/feeds.md") if block.language in {"json", "toml"}):
        if block.language == "toml":
            settings = InputSettings(**tomllib.loads(block.text)["input"])
            continue
        ticks = JsonTickDecoder(settings).decode(batch([Row(block.text.encode(), key=b"pump-9")]))
        assert ticks.faults == [], block.text
        read.append(list(zip(ticks.series, ticks.time_ms.tolist(), ticks.value.tolist(), strict=True)))
        settings = InputSettings()
    at = 1_714_550_400_000
    assert read[:4] == [
        [("pump-9", at, 21.5)],
        [("web-1", at, 98.1)],
        [("pump-7", at, 21.5)],
        [("BTCUSDT", at, 16_850.01)],
    ]
    assert [series for series, _, _ in read[4]] == ["a", "b"]


def test_every_piece_of_python_on_a_page_is_python() -> None:
    pieces = [block.text for page in PAGES for block in blocks(page) if block.language == "python"]
    assert pieces
    for piece in pieces:
        ast.parse(piece)


@pytest.mark.parametrize("page", SERVED)
def test_what_a_page_configures_is_served_by_the_test_of_its_models(page) -> None:
    source = (ROOT / "tests" / "integration" / SERVED[page]).read_text("utf-8")
    configured = set(re.findall(r"--config docs/examples/(\w+)\.toml", TEXTS[page]))
    assert configured
    assert {name for name in configured if not re.search(rf"\b{name}\b", source)} == set()


@pytest.fixture
def reader(kafka, tmp_path, monkeypatch) -> Iterator[Reader]:
    (tmp_path / "docs").symlink_to(DOCS)
    with Reader(kafka, tmp_path, monkeypatch, SMALL).reading() as made:
        yield made


def some_rows(source: str, path: Path, *parts: tuple[int, int]) -> None:
    """A recording with the header and, of each of `parts`, the rows from the first number up to the second."""
    if not (DATA / source).is_file():
        pytest.skip(f"needs {source} in ../shared/data beside the repository")
    with gzip.open(DATA / source, "rt", encoding="utf-8") as file:
        header, *rows = file
    path.write_text(header + "".join(row for low, high in parts for row in rows[low:high]), "utf-8")


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_stranger_follows_the_quickstart_and_what_builds_on_it(reader) -> None:
    printed = reader.follow("quickstart.md", is_run)
    newest, ready, outcomes = list(printed.values())[-3:]
    assert (json.loads(newest)["series"], json.loads(newest)["origin"]) == ("pump-1", 1_705_190_400_000)
    assert ready == "ok\n"
    assert 'forecaster_ticks_total{outcome="forecast"} 2881.0' in outcomes
    with gzip.open(reader.folder / "ETTh1.csv.gz", "wt", encoding="utf-8") as file:  # its form, and its length
        file.writelines(["date,OT\n", *(f"{1_467_331_200_000 + 3_600_000 * n},{n % 24}.5\n" for n in range(14_400))])
    (reader.folder / "bundle").symlink_to("model")
    for page in AFTER_QUICKSTART:
        reader.follow(page, is_run)
    assert json.loads((reader.folder / "scores.json").read_text("utf-8"))["overall"]["model"]


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_reader_follows_the_guide_for_sensors_on_a_week_of_its_data(reader) -> None:
    name = "machine_temperature_system_failure.csv"
    some_rows(f"nab/{name}.gz", reader.folder / name, (10_300, 12_300))
    printed = reader.follow("guides/sensors.md", is_run)
    counted = [text for command, text in printed.items() if "--history" in command]
    assert counted
    assert all(re.search(r"machine-1: \d+ of [1-9]\d* falls warned of", text) for text in counted)


@pytest.mark.kafka
@pytest.mark.timeout(900)
def test_a_reader_follows_the_guide_for_markets_on_minutes_of_its_data(reader) -> None:
    source = "fx_ticks/oanda_eurusd_nzdusd_20140501_20140507.csv.gz"
    some_rows(source, reader.folder / "quotes.csv", (195_000, 201_000), (248_000, 253_000))
    printed = reader.follow("guides/markets.md", is_run)
    (table,) = [text for command, text in printed.items() if "--quotes" in command]
    assert [line.split()[:2] for line in table.splitlines()[1:]] == [
        [symbol, str(n)] for symbol in ("EURUSD", "NZDUSD") for n in range(1, 6)
    ]


def test_the_alarm_of_the_guide_counts_falls_and_warnings(tmp_path) -> None:
    """A value every five minutes, and forecasts of its lowest in the next quarter of an hour.

    value     80 80 80 80 80 80 80 80 80 60 60 80 80 80 80 60
    warns           x              x  x  x
    """
    values, warns = [80] * 9 + [60] * 2 + [80] * 4 + [60], (2, 7, 8, 9)
    start_ms = 1_700_000_100_000
    rows = [f"{datetime.fromtimestamp(start_ms / 1000 + 300 * n, UTC):%F %T},{value}" for n, value in enumerate(values)]
    (tmp_path / "history.csv").write_text("\n".join(["timestamp,pump", *rows]), "utf-8")
    message = {"series": "pump", "horizon": 3, "step_ms": 300_000}
    lines = [
        json.dumps(message | {"origin": start_ms + 300_000 * n, "quantiles": {"0.1": [65 if n in warns else 75]}})
        for n in range(len(values))
    ]

    def alarm(*options: str) -> str:
        command = [sys.executable, DOCS / "examples" / "alarm.py", "--below", "70", *options]
        return subprocess.run(command, input="\n".join(lines), capture_output=True, text=True, check=True).stdout

    history = "--history", str(tmp_path / "history.csv")
    assert alarm(*history) == "pump: 1 of 2 falls warned of, 10 min before in the median; 1 warnings without a fall\n"
    assert alarm(*history, "--value-below", "81").startswith("pump: 2 of 2 falls warned of, 15 min before")
    assert [line.split()[:2] for line in alarm().splitlines()] == [["2023-11-14", "22:25"], ["2023-11-14", "22:50"]]


def test_the_rows_of_a_forecast_are_its_steps() -> None:
    message = {
        "series": "pump", "origin": 1000, "step_ms": 500, "horizon": 2, "point": [2.5, 3], "model": "gru@1",
        "quantiles": {"0.1": [1, 1.5], "0.5": [2, 3], "0.9": [4, 5]}, "maturity": "ready",
    }  # fmt: skip
    tick = message | {"step_ms": None, "maturity": "warming"}
    highest = message | {"aggregate": "max", "point": [3], "quantiles": {level: [3] for level in ("0.1", "0.5", "0.9")}}
    command = [sys.executable, DOCS / "examples" / "rows.py", "--header", "--quantiles", "0.1,0.9"]
    lines = "\n".join(map(json.dumps, (message, tick, highest)))
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "series,origin,time,point,q0.1,q0.9,model,ready",
        "pump,1000,1500,2.5,1,4,gru@1,True",
        "pump,1000,2000,3,1.5,5,gru@1,True",
        "pump,1000,1001,2.5,1,4,gru@1,False",
        "pump,1000,1002,3,1.5,5,gru@1,False",
        "pump,1000,2000,3,3,3,gru@1,True",
    ]
