"""A bundle from object storage arrives whole and as its checksum says, or not at all."""

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from builders import manifest, network

from forecaster.bundle import fetch
from forecaster.bundle.fetch import fetch_bundle
from forecaster.bundle.manifest import MANIFEST, WEIGHTS, read_bundle
from forecaster.bundle.store import save_bundle
from forecaster.errors import BundleError, ConfigError, ForecasterError

ZEROS = "0" * 64


class Store(ThreadingHTTPServer):
    """Answers every path with `content`."""

    content = b""
    daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/models/pump.tar?signature=s3cret"

    def put(self, content: bytes) -> str:
        self.content = content
        return hashlib.sha256(content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.server.content else 404)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def store() -> Iterator[Store]:
    with Store(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fetch") / "pump"
    save_bundle(folder, manifest(network()), network())
    return folder


def packed(files: dict[str, bytes], mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def files(bundle: Path, prefix: str = "") -> dict[str, bytes]:
    return {f"{prefix}{name}": (bundle / name).read_bytes() for name in (MANIFEST, WEIGHTS)}


@pytest.mark.parametrize(("prefix", "mode"), [("", "w"), ("pump/", "w:gz"), ("./pump/", "w:xz")])
def test_a_bundle_is_taken_out_of_its_archive(store: Store, bundle: Path, tmp_path: Path, prefix: str, mode: str):
    digest = store.put(packed(files(bundle, prefix), mode))
    name = fetch_bundle(store.url, digest, tmp_path / "models" / "current")
    manifest, _ = read_bundle(tmp_path / "models" / "current")
    assert name == f"{manifest.name}@{manifest.version}"
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["current"]


def test_a_second_start_replaces_what_is_there(store: Store, bundle: Path, tmp_path: Path):
    digest = store.put(packed(files(bundle)))
    (tmp_path / "current").mkdir()
    (tmp_path / "current" / MANIFEST).touch()
    fetch_bundle(store.url, digest, tmp_path / "current")
    assert {path.name for path in (tmp_path / "current").iterdir()} == {MANIFEST, WEIGHTS}


def test_a_folder_of_something_else_is_not_replaced(store: Store, bundle: Path, tmp_path: Path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis").touch()
    with pytest.raises(BundleError, match=r"home: holds 'thesis', which is no part of a bundle"):
        fetch_bundle(store.url, store.put(packed(files(bundle))), tmp_path / "home")
    assert [path.name for path in tmp_path.rglob("*")] == ["home", "thesis"]


def test_another_archive_than_was_asked_for_is_refused_and_what_was_there_stays(
    store: Store, bundle: Path, tmp_path: Path
):
    digest = store.put(packed(files(bundle)))
    fetch_bundle(store.url, digest, tmp_path / "current")
    store.put(packed(files(bundle), "w"))
    with pytest.raises(BundleError, match=r"^--sha256: the archive at") as refused:
        fetch_bundle(store.url, digest, tmp_path / "current")
    assert "s3cret" not in str(refused.value)
    assert read_bundle(tmp_path / "current")


def test_nothing_but_a_bundle_s_files_leaves_the_archive(store: Store, bundle: Path, tmp_path: Path):
    more = {"../outside": b"x", "/abs": b"x", "pump/run.sh": b"x"}
    digest = store.put(packed({**more, **files(bundle, "../../pump/")}))
    fetch_bundle(store.url, digest, tmp_path / "models" / "current")
    assert {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()} == {
        f"models/current/{MANIFEST}",
        f"models/current/{WEIGHTS}",
    }


def test_a_link_in_the_place_of_the_weights_is_not_followed(store: Store, bundle: Path, tmp_path: Path):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(bundle / MANIFEST, MANIFEST)
        link = tarfile.TarInfo(WEIGHTS)
        link.type, link.linkname = tarfile.SYMTYPE, str(bundle / WEIGHTS)
        tar.addfile(link)
    with pytest.raises(BundleError, match=WEIGHTS):
        fetch_bundle(store.url, store.put(buffer.getvalue()), tmp_path / "current")
    assert not (tmp_path / "current").exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"no archive at all", "cannot be read as tar"),
        (packed({"readme": b"x"}), MANIFEST),
        (packed({MANIFEST: b"{}", WEIGHTS: b""}), MANIFEST),
        (packed({f"a/{MANIFEST}": b"{}", f"b/{MANIFEST}": b"{}"}), "more than one"),
    ],
)
def test_an_archive_without_one_sound_bundle_is_refused(store: Store, tmp_path: Path, content: bytes, fault: str):
    with pytest.raises(BundleError, match=fault):
        fetch_bundle(store.url, store.put(content), tmp_path / "current")
    assert list(tmp_path.iterdir()) == []


def test_a_truncated_archive_is_refused(store: Store, bundle: Path, tmp_path: Path):
    content = packed(files(bundle))
    with pytest.raises(BundleError, match="cannot be read as tar"):
        fetch_bundle(store.url, store.put(content[: len(content) // 2]), tmp_path / "current")


def test_an_archive_larger_than_any_bundle_is_given_up(
    store: Store, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    digest = store.put(packed(files(bundle)))
    monkeypatch.setattr(fetch, "MOST_BYTES", 100)
    with pytest.raises(BundleError, match="more than 100 bytes"):
        fetch_bundle(store.url, digest, tmp_path / "current")


def test_an_address_that_has_nothing_is_named_without_its_signature(store: Store, tmp_path: Path):
    with pytest.raises(ForecasterError, match=r"^--url: http://127\.0\.0\.1:\d+/models/pump\.tar cannot") as failed:
        fetch_bundle(store.url, ZEROS, tmp_path / "current")
    assert failed.value.exit_code == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "models/pump.tar", "https://user:s3cret@host/pump.tar"])
def test_what_is_no_plain_address_is_refused(url: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^--url: ") as refused:
        fetch_bundle(url, ZEROS, tmp_path / "current")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("digest", ["", "abc", ZEROS.upper().replace("0", "A"), "sha256:" + ZEROS])
def test_a_checksum_is_sixty_four_digits(digest: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"^--sha256: 64 digits"):
        fetch_bundle("https://store.example/pump.tar", digest, tmp_path / "current")
