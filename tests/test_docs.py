"""The documents say what the code does."""

import json
import re
from pathlib import Path
from typing import Any

from forecaster.config import Settings, load_settings

DOCS = Path(__file__).parents[1] / "docs"


def documented() -> dict[str, str]:
    """Default by setting, as docs/configuration.md has them."""
    section, settings = "", {}
    for line in (DOCS / "configuration.md").read_text("utf-8").splitlines():
        if match := re.match(r"## `\[([\w.]+)\]`", line):
            section = f"{match[1]}."
        elif match := re.match(r"\| `(\w+)` \| (.+?) \|", line):
            settings[section + match[1]] = match[2].strip("`")
    return settings


def declared() -> dict[str, str]:
    def flat(tree: dict[str, Any], section: str = "") -> dict[str, Any]:
        found = {section + name: value for name, value in tree.items() if not isinstance(value, dict)}
        for name, part in tree.items():
            found |= flat(part, f"{section}{name}.") if isinstance(part, dict) else {}
        return found

    settings = flat(load_settings(None).model_dump(mode="json"))
    return {name: "not set" if value is None else json.dumps(value) for name, value in settings.items()}


def test_every_setting_is_documented_with_its_default() -> None:
    assert documented() == declared()


def test_every_reason_code_of_the_decoder_is_documented() -> None:
    source = (DOCS.parent / "forecaster" / "formats" / "json_ticks.py").read_text("utf-8")
    events = (DOCS / "events.md").read_text("utf-8")
    codes = set(re.findall(r'"((?:[a-z0-9]+_)+[a-z0-9]+)",\s*f?"', source)) | {"empty"}
    assert codes
    assert {code for code in codes if f"`{code}`" not in events} == set()


def test_the_sections_of_the_settings_are_those_of_the_document() -> None:
    sections = {name for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")}
    assert sections == {name.split(".")[0] for name in documented() if "." in name}
