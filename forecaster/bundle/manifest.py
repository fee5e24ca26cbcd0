"""The files of a model bundle, read and checked without TensorFlow, and the manifest's content."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, PositiveInt, ValidationError, model_validator

from forecaster.bundle.files import read_plain_file
from forecaster.bundle.signing import check_signature, sign
from forecaster.calendar.clock import Clock
from forecaster.config import (
    SessionSettings,
    Settings,
    StreamSettings,
    format_duration,
)
from forecaster.errors import BundleError, ConfigError
from forecaster.features.settings import LAST, FeatureSettings
from forecaster.networks.spec import MessageKind, NetworkSettings

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
MOST_BYTES = 1 << 30


class Manifest(BaseModel):
    """Everything about a model but its weights; `step_ms` is null for `step = "tick"`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: Literal[1] = 1
    name: str
    version: str
    kind: MessageKind = "forecast"
    step_ms: PositiveInt | None
    bar: str | None
    context_length: PositiveInt
    features: FeatureSettings
    network: NetworkSettings
    training: dict[str, Any]
    weights_sha256: str = ""
    manifest_sha256: str = ""

    @model_validator(mode="after")
    def _seasons_need_a_grid(self) -> "Manifest":
        if self.step_ms is None and self.features.seasons:
            raise ValueError("features.seasons needs a step with a duration")
        if self.features.clock is not None and self.features.clock.step_ms != self.step_ms:
            raise ValueError("features.clock has another step")
        return self

    @model_validator(mode="after")
    def _kind_of_its_task(self) -> "Manifest":
        if self.kind != self.network.message_kind:
            raise ValueError(f'kind: the network makes messages of kind "{self.network.message_kind}"')
        return self

    @model_validator(mode="after")
    def _covariates_fit(self) -> "Manifest":
        given, network = self.features.covariates, self.network
        if given.names and (network.kind != "carried" or network.task != "forecast" or network.channels):
            raise ValueError("features.covariates belong to a carried network that forecasts, without channels")
        if network.known != given.ahead or given.horizon not in {0, network.horizon}:
            raise ValueError("network.known and horizon are not those of features.covariates")
        return self

    @model_validator(mode="after")
    def _inputs_fit(self) -> "Manifest":
        if self.network.coded:
            if (self.network.inputs, self.network.recents) != (1, 0) or LAST not in self.features.level_spans:
                raise ValueError("network.inputs is not the one code, the last of which features.level_spans keep")
        elif self.network.kind != "carried":
            if self.network.inputs != self.context_length:
                raise ValueError("network.inputs is not the context_length")
            if self.network.kind == "segment" and LAST not in self.features.level_spans:
                raise ValueError("features.level_spans has no 1, the last value that a window is counted from")
            if self.network.kind == "encoder-decoder" and _known(self.network) != _given(self.features):
                raise ValueError("network.calendar, features and recents are not the numbers that its features give")
        elif (self.network.inputs - bool(self.network.channels), self.network.recents) != (
            len(self.features.input_names),
            self.features.recents,
        ):
            raise ValueError("network.inputs and network.recents are not the numbers that its features give")
        if self.network.task == "paths" and self.network.seasons != self.features.seasons:
            raise ValueError("network.seasons are not those of its features")
        return self

    @property
    def ready_after(self) -> int:
        """Values that a series must have had until its forecasts are no longer those of a warming one."""
        return max(self.context_length, *self.features.seasons, 1)

    @property
    def trained_until_ms(self) -> int | None:
        """Event time of the newest observation that the model was trained or chosen by; None where nobody noted it."""
        end = self.training.get("validation_end_ms")
        return end if isinstance(end, int) else None

    def rebuild_span_ms(self) -> int | None:
        """Event time after which nothing older matters to any state; None where steps have no length."""
        if self.step_ms is None:
            return None
        span_ms = int(max(self.features.longest_span, self.ready_after) * self.step_ms)
        return span_ms if self.features.clock is None else self.features.clock.longest_ms(span_ms)

    def digest(self) -> str:
        """`content_digest` of the manifest as a file gives it back: NaN is null."""
        return content_digest(json.loads(self.model_dump_json()))

    def with_holidays_of(self, stream: StreamSettings) -> "Manifest":
        """The manifest with the holidays of `stream`: they are known a year or two ahead, and a model lasts longer."""
        if self.features.clock is None:
            return self
        clock = self.features.clock.model_copy(update={"sessions": stream.sessions})
        return self.model_copy(update={"features": self.features.model_copy(update={"clock": clock})})

    def check_stream(self, settings: Settings) -> None:
        """Raise `ConfigError` where the configuration asks for another stream, task or horizon than trained."""

        def duration(step_ms: int | None) -> str:
            return "tick" if step_ms is None else format_duration(step_ms)

        clock = self.features.clock or Clock(step_ms=self.step_ms)
        wanted: dict[str, tuple[object, object]] = {
            "stream.step": (duration(settings.stream.step), duration(self.step_ms)),
            "stream.bar": (settings.stream.bar, self.bar),
            "stream.time_zone": (settings.stream.time_zone, clock.time_zone),
            "stream.sessions": (_regular(settings.stream.sessions), _regular(clock.sessions)),
            "model.task": (settings.model.task, self.network.task),
            "input.channels": (list(settings.input.channels), list(self.network.channels)),
            "input.past_covariates": (settings.input.past_covariates, self.features.covariates.past),
            "input.known_covariates": (settings.input.known_covariates, self.features.covariates.known),
        }
        stated = set(settings.model.model_fields_set)
        if self.features.covariates.known:
            stated.add("horizon")  # what a recording's ticks tell of it is cut by the setting
        if self.network.kind == "carried":
            stated.discard("short_windows")  # it reads none
        wanted |= {
            f"model.{name}": (getattr(settings.model, name), made)
            for name, made in (
                ("horizon", self.network.horizon),
                ("aggregate", self.network.aggregate),
                ("quantiles", self.network.quantiles),
                ("context_length", self.context_length),
                ("transform", self.features.transform),
                ("network", self.network.kind),
                ("segment_length", self.network.segment_length),
                ("short_windows", self.network.short_windows),
                ("attention", self.network.attention),
                ("cell", self.network.cell),
            )
            if name in stated
        }
        for setting, (asked, made) in wanted.items():
            if asked != made:
                raise ConfigError(
                    f"{setting}: the configuration says {asked!r}, the bundle {settings.model.bundle} "
                    f"was trained for {made!r}"
                )


