"""The daemon's settings in the chart: they arrive as they were written, and the schema knows each of them."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from chart.rendered import (
    DEPLOY,
    EXAMPLES,
    KAFKA,
    PYTHON,
    ROOT,
    SASL,
    SCALED,
    Documents,
    Render,
    leaves,
    pods,
    settings_files,
)

from forecaster import __version__
from forecaster.config import load_settings
from forecaster.config.settings import Settings


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_settings_that_the_chart_writes_load(examples: dict[str, Documents], example: str, tmp_path: Path) -> None:
    for name, text in settings_files(examples[example]):
        path = tmp_path / name
        path.write_text(text, "utf-8")
        assert load_settings(path)


def part_of(tree: dict[str, Any], keys: dict[str, Any]) -> dict[str, Any]:
    return {key: part_of(tree[key], below) if isinstance(below, dict) else tree[key] for key, below in keys.items()}


def test_values_reach_the_daemon_as_they_were_written(render: Render, tmp_path: Path) -> None:
    config = {
        "workers": 3,
        "kafka": {"bootstrap_servers": 'a:9092, "b\\:9092', "max_poll_records": 100_000},
        "stream": {"step": "15min", "late_restart": 1_000_000},
        "model": {"quantiles": [0.025, 0.5, 0.9], "sampling": {"paths": 8, "top_p": 0.5}, "units": [32, 16]},
        "training": {"sizes": [[16], [32, 32]], "learning_rate": 1e-3},
        "topics": {"create": False},
    }
    ((name, text),) = settings_files(render(config=config)["documents"])
    path = tmp_path / name
    path.write_text(text, "utf-8")
    assert part_of(load_settings(path).model_dump(mode="json"), config) == config


def test_a_name_that_looks_like_a_number_stays_a_name(render: Render) -> None:
    claim = {"create": False, "name": "123"}
    secrets = {"caSecret": {"name": "123", "key": "123"}, "userSecret": {"name": "123", "passwordKey": "123"}}
    common = {
        "image": {"pullSecrets": ["123"]}, "kafka": secrets, "priorityClassName": "123", "topologyKeys": ["123"],
        "nodeSelector": {"a": "123"}, "podLabels": {"a": "123"}, "podAnnotations": {"a": "123"}, "tmpSize": "123",
    }  # fmt: skip
    url = {"source": "url", "url": {"sha256": "1" * 64, "secret": {"name": "123", "key": "123"}}}
    names = {"input": "123", "output": "1e3", "dead_letter": "true", "state": "0x1"}
    config = {"kafka": {**SASL, "sasl_username": "123", "group_id": "123"}, "topics": names}
    strimzi = {"cluster": "123", "namespace": "123", "topics": {"enabled": True}}
    training = {"enabled": True, "claim": {"storageClass": "123", "size": "123"}}
    model = {"size": "123", "claim": {"storageClass": "123"}}
    for values in (
        {**common, **SCALED, "config": config, "model": url, "strimzi": strimzi},
        {**common, "config": config, "model": {"claim": claim}, "training": {"enabled": True, "claim": claim}},
        {**common, "config": config, "model": model, "training": training},
    ):
        found = list(leaves(render(**values)["documents"]))
        assert "123" in found
        assert not {123, 1e3, int("1" * 64)} & {leaf for leaf in found if type(leaf) in {int, float}}
        assert True not in [one["metadata"]["name"] for one in render(**values)["documents"]]


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_variable_of_a_pod_is_a_setting(examples: dict[str, Documents], example: str) -> None:
    containers = [one for found in pods(examples[example]) for one in found["containers"]]
    variables = [variable["name"] for one in containers for variable in one.get("env", [])]
    for name in variables:
        section, _, setting = name.removeprefix("FORECASTER_").lower().partition("__")
        known = Settings.model_fields[section].annotation.model_fields if setting else {}
        assert not name.startswith("FORECASTER_") or setting in known, name


def test_two_releases_are_two_groups(render: Render) -> None:
    def group(**values: Any) -> str:
        files = dict(settings_files(render(**values)["documents"]))
        return tomllib.loads(files["forecaster.toml"])["kafka"]["group_id"]

    assert (group(), group(release="prices")) == (load_settings(None).kafka.group_id, "prices-forecaster")
    assert group(release="prices", config={"kafka": {**KAFKA, "group_id": "shared"}}) == "shared"


def test_a_token_endpoint_is_asked_with_the_password_of_the_secret(render: Render) -> None:
    oauth = {**SASL, "sasl_mechanism": "OAUTHBEARER", "sasl_token_endpoint": "https://idp.example/token"}
    documents = render(config={"kafka": oauth}, kafka={"userSecret": {"name": "user"}})["documents"]
    written = tomllib.loads(dict(settings_files(documents))["forecaster.toml"])["kafka"]
    assert written["sasl_password_file"] == "/etc/kafka/password"
    assert "sasl_token_file" not in written


def test_the_chart_is_of_this_version() -> None:
    chart = (DEPLOY / "chart" / "Chart.yaml").read_text("utf-8")
    assert re.findall(r"(?m)^(?:version|appVersion): (.+)$", chart) == [__version__, __version__]


def test_the_chart_knows_every_setting_of_this_daemon() -> None:
    committed = json.loads((DEPLOY / "chart" / "values.schema.json").read_text("utf-8"))["$defs"]
    code = "import json, settings_schema as made; print(json.dumps(made.settings_schema()))"
    of_now = json.loads(_python(code))
    assert {name: committed.get(name) for name in of_now} == of_now, "make chart"


@pytest.mark.usefixtures("render")
def test_the_plain_manifests_are_what_the_chart_renders() -> None:
    code = "import chart; print([str(path) for path, text in chart.manifests().items() if path.read_text() != text])"
    assert _python(code, PYTHON, DEPLOY / "checks").strip() == "[]", "make chart"


def test_every_default_of_a_setting_passes_its_own_schema() -> None:
    schema = json.loads((DEPLOY / "chart" / "values.schema.json").read_text("utf-8"))
    for name, section in schema["$defs"].items():
        for setting, kind in section.get("properties", {}).items():
            if "default" in kind:
                assert jsonschema.Draft202012Validator(kind).is_valid(kind["default"]), f"{name}.{setting}"


def _python(code: str, python: str | Path = sys.executable, *path: Path) -> str:
    places = os.pathsep.join(map(str, (ROOT, DEPLOY, *path)))
    command, environment = [python, "-c", code], {**os.environ, "PYTHONPATH": places}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
