"""The chart as Helm renders it, by a process of the environment that has Helm."""

import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from chart.rendered import DEPLOY, EXAMPLES, PYTHON, Documents, Render


@pytest.fixture(scope="session")
def render() -> Iterator[Render]:
    """Values, or the name of an example, to what the chart answers: `documents`, or the `error` of its refusal."""
    if not PYTHON.exists():
        refuse = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        refuse("no .venv-deploy with Helm in it: make lint-deploy")
    command = [PYTHON, DEPLOY / "checks" / "chart.py"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(example: str | None = None, *, release: str = "forecaster", **values: Any) -> dict[str, Any]:
            process.stdin.write(json.dumps([release, example or values]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture(scope="session")
def examples(render: Render) -> dict[str, Documents]:
    """What the chart makes of each file of values in deploy/chart/ci."""
    return {name: render(name)["documents"] for name in EXAMPLES}
