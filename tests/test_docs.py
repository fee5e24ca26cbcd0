"""The documents say what the code does."""

import re
from pathlib import Path

from forecaster.config.reference import reference

DOCS = Path(__file__).parents[1] / "docs"


def test_the_reference_of_the_settings_is_that_of_the_code() -> None:
    committed = (DOCS / "configuration.md").read_text("utf-8")
    assert committed == reference(), "stale: make config-reference"


def test_the_reference_does_not_depend_on_what_the_environment_sets(monkeypatch) -> None:
    expected = reference()
    monkeypatch.setenv("FORECASTER_KAFKA__GROUP_ID", "another")
    assert reference() == expected


def test_every_setting_says_what_it_takes_and_means() -> None:
    rows = [line for line in reference().splitlines() if line.startswith("| `")]
    assert rows
    assert [row for row in rows if not all(cell.strip() for cell in row.split("|")[1:-1])] == []


def test_every_reason_code_of_the_decoder_is_documented() -> None:
    source = (DOCS.parent / "forecaster" / "formats" / "json_ticks.py").read_text("utf-8")
    events = (DOCS / "events.md").read_text("utf-8")
    codes = set(re.findall(r'"((?:[a-z0-9]+_)+[a-z0-9]+)",\s*f?"', source)) | {"empty"}
    assert codes
    assert {code for code in codes if f"`{code}`" not in events} == set()
