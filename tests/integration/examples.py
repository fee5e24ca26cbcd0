"""The configurations of docs/examples: trained at a small size, and what is served held against the documents."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
from integration.daemon import ROOT, Stream, forecaster
from jsonschema import Draft202012Validator

EXAMPLES = ROOT / "docs" / "examples"


def trained(
    kafka: str, folder: Path, name: str, history: Path, changes: Mapping[str, str], monkeypatch: pytest.MonkeyPatch
) -> Stream:
    """The stream of example `name` with `changes` of its settings: `history` is learnt, replayed and in its topic."""
    for setting, value in {**changes, "MODEL__BUNDLE": str(folder / "bundle")}.items():
        monkeypatch.setenv(f"FORECASTER_{setting}", value)
    stream = Stream(kafka, folder, (EXAMPLES / f"{name}.toml").read_text("utf-8"))
    shared = "--config", str(stream.config), "--input", str(history)
    for command in (
        ("train", *shared, "--out", str(folder / "bundle")),
        ("produce", *shared),
        ("replay", *shared, "--out", str(folder / "replay.jsonl")),
    ):
        done = forecaster(*command)
        assert done.returncode == 0, done.stderr
    return stream


def replayed(stream: Stream) -> list[dict[str, Any]]:
    """The forecasts of the replay."""
    return [json.loads(line) for line in (stream.folder / "replay.jsonl").read_text("utf-8").splitlines()]


def assert_documented(messages: Iterable[dict[str, Any]]) -> None:
    """Each of `messages` is as the JSON Schema has it."""
    validator = Draft202012Validator(json.loads((ROOT / "docs" / "forecast.schema.json").read_text("utf-8")))
    for message in messages:
        validator.validate(message)