def _regular(sessions: SessionSettings) -> dict[str, Any]:
    return sessions.model_dump(mode="json", include={"hours", "days"})


def _known(network: NetworkSettings) -> tuple[int, int, int]:
    return network.calendar, network.features, network.recents


def _given(features: FeatureSettings) -> tuple[int, int, int]:
    return features.calendar, len(features.input_names), features.recents


def content_digest(content: dict[str, Any]) -> str:
    """sha256 of all of a manifest's `content` but this digest itself.

    Of what the file says rather than of the `Manifest` made of it: a manifest written before a setting was
    known says nothing of it.
    """
    rest = {name: value for name, value in content.items() if name != "manifest_sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def read_bundle(folder: Path, public_key: Path | None = None) -> tuple[Manifest, bytes]:
    """The manifest and the bytes of the weights in `folder`, each as its checksum says.

    With a `public_key` only what its owner has signed is looked at. Raises `BundleError` with one line that names
    the file and the fault.
    """
    manifest, path = _load_manifest(folder / MANIFEST, public_key), folder / WEIGHTS
    weights = _read(path)
    if hashlib.sha256(weights).hexdigest() != manifest.weights_sha256:
        raise BundleError(f"{path}: truncated or altered: its sha256 is not the one in {MANIFEST}")
    return manifest, weights


def configured_bundle(settings: Settings) -> Path:
    """The folder that `model.bundle` names; raises `ConfigError` where it is not set."""
    if settings.model.bundle is None:
        raise ConfigError("model.bundle: not set: name the folder of a trained bundle")
    return settings.model.bundle


def sign_bundle(folder: Path, private_key: Path) -> Path:
    """Sign the bundle in `folder`, which must be whole; returns the file with the signature."""
    read_bundle(folder)
    return sign(_read(folder / MANIFEST), folder, private_key)


def _load_manifest(path: Path, public_key: Path | None) -> Manifest:
    content = _read(path)
    if public_key is not None:
        check_signature(content, path.parent, public_key)
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, fault["loc"])) or "content"
        raise BundleError(f"{path}: {place}: {fault['msg']}") from None
    if content_digest(json.loads(content)) != manifest.manifest_sha256:
        raise BundleError(f"{path}: altered: its content does not match its manifest_sha256")
    return manifest


def _read(path: Path) -> bytes:
    try:
        content = read_plain_file(path, MOST_BYTES + 1)
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MOST_BYTES:
        raise BundleError(f"{path}: larger than {MOST_BYTES} bytes")
    return content
