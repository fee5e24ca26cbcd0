"""What the repository promises about itself: dependencies, locks, manifests and import boundaries."""

import ast
import re
import subprocess
import sys
import textwrap
import tomllib
from pathlib import Path

import pytest

from forecaster import __version__
from forecaster.config import load_settings

ROOT = Path(__file__).parents[1]
MANIFESTS = ROOT / "deploy" / "manifests"
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


@pytest.mark.parametrize("variant", ["cpu", "gpu", "keda"])
def test_the_plain_manifests_are_of_this_version_and_their_settings_load(variant, tmp_path):
    text = (MANIFESTS / variant / "forecaster.yaml").read_text("utf-8")
    images = set(re.findall(r'(?m)^ +image: "(.+)"$', text))
    assert images == {f"forecaster:{__version__}{'-gpu' if variant == 'gpu' else ''}"}
    written = re.search(r"(?m)^  forecaster.toml: \|\n((?:    .*\n|\n)+)", text)[1]
    path = tmp_path / "forecaster.toml"
    path.write_text(textwrap.dedent(written), "utf-8")
    assert load_settings(path).model.bundle == Path("/models/current")


def test_the_settings_of_the_laptop_s_daemon_load():
    assert load_settings(ROOT / "deploy" / "compose" / "forecaster.toml").model.bundle == Path("/models/current")


def test_only_the_command_line_imports_training():
    importers = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "forecaster").rglob("*.py")
        if any(name.split(".")[0] == "training" for name in imported_modules(path))
    }
    assert {str(Path(name).parent) for name in importers} <= {"forecaster/cli"}


@pytest.mark.parametrize("module", ["forecaster.config", "forecaster.cli.main"])
def test_importing_it_does_not_import_tensorflow(module):
    code = f"import sys, {module}; print(*sorted({{'tensorflow', 'keras'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    assert done.stdout.split() == []
