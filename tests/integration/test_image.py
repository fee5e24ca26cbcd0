"""The image as Kubernetes runs it: the daemon in it forecasts for a real Kafka, as its user on a read-only root.

`make image-check` builds the image and names it in FORECASTER_TEST_IMAGE. No container engine is asked: buildah unpacks
the image, a private mount namespace makes its root read-only, and chroot enters it as the image's user.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.daemon import Daemon, Stream
from integration.helpers import produce, wait_until
from integration.test_run import bundle, published, sine_ticks

from forecaster import __version__

IMAGE = os.environ.get("FORECASTER_TEST_IMAGE")
pytestmark = [
    pytest.mark.kafka,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not IMAGE, reason="no image: make image-check builds one and names it in FORECASTER_TEST_IMAGE"),
]

SERIES, ROUNDS = 3, 60
CONFINED = """
set -euo pipefail
mount --bind "$ROOT" "$ROOT"
mount --bind "$FILES" "$ROOT/etc/forecaster"
mount -t tmpfs -o size=256m,mode=1777 tmpfs "$ROOT/tmp"
mount -t proc proc "$ROOT/proc"
mount --bind /dev "$ROOT/dev"
mount -o remount,bind,ro "$ROOT/etc/forecaster"
mount -o remount,bind,ro "$ROOT"
exec chroot --userspec="$OWNER" "$ROOT" /usr/bin/env -i "$@"
"""


def buildah(*arguments: str) -> str:
    environment = {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "vfs"}
    done = subprocess.run(["buildah", *arguments], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.strip()


class Image:
    """An unpacked image, and how to run a command in it; `files` is seen in it as /etc/forecaster."""

    def __init__(self, root: Path, config: dict[str, Any], files: Path) -> None:
        self.root, self.config, self._files = root, config, files
        for place in ("etc/forecaster", "proc", "dev", "tmp"):  # as an engine does: mounts need somewhere to be
            (root / place).mkdir(parents=True, exist_ok=True)

    def start(self, *command: str, alone: bool = False, user: str = "", **options: Any) -> subprocess.Popen:
        """`command` as the image's user or another; `alone` it is the first process of its container."""
        places = {"ROOT": str(self.root), "FILES": str(self._files), "OWNER": user or self.config["User"]}
        spaces = ["--mount", "--propagation", "private", *(["--pid", "--fork"] if alone else [])]
        inside = [*self.config["Env"], *command]
        return subprocess.Popen(
            ["unshare", *spaces, "bash", "-c", CONFINED, "confined", *inside],
            env={**os.environ, **places}, text=True, **options,
        )  # fmt: skip

    def run(self, *command: str, user: str = "") -> tuple[int, str]:
        """The exit code of `command`, and all that it says."""
        process = self.start(*command, user=user, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate(timeout=120)
        return process.returncode, said


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    missing = [tool for tool in ("buildah", "unshare", "chroot") if shutil.which(tool) is None]
    if missing or os.geteuid() != 0:
        pytest.fail(f"needs root, buildah, unshare and chroot: {missing or 'not root'}")
    container = buildah("from", "--pull-never", IMAGE)
    try:
        config = json.loads(buildah("inspect", "--type", "image", IMAGE))["Docker"]["config"]
        files = tmp_path_factory.mktemp("etc")
        files.chmod(0o755)
        yield Image(Path(buildah("mount", container)), config, files)
    finally:
        buildah("rm", container)


@contextmanager
def running(image: Image, stream: Stream) -> Iterator[Daemon]:
    """The image's own command, with the stream's settings where it looks for them."""
    with (stream.folder / "log").open("w+") as log:
        process = image.start(*image.config["Entrypoint"], *image.config["Cmd"], stderr=log)
        daemon = Daemon(stream, process, log)
        try:
            wait_until(daemon.is_ready, 240, what="readiness")
            yield daemon
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


@pytest.fixture(scope="module")
def stream(image: Image, kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Stream:
    files = image._files
    bundle(files / "model", 1_000)
    (files / "model" / "weights.safetensors").chmod(0o644)
    made = Stream(kafka, tmp_path_factory.mktemp("stream"), '[model]\nbundle = "/etc/forecaster/model"\n')
    shutil.copy(made.config, files / "forecaster.toml")
    return made


def test_the_daemon_in_it_forecasts_for_a_real_kafka_and_leaves_in_good_order(image: Image, stream: Stream) -> None:
    produce(stream.bootstrap, stream.input, sine_ticks(SERIES, range(ROUNDS)))
    with running(image, stream) as daemon:
        wait_until(lambda: daemon.metric("forecaster_forecasts_total") == SERIES * ROUNDS, 120, what="the forecasts")
        status = Path(f"/proc/{daemon.process.pid}/status").read_text("utf-8")
        assert "Uid:\t10001\t10001\t10001\t10001" in status
        assert image.run(*image.config["Healthcheck"]["Test"][1:]) == (0, "")
        assert daemon.terminate() == 0, daemon.log()
    assert len(published(stream)) == SERIES * ROUNDS


@pytest.mark.usefixtures("stream")
def test_without_a_daemon_the_health_check_fails(image: Image) -> None:
    code, said = image.run(*image.config["Healthcheck"]["Test"][1:])
    assert code == 1
    assert said.startswith("forecaster: metrics.port: ")


def test_a_signal_ends_the_first_process_of_a_container_while_it_waits_for_a_broker(image: Image) -> None:
    nowhere = "FORECASTER_KAFKA__BOOTSTRAP_SERVERS=127.0.0.1:1"
    waiting = [nowhere, "forecaster", "remove-members", "--statefulset", "fc", "--replicas", "1"]
    with image.start(*waiting, alone=True, stderr=subprocess.DEVNULL) as outside:
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")

        def ended() -> bool:
            for first in children.read_text("utf-8").split():
                os.kill(int(first), signal.SIGTERM)
            return outside.poll() is not None

        try:
            wait_until(ended, 30, what="the end")
        finally:
            outside.kill()
    assert outside.returncode == 128 + signal.SIGTERM


def test_a_platform_may_choose_the_user_and_leave_it_without_a_home(image: Image) -> None:
    homeless = "unset HOME; exec python -c 'import keras, forecaster.daemon'"
    code, said = image.run("sh", "-c", homeless, user="1000650000:0")
    assert code == 0, said


def test_nothing_outside_of_tmp_can_be_written(image: Image) -> None:
    for place in ("/", "/etc", "/opt/forecaster", "/usr/bin", "/home"):
        code, said = image.run("touch", f"{place}/written")
        assert (code, "Read-only file system" in said) == (1, True), said
    assert image.run("touch", "/tmp/written") == (0, "")


def test_it_has_no_compiler_and_its_environment_no_pip(image: Image) -> None:
    for tool in ("cc", "gcc", "g++", "make", "ld"):
        assert image.run("sh", "-c", f"command -v {tool}")[0] != 0, tool
    assert "No module named pip" in image.run("python", "-m", "pip", "--version")[1]


def test_its_environment_has_neither_headers_nor_the_symbols_of_tensorflow(image: Image) -> None:
    files = [path for path in (image.root / "opt/forecaster").rglob("*") if path.is_file() and not path.is_symlink()]
    assert sum(path.stat().st_size for path in files) < 1.15e9  # docs/deployment.md: 1.06 GB of 1.61
    assert [path for path in files if "tensorflow/include" in str(path)] == []


def test_its_user_can_become_nobody_else(image: Image) -> None:
    found = [path for path in (image.root / "opt").rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o6000]
    assert found == []
    assert image.config["User"] == "10001:10001"


def test_its_labels_and_its_bill_of_materials_say_what_it_is(image: Image) -> None:
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "forecaster"
    assert {"org.opencontainers.image.version", "org.opencontainers.image.revision"} <= labels.keys()
    bill = json.loads((image.root / "opt/forecaster/sbom.cdx.json").read_text("utf-8"))
    installed = {
        tuple(path.stem.lower().split("-")) for path in image.root.glob("opt/*/lib/*/site-packages/*.dist-info")
    }
    listed = {(part["name"].replace("-", "_").lower(), part["version"]) for part in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert installed <= listed
    assert ("forecaster", __version__) in listed
