"""The chart as Helm renders it: the manifests that are committed, and documents for tests.

`python chart.py --write` renders deploy/manifests anew. `python chart.py` answers each line of standard input, as JSON
the name of a release and values or the name of a file of values, with a line of JSON: {"documents": [...]}, or
{"error": ...} where the chart refuses them.
"""

import atexit
import json
import re
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import yaml

DEPLOY = Path(__file__).parents[1]
CHART = DEPLOY / "chart"
MANIFESTS = DEPLOY / "manifests"
VALUES = {path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}
PLAIN = ("cpu", "gpu", "keda")  # of these values there are manifests


@cache
def unlinked() -> Path:
    """A copy of the chart with files in the place of its links, of each of which Helm would tell at every load."""
    folder = Path(tempfile.mkdtemp(prefix="forecaster-chart-"))
    atexit.register(shutil.rmtree, folder)
    return Path(shutil.copytree(CHART, folder / "forecaster"))


def render(values: dict[str, Any], release: str = "forecaster") -> list[str]:
    """Each object as the text that Helm makes of it. Raises `helm_python.HelmError` for what the chart refuses."""
    with helm_python.Chart.load(unlinked()) as chart:
        rendered = chart.render(values, name=release, namespace="forecaster")
    texts = [text for path, text in sorted(rendered.items()) if path.endswith(".yaml")]
    return [part.strip() + "\n" for text in texts for part in f"\n{text}".split("\n---\n") if part.strip()]


def load(name: str) -> dict[str, Any]:
    """The values of deploy/chart/ci/NAME.yaml."""
    return dict(yaml.safe_load(VALUES[name].read_text("utf-8")) or {})


def manifests() -> dict[Path, str]:
    """What deploy/manifests is to hold: no hooks, which are Helm's to run, and no word of Helm."""
    head = "# Rendered from deploy/chart with deploy/chart/ci/{}.yaml by `make chart`; change it there.\n"
    return {
        MANIFESTS / name / "forecaster.yaml": head.format(name) + "---\n".join(_plain(text) for text in _unhooked(name))
        for name in PLAIN
    }


def _unhooked(name: str) -> list[str]:
    return [text for text in render(load(name)) if "helm.sh/hook:" not in text]


def _plain(text: str) -> str:
    text = text.replace("  annotations:\n    helm.sh/resource-policy: keep\n", "")
    text = re.sub(r"(?m)[ ]+$", "", text)
    return re.sub(r"(?m)^ +(helm\.sh/chart|app\.kubernetes\.io/managed-by): .*\n", "", text)


def _answer(line: str) -> dict[str, Any]:
    release, asked = json.loads(line)
    try:
        texts = render(load(asked) if isinstance(asked, str) else asked, release)
        return {"documents": [yaml.safe_load(text) for text in texts]}
    except helm_python.HelmError as error:
        return {"error": str(error)}


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        for path, text in manifests().items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    else:
        for line in sys.stdin:
            print(json.dumps(_answer(line)), flush=True)
