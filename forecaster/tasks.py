"""What a model's task decides of the line: how the values of ticks are read, and what its messages are."""

from functools import partial

from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.formats.channel_json import ChannelsEncoder
from forecaster.formats.code_json import ClassEncoder, SymbolsEncoder
from forecaster.formats.forecast_json import Encoder, Envelope, ForecastEncoder
from forecaster.formats.path_json import PathsEncoder
from forecaster.grid import Grid
from forecaster.vocabulary import Vocabulary


def make_vocabulary(manifest: Manifest) -> Vocabulary | None:
    """The codes that the values of ticks are; None where they are numbers."""
    return Vocabulary(manifest.network.vocabulary) if manifest.network.coded else None


def make_encoder(manifest: Manifest, settings: Settings) -> Encoder:
    """The one for messages of the manifest's kind."""
    network, topics, grid = manifest.network, settings.topics, Grid.of(settings.stream)
    has_times = grid.sessions is not None and grid.step_ms is not None and network.task != "classify"
    ahead_ms = partial(grid.ahead_ms, horizon=network.horizon) if has_times else None
    envelope = Envelope(f"{manifest.name}@{manifest.version}", manifest.step_ms, topics.input, topics.output, ahead_ms)
    if network.channels:
        return ChannelsEncoder(envelope, network.channels, network.horizon, network.quantiles, network.aggregate)
    match network.task:
        case "symbols":
            return SymbolsEncoder(envelope, network.horizon, network.vocabulary)
        case "classify":
            return ClassEncoder(envelope, network.labels)
        case "paths":
            return PathsEncoder(envelope, network.horizon, network.quantiles)
        case _:
            return ForecastEncoder(envelope, network.horizon, network.quantiles, network.aggregate)
