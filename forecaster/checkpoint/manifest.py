"""The manifest of a checkpoint: what it is of, what it is made of, and whether this pipeline can use it."""

import hashlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forecaster.bundle.manifest import Manifest
from forecaster.checkpoint.chunks import Layout
from forecaster.config import Settings
from forecaster.config.stream import MOST_CHANNELS
from forecaster.errors import UnusableStateError
from forecaster.features.settings import FeatureSettings
from forecaster.grid import NEVER, OPEN
from forecaster.networks.spec import NetworkSettings

FORMAT_VERSION = 1
MOST_CHUNKS = 8_192  # of a checkpoint, 3 GB of state: the manifest that names each stays below a megabyte
MOST_BYTES = 1 << 21
HEAD, MIDDLE = b'{"sha256":"', b'","checkpoint":'
BODY = len(HEAD) + 64 + len(MIDDLE)

Model = TypeVar("Model", bound=BaseModel)
Number = Literal[0, 1]
Count = Annotated[int, Field(ge=0, le=int(OPEN))]


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StreamIdentity(_Content):
    """What an observation is; with another the state is that of other series."""

    topic: str
    series_field: str
    value_field: str
    channels: Annotated[tuple[str, ...], Field(max_length=MOST_CHANNELS)] = ()
    step_ms: int | None
    bar: str | None


class BundleIdentity(_Content):
    """Whose hidden state it is."""

    name: str
    version: str
    weights_sha256: str
    manifest_sha256: str


class Chunk(_Content):
    """A group of series: how many records it was cut into, and the sha256 of all of them."""

    records: Annotated[int, Field(ge=1, le=1_000_000)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Generation(_Content):
    """The chunks of a full copy or of a delta, written under the keys of generation `number`."""

    number: Number
    chunks: Annotated[tuple[Chunk, ...], Field(max_length=MOST_CHUNKS)]

    @property
    def records(self) -> int:
        """How many records it is made of."""
        return sum(chunk.records for chunk in self.chunks)


class CheckpointManifest(_Content):
    """A checkpoint of `partition` before its input record `offset`.

    `sequence` counts the checkpoints of the partition, also over restarts: where the group's offsets were set
    back, a higher one has a lower offset. `number` is the generation of the manifest's own key. `source` tells the
    input topic from one that had its name before: offsets of another mean other records.
    """

    format_version: Literal[1] = 1
    partition: Count
    number: Number
    sequence: Count
    offset: Count
    source: str
    event_time_ms: Annotated[int, Field(ge=int(NEVER), le=int(OPEN))]
    series: Count
    stream: StreamIdentity
    bundle: BundleIdentity
    context_length: Annotated[int, Field(ge=1, le=int(OPEN))]
    features: dict[str, Any]
    network: dict[str, Any]
    full: Generation
    delta: Generation | None


class _Version(BaseModel):
    format_version: Annotated[int, Field(ge=1, strict=True)]


@dataclass(frozen=True, slots=True)
class Identity:
    """What a pipeline serves: whose checkpoints it can use, and how far."""

    stream: StreamIdentity
    bundle: BundleIdentity
    context_length: int
    features: FeatureSettings
    network: NetworkSettings
    layout: Layout

    @classmethod
    def of(cls, settings: Settings, manifest: Manifest, layout: Layout) -> "Identity":
        """The identity of a pipeline of `settings` and a bundle's `manifest` whose arrays are as `layout` says."""
        stream = StreamIdentity(
            topic=settings.topics.input,
            series_field=settings.input.series_field,
            value_field=settings.input.value_field,
            channels=settings.input.channels,
            step_ms=settings.stream.step,
            bar=settings.stream.bar,
        )
        names = "name", "version", "weights_sha256", "manifest_sha256"
        bundle = BundleIdentity(**{name: getattr(manifest, name) for name in names})
        return cls(stream, bundle, manifest.context_length, manifest.features, manifest.network, layout)

    def check(self, found: CheckpointManifest) -> None:
        """Raise `UnusableStateError` where the checkpoint's state means something else here."""
        theirs, ours = found.stream.model_dump(), self.stream.model_dump()
        differ = [name for name in ours if theirs[name] != ours[name]]
        if not self._goes_on_from(_parsed(FeatureSettings, found.features), found.event_time_ms):
            now = self.features.model_dump(mode="json")
            names = [name for name in now if found.features.get(name) != now[name]]
            differ += [f"features.{name}" for name in names] or ["features"]
        if found.network.get("vocabulary", []) != list(self.network.vocabulary):  # the values are places in it
            differ.append("network.vocabulary")
        if differ:
            raise UnusableStateError("other_settings", f"made with other settings: {', '.join(differ)}")

    def _goes_on_from(self, theirs: FeatureSettings | None, own_ms: int) -> bool:
        """Whether features of `theirs` up to `own_ms` of the grid's time are ours."""
        ours = self.features
        if theirs and theirs.clock and ours.clock and ours.clock.counts_like(theirs.clock, own_ms):
            theirs = theirs.model_copy(update={"clock": ours.clock})
        return theirs == ours

    def layout_of(self, found: CheckpointManifest) -> Layout:
        """The arrays to take from the checkpoint: without the hidden state, where another network's weights made it."""
        axes = len(self.layout["rounds"][1])  # that a series has before those of its rings
        layout = self.layout | {
            name: (kind, (*shape[:axes], found.context_length, *shape[axes + 1 :]))
            for name, (kind, shape) in self.layout.items()
            if name in {"values", "covariates"}
        }
        same_network = _parsed(NetworkSettings, found.network) == self.network
        if same_network and found.bundle.weights_sha256 == self.bundle.weights_sha256:
            return layout
        return {name: kind for name, kind in layout.items() if not name.startswith("hidden.")}


def _parsed(model: type[Model], content: dict[str, Any]) -> Model | None:
    """`content` as a `model`, in which settings of later versions have their defaults; None where it is none."""
    try:
        return model.model_validate(content)
    except ValidationError:
        return None


def seal(manifest: CheckpointManifest) -> bytes:
    """The value of the manifest's record: JSON with the sha256 of its content."""
    body = manifest.model_dump_json().encode()
    return HEAD + hashlib.sha256(body).hexdigest().encode() + MIDDLE + body + b"}"


def unseal(value: bytes, partition: int, number: int) -> CheckpointManifest:
    """The inverse of `seal`; raises `UnusableStateError` where `value` is not manifest `number` of `partition`."""
    body = value[BODY:-1]
    if len(value) > MOST_BYTES or value != HEAD + hashlib.sha256(body).hexdigest().encode() + MIDDLE + body + b"}":
        raise UnusableStateError("corrupt", "the manifest is not as its sha256 says")
    try:
        if (version := _Version.model_validate_json(body).format_version) > FORMAT_VERSION:
            raise UnusableStateError("newer_format", f"the manifest is of format {version}, this is {FORMAT_VERSION}")
        manifest = CheckpointManifest.model_validate_json(body)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(map(str, fault["loc"]))[:80] or "content"
        raise UnusableStateError("corrupt", f"the manifest's {place}: {fault['msg']}") from None
    if (manifest.partition, manifest.number) != (partition, number):
        raise UnusableStateError("corrupt", "the manifest stands under the key of another")
    return manifest
