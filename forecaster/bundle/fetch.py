"""A bundle from object storage: one tar archive behind an address, held against its sha256."""

import hashlib
import http.client
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from pathlib import Path, PurePosixPath
from typing import IO

from forecaster.bundle.folder import check_ours, put_in_place
from forecaster.bundle.manifest import MANIFEST, MOST_BYTES, WEIGHTS, read_bundle
from forecaster.bundle.signing import SIGNATURE
from forecaster.errors import BundleError, ConfigError, ForecasterError

TIMEOUT_S = 30.0  # without a byte
PIECE = 1 << 20


def fetch_bundle(url: str, sha256: str, folder: Path) -> str:
    """Put the bundle in the tar archive at `url` into `folder`, whole or not at all; returns its `name@version`.

    The archive, plain or compressed, holds the files of one bundle at its root or in a folder. Raises `ConfigError`
    for what is no address or checksum, `BundleError` for an archive that is another or holds no sound bundle and for a
    `folder` of something else, and `ForecasterError` where the address does not answer.
    """
    scheme, _, rest = url.partition("://")
    if scheme not in {"https", "http"} or "@" in rest.partition("/")[0]:
        raise ConfigError("--url: an http or https address, without a user in it")
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise ConfigError("--sha256: 64 digits of 0-9 and a-f, as sha256sum prints them")
    check_ours(folder)
    with _beside(folder) as scratch:
        archive, fresh = Path(scratch) / "archive", Path(scratch) / "bundle"
        digest = _download(url, archive)
        if digest != sha256:
            raise BundleError(f"--sha256: the archive at {_shown(url)} has {digest}")
        _unpack(archive, fresh)
        manifest, _ = read_bundle(fresh)
        _put(fresh, folder)
    return f"{manifest.name}@{manifest.version}"


def _beside(folder: Path) -> tempfile.TemporaryDirectory[str]:
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent)
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be written: {error.strerror}") from error


def _put(fresh: Path, folder: Path) -> None:
    try:
        put_in_place(fresh, folder)
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be written: {error.strerror}") from error


def _shown(url: str) -> str:
    """`url` without what a signed address carries behind its path, which is a secret."""
    return url.partition("?")[0]


def _download(url: str, path: Path) -> str:
    """The sha256 of what `url` answers with, once that is in the file at `path`."""
    digest, size = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:  # noqa: S310  # checked
            while piece := answer.read(PIECE):
                size += len(piece)
                if size > MOST_BYTES:
                    raise BundleError(f"--url: {_shown(url)} answers with more than {MOST_BYTES} bytes")
                digest.update(piece)
                file.write(piece)
    except urllib.error.HTTPError as error:
        error.close()  # it holds the connection
        raise ForecasterError(f"--url: {_shown(url)} cannot be fetched: {error}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise ForecasterError(f"--url: {_shown(url)} cannot be fetched: {error}") from error
    return digest.hexdigest()


def _unpack(archive: Path, folder: Path) -> None:
    """Write the files of the one bundle in `archive`, and nothing else that it may hold, into a new `folder`."""
    folder.mkdir()
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if not member.isfile() or name not in {MANIFEST, WEIGHTS, SIGNATURE}:
                    continue
                if (folder / name).exists():
                    raise BundleError(f"--url: the archive holds more than one {name}: pack one bundle")
                _write(tar.extractfile(member), member.size, folder / name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise BundleError(f"--url: the archive cannot be read as tar: {error}") from error


def _write(content: IO[bytes] | None, size: int, path: Path) -> None:
    if content is None or size > MOST_BYTES:
        raise BundleError(f"--url: {path.name} in the archive is larger than {MOST_BYTES} bytes")
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file, PIECE)
