"""A model bundle: `manifest.json` and `weights.safetensors` in one folder. No code, no pickle.

The manifest carries the weights' sha256 and its own; it is written last, so a folder that loads is whole.
"""

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from forecaster.config import Settings, format_duration
from forecaster.errors import BundleError, ConfigError
from forecaster.features import FeatureSettings
from forecaster.network import Network, NetworkSettings

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
MOST_BYTES = 1 << 30


class Manifest(BaseModel):
    """Everything about a model but its weights; `step_ms` is null for `step = "tick"`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    name: str
    version: str
    kind: Literal["forecast"] = "forecast"
    step_ms: int | None
    bar: str | None
    context_length: int
    features: FeatureSettings
    network: NetworkSettings
    training: dict[str, Any]
    weights_sha256: str = ""
    manifest_sha256: str = ""

    def digest(self) -> str:
        """sha256 of all of the manifest but this digest itself."""
        content = self.model_dump(mode="json", exclude={"manifest_sha256"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def check_stream(self, settings: Settings) -> None:
        """Raise `ConfigError` where the configuration asks for another stream or horizon than trained."""

        def duration(step_ms: int | None) -> str:
            return "tick" if step_ms is None else format_duration(step_ms)

        wanted: dict[str, tuple[object, object]] = {
            "stream.step": (duration(settings.stream.step), duration(self.step_ms)),
            "stream.bar": (settings.stream.bar, self.bar),
        }
        stated = settings.model.model_fields_set
        wanted |= {
            f"model.{name}": (getattr(settings.model, name), made)
            for name, made in (
                ("horizon", self.network.horizon),
                ("quantiles", self.network.quantiles),
                ("context_length", self.context_length),
            )
            if name in stated
        }
        for setting, (asked, made) in wanted.items():
            if asked != made:
                raise ConfigError(
                    f"{setting}: the configuration says {asked!r}, the bundle {settings.model.bundle} "
                    f"was trained for {made!r}"
                )


def save_bundle(folder: Path, manifest: Manifest, network: Network) -> Manifest:
    """Write the bundle whole or not at all, replacing one that is there; returns the sealed manifest."""
    weights = save({name: np.asarray(value) for name, value in named_weights(network).items()})
    digest = hashlib.sha256(weights).hexdigest()
    sealed = manifest.model_copy(update={"weights_sha256": digest, "version": manifest.version or digest[:12]})
    sealed = sealed.model_copy(update={"manifest_sha256": sealed.digest()})
    try:
        _replace_folder(folder, {WEIGHTS: weights, MANIFEST: (sealed.model_dump_json(indent=2) + "\n").encode()})
    except OSError as error:
        raise BundleError(f"{folder}: the bundle cannot be written: {error.strerror}") from error
    return sealed


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
        if folder.exists():
            old = fresh.with_name(fresh.name + "-old")
            folder.rename(old)
            fresh.rename(folder)
            shutil.rmtree(old)
        else:
            fresh.rename(folder)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_bundle(folder: Path) -> tuple[Manifest, Network]:
    """The manifest and the network of the bundle in `folder`.

    Raises `BundleError` with one line that names the file and the fault.
    """
    manifest = _load_manifest(folder / MANIFEST)
    path = folder / WEIGHTS
    content = _read(path)
    if hashlib.sha256(content).hexdigest() != manifest.weights_sha256:
        raise BundleError(f"{path}: truncated or altered: its sha256 is not the one in {MANIFEST}")
    try:
        arrays = load(content)
    except (SafetensorError, ValueError) as error:
        raise BundleError(f"{path}: not a safetensors file: {error}") from error
    network = Network(manifest.network)
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


def _load_manifest(path: Path) -> Manifest:
    try:
        manifest = Manifest.model_validate_json(_read(path))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "content"
        raise BundleError(f"{path}: {place}: {fault['msg']}") from None
    if manifest.digest() != manifest.manifest_sha256:
        raise BundleError(f"{path}: altered: its content does not match its manifest_sha256")
    if manifest.network.inputs != len(manifest.features.input_names):
        raise BundleError(f"{path}: network.inputs is not the number of inputs that its features give")
    return manifest


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BundleError(f"{path}: larger than {MOST_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error


def named_weights(network: Network) -> dict[str, Any]:
    """Every weight variable by a stable name, such as `gru_0/kernel`."""
    layers = [*network.recurrent, network.output_layer, network.skip]
    return {f"{layer.name}/{weight.name}": weight for layer in layers for weight in layer.trainable_variables}
