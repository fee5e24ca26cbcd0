"""Signatures of bundles: Ed25519 (RFC 8032) over `manifest.json`, which holds the checksum of the weights."""

from pathlib import Path
from typing import Any

from forecaster.bundle.files import read_plain_file
from forecaster.errors import BundleError, ConfigError

SIGNATURE = "manifest.sig"
SIGNATURE_BYTES = 64
MOST_KEY_BYTES = 2**16


def check_signature(manifest: bytes, folder: Path, public_key: Path) -> None:
    """Raise `BundleError` where `folder` holds no signature of `manifest` by the owner of `public_key`, a PEM file."""
    key = _public(public_key)
    path = folder / SIGNATURE
    try:
        signature = read_plain_file(path, SIGNATURE_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read, and model.public_key asks for it: {error.strerror}") from None
    if not _signed(key, signature, manifest):
        raise BundleError(f"{path}: not made with the key of model.public_key over this manifest")


def sign(manifest: bytes, folder: Path, private_key: Path) -> Path:
    """Write the signature of `manifest` into `folder`; `private_key` is a PEM file that is not encrypted."""
    signature = _private(private_key).sign(manifest)
    path = folder / SIGNATURE
    try:
        path.unlink(missing_ok=True)  # a link would be followed to whatever it names
        with path.open("xb") as file:
            file.write(signature)
    except OSError as error:
        raise BundleError(f"{path}: cannot be written: {error.strerror}") from None
    return path


def _signed(key: Any, signature: bytes, content: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415  # an extra

    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _public(path: Path) -> Any:
    serialization, ed25519 = _cryptography("model.public_key")
    try:
        key = serialization.load_pem_public_key(_read("model.public_key", path))
    except ValueError:
        key = None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise ConfigError(f"model.public_key: {path} holds no public Ed25519 key in PEM")
    return key


def _private(path: Path) -> Any:
    serialization, ed25519 = _cryptography("--key")
    try:
        key = serialization.load_pem_private_key(_read("--key", path), None)
    except (ValueError, TypeError):  # TypeError: it is encrypted
        key = None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"--key: {path} holds no private Ed25519 key in PEM that is not encrypted")
    return key


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MOST_KEY_BYTES)
    except OSError as error:
        raise ConfigError(f"{setting}: {path} cannot be read: {error.strerror}") from None


def _cryptography(setting: str) -> tuple[Any, Any]:
    try:
        from cryptography.hazmat.primitives import serialization  # noqa: PLC0415  # an extra
        from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415
    except ModuleNotFoundError:
        raise ConfigError(f'{setting}: cryptography is not installed: pip install "forecaster[signing]"') from None
    return serialization, ed25519
