"""What the repository promises about itself: dependencies, locks, manifests and import boundaries."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from forecaster import __version__
from forecaster.config import load_settings

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "deploy" / "manifests"
TRAINING = ROOT / "deploy" / "training"
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
DOWNLOAD = re.compile(
    r"https?://\S+\.(?:whl|zip|jar|tgz|tar\.\w+)\b|https?://\S+/simple\b|--(?:extra-)?index-url|--find[-]links"
)


def declared_dependencies() -> set[str]:
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    requirements = [
        *tree["build-system"]["requires"],
        *tree["project"]["dependencies"],
        *(line for extra in tree["project"]["optional-dependencies"].values() for line in extra),
        *(line for group in tree["dependency-groups"].values() for line in group),
    ]
    return {re.match(r"[\w.-]+", line)[0].lower() for line in requirements}


def imported_modules(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def test_every_dependency_says_why_it_earns_its_place():
    explained = set(re.findall(r"(?m)^- `([\w.-]+)`: .+\.$", (ROOT / "docs/dependencies.md").read_text("utf-8")))
    assert explained == declared_dependencies() | {"editables"}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_file_pins_hashes_and_names_no_address(lock):
    text = lock.read_text("utf-8")
    pinned = re.findall(r"(?m)^[\w.-]+==.*\\\n    --hash=sha256:", text)
    assert len(pinned) == len(re.findall(r"(?m)^[a-z]", text)) > 0
    assert "://" not in text


def test_what_is_deployed_is_what_was_tested():
    pins = {lock.stem: set(re.findall(r"(?m)^([\w.-]+)==([^ ]+)", lock.read_text("utf-8"))) for lock in LOCKS}
    assert pins["cpu"] | pins["build"] <= pins["dev"]
    assert {name for name, _ in pins["gpu"] - pins["dev"] if not name.startswith("nvidia-")} == set()


def test_no_file_of_the_repository_names_a_download_address():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    files = [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    assert files
    assert [str(file) for file in files if DOWNLOAD.search(file.read_text("utf-8", errors="replace"))] == []


def test_the_configuration_of_the_manifests_loads():
    settings = load_settings(MANIFESTS / "forecaster.toml")
    assert settings.model.bundle == Path("/models/current")
    assert f"containerPort: {settings.metrics.port}\n" in (MANIFESTS / "statefulset.yaml").read_text("utf-8")


def test_the_pods_outlive_an_orderly_shutdown():
    settings = load_settings(MANIFESTS / "forecaster.toml")
    grace = re.search(r"terminationGracePeriodSeconds: (\d+)", (MANIFESTS / "statefulset.yaml").read_text("utf-8"))
    assert int(grace[1]) * 1_000 > settings.kafka.shutdown_timeout


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl to render the manifests")
def test_the_manifests_render_with_the_image_of_this_version():
    rendered = subprocess.run(["kubectl", "kustomize", MANIFESTS], capture_output=True, check=True, text=True).stdout
    assert f"image: forecaster:{__version__}\n" in rendered
    assert (MANIFESTS / "forecaster.toml").read_text("utf-8").splitlines()[-1] in rendered


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl to render the manifests")
@pytest.mark.parametrize("variant", ["single", "workers"])
def test_the_training_manifests_render_with_the_image_of_this_version(variant):
    folder = TRAINING / variant
    rendered = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, check=True, text=True).stdout
    assert f"image: forecaster:{__version__}\n" in rendered
    assert (TRAINING / "single" / "train.toml").read_text("utf-8").splitlines()[-1] in rendered


def test_the_training_pod_is_as_confined_as_the_daemon():
    def confined(path):
        text = path.read_text("utf-8")
        pod = re.search(r"(?m)^      automountServiceAccountToken: false\n      enableServiceLinks: false", text)
        contexts = re.findall(r"(?m)^( +)securityContext:\n((?:\1 +.*\n)+)", text)
        return pod is not None, [body for _, body in contexts]

    daemon, training = (confined(path) for path in (MANIFESTS / "statefulset.yaml", TRAINING / "single" / "job.yaml"))
    assert training == daemon
    assert len(training[1]) == 2


def test_the_settings_of_the_training_manifests_load():
    assert load_settings(TRAINING / "single" / "train.toml").model.seasons


def test_the_workers_of_the_training_manifests_find_each_other():
    text = (TRAINING / "workers" / "job.yaml").read_text("utf-8")
    variable = re.search(r"name: TF_CONFIG\n +value: >-\n((?: {16}.*\n)+)", text)[1]
    places = [json.loads(variable.replace("$(WORKER)", str(worker))) for worker in range(2)]
    port = re.search(r"containerPort: (\d+)", text)[1]
    name = re.search(r"subdomain: (.+)", text)[1]
    expected = [f"{name}-{worker}.{name}:{port}" for worker in range(2)]
    assert all(place["cluster"] == {"worker": expected} for place in places)
    assert [place["task"] for place in places] == [{"type": "worker", "index": worker} for worker in range(2)]
    assert f"completions: {len(expected)}\n  parallelism: {len(expected)}\n" in text
    assert f"\n  name: {name}\nspec:" in (TRAINING / "workers" / "service.yaml").read_text("utf-8")


def test_only_the_command_line_imports_training():
    importers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "forecaster").rglob("*.py")
        if any(name.split(".")[0] == "training" for name in imported_modules(path))
    }
    assert importers <= {"forecaster/cli.py"}


@pytest.mark.parametrize("module", ["forecaster.config", "forecaster.cli"])
def test_importing_it_does_not_import_tensorflow(module):
    code = f"import sys, {module}; print(*sorted({{'tensorflow', 'keras'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.split() == []
