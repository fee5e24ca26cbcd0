"""docs/configuration.md, made of the settings classes and the strings below their fields.

make config-reference
"""

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from pydantic import BaseModel

from forecaster.config.settings import Settings

HEAD = """\
# Configuration

<!-- Made by `make config-reference` of the classes in forecaster/config: change it there. -->

One TOML file (`--config`), and for every setting an environment variable that wins over it:
`FORECASTER_` + the path in capitals with `__` between the parts, such as `FORECASTER_KAFKA__BOOTSTRAP_SERVERS`; a list
or a section in a variable is JSON. An unknown key in any section is refused. A duration is a whole number and a unit:
`ms`, `s`, `min`, `h`, `d`, `w`. What is not set is left out of the file. `forecaster check-config` prints what is in
effect.
"""
TABLE = "| setting | takes | default | meaning |\n|---|---|---|---|"
WORDS = {"boolean": "`true`, `false`", "integer": "whole number", "number": "number", "string": "text"}
WORDS |= {"date": "date", "path": "path", "password": "secret"}
BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to", "exclusiveMaximum": "and below"}


def reference() -> str:
    """The whole page, as Markdown: it tells the defaults, whatever the environment sets."""
    return "\n".join([HEAD, *_section(Settings, "", Settings.model_construct().model_dump(mode="json")), ""])


def _section(section: type[BaseModel], path: str, defaults: dict[str, Any]) -> Iterator[str]:
    """The lines of `section` at `path`, those of the sections inside it behind them."""
    inner = {name: field.annotation for name, field in section.model_fields.items()}
    sections = {name: kind for name, kind in inner.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    if path:
        yield f"## `[{path}]`\n\n{_prose(section.__doc__)}\n"
    yield TABLE
    yield from _rows(section, [name for name in inner if name not in sections], defaults)
    for name, kind in sections.items():
        yield ""
        yield from _section(kind, f"{path}.{name}".lstrip("."), defaults[name])


def _rows(section: type[BaseModel], names: list[str], defaults: dict[str, Any]) -> Iterator[str]:
    read, written = (section.model_json_schema(mode=mode)["properties"] for mode in ("validation", "serialization"))
    meanings = described(section)
    for name in names:
        default = "not set" if defaults[name] is None else f"`{json.dumps(defaults[name], ensure_ascii=False)}`"
        yield f"| `{name}` | {_takes(read[name], written[name])} | {default} | {_prose(meanings.get(name))} |"


def described(section: type[BaseModel]) -> dict[str, str]:
    """The string below each field of `section`; the daemon, which needs none of them, does not read its source."""
    (tree,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101  # for the type checker: it is the source of a class
    found = {}
    for field, below in pairwise(tree.body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                found[name] = text
    return found


def _takes(read: dict[str, Any], written: dict[str, Any]) -> str:
    """What a setting takes, by the JSON schemas of its value as it is kept and as it is written."""
    kept = _set(read)
    if values := kept.get("enum", [kept["const"]] if "const" in kept else []):
        return ", ".join(f"`{json.dumps(value)}`" for value in values)
    if "prefixItems" in kept:
        return "text"  # of several parts
    if kept.get("type") == "array":
        one = _takes(kept["items"], _set(written).get("items", {}))
        return "list of " + re.sub(r"\b(list|number|duration|date)\b", r"\1s", one)
    if kept.get("type") == "integer" and _set(written).get("type") != "integer":
        return "duration"  # milliseconds once parsed
    word = WORDS[kept.get("format", kept["type"])]
    return " ".join([word, *(f"{how} {kept[bound]:,}" for bound, how in BOUNDS.items() if bound in kept)])


def _set(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` without the null of a setting that need not be set."""
    return next((kind for kind in schema.get("anyOf", []) if kind.get("type") != "null"), schema)


def _prose(text: str | None) -> str:
    """`text` in one line, for a cell of a table."""
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201  # a command
