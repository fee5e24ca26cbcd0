"""`make lint-deploy`: the Dockerfile, the chart with every file of values, what it renders, rules and dashboards."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import chart
import helm_python
import kubernetes_validate
import yaml

ROOT = chart.DEPLOY.parent
BIN = Path(sys.executable).parent
KUBERNETES = ("1.33", "1.37")  # the oldest and the newest that the objects are held against
OPERATORS = ("keda.sh/", "monitoring.coreos.com/", "kafka.strimzi.io/")


def _run(*command: str | Path, text: str | None = None) -> Iterator[str]:
    """What `command` says where it fails."""
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        yield f"{done.stdout}{done.stderr}".strip() or f"{command[0]} ended with {done.returncode}"


def _objects() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in chart.VALUES:
        for text in chart.render(chart.load(name)):
            yield name, yaml.safe_load(text)


def dockerfile() -> Iterator[str]:
    yield from _run(BIN / "hadolint", "Dockerfile")


def chart_lint() -> Iterator[str]:
    for name in chart.VALUES:
        report = helm_python.lint(chart.unlinked(), chart.load(name), strict=True)
        faults = [message for message in report["messages"] if message["severity"] > 1]
        yield from (f"{name}: {fault['path']}: {fault['error']}" for fault in faults)
        yield from (f"{name}: {error}" for error in report["errors"])


def kubernetes_objects() -> Iterator[str]:
    for name, found in _objects():
        if found["apiVersion"].startswith(OPERATORS):
            continue
        for version in KUBERNETES:
            try:
                kubernetes_validate.validate(found, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{name}: {found['kind']} {found['metadata']['name']} at {version}: {error.path}: {error.message}"


def operator_objects() -> Iterator[str]:
    found = [found for _, found in _objects() if found["apiVersion"].startswith(OPERATORS)]
    yield from _run("node", chart.DEPLOY / "checks" / "objects.mjs", text=json.dumps(found))


def plain_manifests() -> Iterator[str]:
    for path, text in chart.manifests().items():
        if not path.exists() or path.read_text("utf-8") != text:
            yield f"{path.relative_to(ROOT)} is not what the chart renders: make chart"


def kustomizations() -> Iterator[str]:
    if shutil.which("kubectl"):
        for name in chart.PLAIN:
            yield from _run("kubectl", "kustomize", chart.MANIFESTS / name)


def alerts() -> Iterator[str]:
    for path in sorted((chart.DEPLOY / "alerts").glob("*.rules.yaml")):
        yield from _run("promtool", "check", "rules", path)


def laptop() -> Iterator[str]:
    file = chart.DEPLOY / "compose.yaml"
    yield from _run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", file)
    compose = yaml.safe_load(file.read_text("utf-8"))
    kafka = compose["services"]["kafka"]
    if kafka["environment"].get("KAFKA_LOG_DIRS") not in [mount.split(":")[1] for mount in kafka["volumes"]]:
        yield "compose.yaml: Kafka keeps its records outside of its volume"
    mounts = [mount for service in compose["services"].values() for mount in service.get("volumes", [])]
    files = [mount.split(":")[0] for mount in mounts if mount.startswith("./")]
    yield from (f"compose.yaml: {name} is not there" for name in files if not (chart.DEPLOY / name).exists())
    yield from _run("promtool", "check", "config", "--syntax-only", chart.DEPLOY / "compose" / "prometheus.yml")


def security() -> Iterator[str]:
    for path in (chart.MANIFESTS, ROOT / "Dockerfile"):
        options = ("--severity", "HIGH,CRITICAL", "--exit-code", "1", "--quiet", "--skip-check-update")
        yield from _run(BIN / "trivy", "config", *options, path)


CHECKS: tuple[Callable[[], Iterator[str]], ...] = (
    dockerfile, chart_lint, kubernetes_objects, operator_objects, plain_manifests, kustomizations, alerts, laptop,
    security,
)  # fmt: skip


def main() -> int:
    """The number of checks that found something."""
    failed = 0
    for check in CHECKS:
        faults = list(check())
        failed += bool(faults)
        print(f"{check.__name__}: {'ok' if not faults else f'{len(faults)} found'}", *faults, sep="\n  ")
    return failed


if __name__ == "__main__":
    sys.exit(min(main(), 1))
