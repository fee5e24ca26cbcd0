"""A model bundle: `manifest.json` and `weights.safetensors` in one folder. No code, no pickle.

The manifest carries the weights' sha256 and its own; it is written last, so a folder that loads is whole.
"""

import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from forecaster.bundle.folder import check_ours, put_in_place
from forecaster.bundle.manifest import MANIFEST, WEIGHTS, Manifest, configured_bundle, read_bundle
from forecaster.config import Settings
from forecaster.errors import BundleError
from forecaster.networks.from_state import StateNetwork
from forecaster.networks.kinds import AnyNetwork, make_network


def save_bundle(folder: Path, manifest: Manifest, network: AnyNetwork) -> Manifest:
    """Write the bundle whole or not at all, replacing one that is there; returns the sealed manifest."""
    weights = save({name: value.numpy() for name, value in named_weights(network).items()})
    digest = hashlib.sha256(weights).hexdigest()
    sealed = manifest.model_copy(update={"weights_sha256": digest, "version": manifest.version or digest[:12]})
    sealed = sealed.model_copy(update={"manifest_sha256": sealed.digest()})
    check_ours(folder)
    try:
        _replace_folder(folder, {WEIGHTS: weights, MANIFEST: (sealed.model_dump_json(indent=2) + "\n").encode()})
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be written: {error.strerror}") from error
    return sealed


def check_writable(folder: Path) -> None:
    """Raise `BundleError` now rather than after hours of training where `folder` cannot be written.

    A folder that holds anything but a bundle is not replaced.
    """
    check_ours(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent):
            return
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be written: {error.strerror}") from error


def _replace_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        for name, content in files.items():
            with (fresh / name).open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        fresh.chmod(0o755)
        put_in_place(fresh, folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_bundle(folder: Path, public_key: Path | None = None) -> tuple[Manifest, AnyNetwork]:
    """The manifest and the network of the bundle in `folder`, signed by the owner of `public_key` where there is one.

    Raises `BundleError` with one line that names the file and the fault.
    """
    manifest, content = read_bundle(folder, public_key)
    path = folder / WEIGHTS
    try:
        arrays = load(content)
    except (SafetensorError, ValueError, KeyError) as error:  # KeyError: a kind of number that NumPy has not
        raise BundleError(f"{path}: not a safetensors file: {error}") from error
    network = make_network(manifest.network)
    weights = named_weights(network)
    if set(arrays) != set(weights):
        raise BundleError(f"{path}: its arrays are not those of the network that {MANIFEST} describes")
    for name, variable in weights.items():
        array = arrays[name]
        if array.shape != tuple(variable.shape) or array.dtype != np.float32:
            raise BundleError(
                f"{path}: array {name} is {array.dtype}{list(array.shape)}, not float32{list(variable.shape)}"
            )
        if not np.isfinite(array).all():
            raise BundleError(f"{path}: array {name} holds a value that is not finite")
        variable.assign(array)
    return manifest, network


def load_configured(settings: Settings) -> tuple[Manifest, AnyNetwork]:
    """The bundle that `model.bundle` names, held against the rest of the configuration."""
    manifest, network = load_bundle(configured_bundle(settings), settings.model.public_key)
    manifest.check_stream(settings)
    if isinstance(network, StateNetwork):
        network.sampling = settings.model.sampling
    return manifest.with_holidays_of(settings.stream), network


def named_weights(network: AnyNetwork) -> dict[str, Any]:
    """Every weight variable by a stable name, such as `gru_0/kernel`."""
    return {f"{layer.name}/{weight.name}": weight for layer in network.parts for weight in layer.trainable_variables}
