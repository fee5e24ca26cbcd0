"""Signatures of bundles: only what the owner of the key has signed is served."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from forecaster.bundle.manifest import MANIFEST, WEIGHTS, Manifest, sign_bundle
from forecaster.bundle.signing import SIGNATURE
from forecaster.cli.main import main
from forecaster.config import ModelSettings, Settings
from forecaster.daemon import check
from forecaster.errors import BundleError, ConfigError
from forecaster.features.settings import FeatureSettings
from forecaster.networks.spec import NetworkSettings


class Keys:
    """A pair of keys in PEM files."""

    def __init__(self, folder: Path) -> None:
        key = ed25519.Ed25519PrivateKey.generate()
        self.private, self.public = folder / "private.pem", folder / "public.pem"
        self.private.write_bytes(pem(key))
        spki = serialization.PublicFormat.SubjectPublicKeyInfo
        self.public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, spki))


def pem(key) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys(tmp_path_factory.mktemp("keys"))


def write_bundle(folder: Path, name: str = "signed") -> Path:
    """A bundle whose weights nobody looks into: nothing here needs TensorFlow."""
    features = FeatureSettings.derive((), 8)
    sizes = {"inputs": len(features.input_names), "recents": features.recents, "units": (4,), "horizon": 2}
    network = NetworkSettings(**sizes, quantiles=(0.1, 0.5, 0.9))
    weights = name.encode()
    manifest = Manifest(
        name=name, version="1", step_ms=1_000, bar=None, context_length=8, features=features, network=network,
        training={}, weights_sha256=hashlib.sha256(weights).hexdigest(),
    )  # fmt: skip
    sealed = manifest.model_copy(update={"manifest_sha256": manifest.digest()})
    folder.mkdir()
    (folder / WEIGHTS).write_bytes(weights)
    (folder / MANIFEST).write_text(sealed.model_dump_json())
    return folder


@pytest.fixture
def bundle(tmp_path: Path, keys: Keys) -> Path:
    folder = write_bundle(tmp_path / "bundle")
    sign_bundle(folder, keys.private)
    return folder


def serving(bundle: Path, public_key: Path) -> Settings:
    return Settings(model=ModelSettings(bundle=bundle, public_key=public_key))


def refusal(bundle: Path, public_key: Path) -> str:
    """What the first check of a start says."""
    with pytest.raises((BundleError, ConfigError)) as refused:
        check(serving(bundle, public_key))
    assert refused.value.exit_code == 2
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_a_signed_bundle_is_served(bundle: Path, keys: Keys) -> None:
    assert check(serving(bundle, keys.public)).name == "signed"


def test_without_a_key_the_signature_is_not_looked_at(bundle: Path) -> None:
    (bundle / SIGNATURE).write_bytes(b"anything")
    check(Settings(model=ModelSettings(bundle=bundle)))


def test_a_bundle_without_a_signature_is_refused(bundle: Path, keys: Keys) -> None:
    (bundle / SIGNATURE).unlink()
    assert refusal(bundle, keys.public).startswith(f"{bundle / SIGNATURE}: cannot be read, and model.public_key")


def test_a_signature_by_another_key_is_refused(bundle: Path, tmp_path: Path, keys: Keys) -> None:
    sign_bundle(bundle, Keys(tmp_path).private)
    assert refusal(bundle, keys.public).startswith(f"{bundle / SIGNATURE}: not made with the key of model.public_key")


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"x" * 65, b"x" * 10_000])
def test_what_is_no_signature_is_refused(bundle: Path, keys: Keys, content: bytes) -> None:
    (bundle / SIGNATURE).write_bytes(content)
    assert str(bundle / SIGNATURE) in refusal(bundle, keys.public)


def test_a_pipe_in_the_place_of_a_signature_is_not_waited_for(bundle: Path, keys: Keys) -> None:
    (bundle / SIGNATURE).unlink()
    os.mkfifo(bundle / SIGNATURE)
    assert str(bundle / SIGNATURE) in refusal(bundle, keys.public)


def test_a_link_in_the_place_of_a_signature_is_not_written_through(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("mine")
    (bundle / SIGNATURE).unlink()
    (bundle / SIGNATURE).symlink_to(other)
    sign_bundle(bundle, keys.private)
    assert other.read_text() == "mine"
    check(serving(bundle, keys.public))


def test_a_manifest_is_not_even_parsed_before_its_signature_holds(bundle: Path, keys: Keys) -> None:
    (bundle / MANIFEST).write_text("{ no JSON")
    assert str(bundle / SIGNATURE) in refusal(bundle, keys.public)


def test_weights_that_were_swapped_are_refused(bundle: Path, keys: Keys) -> None:
    shutil.copy(write_bundle(bundle.with_name("other"), "other") / WEIGHTS, bundle / WEIGHTS)
    assert str(bundle / WEIGHTS) in refusal(bundle, keys.public)


def test_the_signature_of_one_bundle_is_none_of_another(bundle: Path, keys: Keys) -> None:
    other = write_bundle(bundle.with_name("other"), "other")
    shutil.copy(bundle / SIGNATURE, other / SIGNATURE)
    assert str(other / SIGNATURE) in refusal(other, keys.public)


def test_a_key_of_another_kind_is_named_by_its_setting(bundle: Path, keys: Keys, tmp_path: Path) -> None:
    other = tmp_path / "other.pem"
    other.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    for wrong in (tmp_path / "none.pem", keys.private, other, bundle / WEIGHTS):
        assert refusal(bundle, wrong).startswith("model.public_key: ")


def test_without_the_package_the_extra_is_named(bundle: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("cryptography")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    assert refusal(bundle, keys.public).endswith('pip install "forecaster[signing]"')


def ended(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    code: int = stopped.value.code
    return code


def test_the_command_signs_what_is_whole_and_nothing_else(
    bundle: Path, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    (bundle / SIGNATURE).unlink()
    assert ended("sign", str(bundle), "--key", str(keys.private)) == 0
    check(serving(bundle, keys.public))
    capsys.readouterr()
    assert ended("sign", str(bundle), "--key", str(keys.public)) == 2
    assert capsys.readouterr().err.startswith("forecaster: --key: ")
    (bundle / WEIGHTS).write_bytes(b"")
    assert ended("sign", str(bundle), "--key", str(keys.private)) == 2


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_what_openssl_signs_is_accepted(bundle: Path, tmp_path: Path) -> None:
    """The commands of docs/security.md."""

    def openssl(*arguments: object) -> None:
        subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)

    private, public = tmp_path / "signing.pem", tmp_path / "signing.pub"
    openssl("genpkey", "-algorithm", "ed25519", "-out", private)
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    signing = ("-sign", "-rawin", "-inkey", private, "-in", bundle / MANIFEST, "-out", bundle / SIGNATURE)
    openssl("pkeyutl", *signing)
    check(serving(bundle, public))


def test_a_bundle_is_loaded_by_its_signature_and_trained_anew_without_one(bundle: Path, keys: Keys) -> None:
    import builders  # noqa: PLC0415  # TensorFlow, which the other tests need not wait for

    from forecaster.bundle.store import load_configured, save_bundle  # noqa: PLC0415

    made = builders.network()
    save_bundle(bundle, builders.manifest(made), made)
    assert not (bundle / SIGNATURE).exists()
    with pytest.raises(BundleError, match=r"manifest\.sig: cannot be read, and model\.public_key asks for it"):
        load_configured(serving(bundle, keys.public))
    sign_bundle(bundle, keys.private)
    assert load_configured(serving(bundle, keys.public))[0].name == builders.manifest(made).name
