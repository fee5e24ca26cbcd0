"""The kinds of networks, and the engine that serves each."""

from forecaster.config import NetworkKind, Settings
from forecaster.engines.carried import Engine
from forecaster.engines.compiling import on_accelerator
from forecaster.engines.from_state import StateEngine
from forecaster.engines.paths import PathEngine
from forecaster.engines.tile import ServingEngine
from forecaster.engines.windowed import WindowEngine
from forecaster.networks.codes import CodeNetwork
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.networks.many_to_many import Network
from forecaster.networks.multivariate import ChannelNetwork
from forecaster.networks.paths import PathNetwork
from forecaster.networks.segments import SegmentNetwork
from forecaster.networks.spec import NetworkSettings
from forecaster.windows import BATCH_ROOM

Windowed = SegmentNetwork | EncoderDecoder
AnyNetwork = Network | Windowed  # a `CodeNetwork` or a `ChannelNetwork` is a `Network` with other ends
KINDS: dict[NetworkKind, type[AnyNetwork]] = {
    "carried": Network,
    "segment": SegmentNetwork,
    "encoder-decoder": EncoderDecoder,
}


def make_network(settings: NetworkSettings, seed: int = 0) -> AnyNetwork:
    """A network of the kind that `settings` name, its weights drawn by `seed`."""
    if settings.task == "paths":
        return PathNetwork(settings, seed)
    if settings.coded:
        return CodeNetwork(settings, seed)
    if settings.channels:
        return ChannelNetwork(settings, seed)
    return KINDS[settings.kind](settings, seed)


def make_engine(network: AnyNetwork, settings: Settings | None = None) -> ServingEngine:
    """`network` as it serves, without any state; on an accelerator there is room for the series of `settings`.

    Without them it is served at the precision that it has, its state in this process. Raises `ConfigError` where
    they ask for a precision that the network cannot be served at.
    """
    if settings is not None:
        network.settings.check_served(settings)
    if isinstance(network, CodeNetwork | PathNetwork):
        return _state_engine(network, settings)
    if settings is None:
        return WindowEngine(network) if isinstance(network, Windowed) else Engine(network)
    if isinstance(network, Windowed):
        return WindowEngine(network)
    network.precision = settings.model.precision
    rows = (settings.state.max_series + BATCH_ROOM) * max(1, len(network.settings.channels))
    return Engine(network, rows if on_accelerator() else None)


def _state_engine(network: CodeNetwork | PathNetwork, settings: Settings | None) -> ServingEngine:
    """`network` drawing paths as `settings` ask for."""
    engine = PathEngine if isinstance(network, PathNetwork) else StateEngine
    if settings is None:
        return engine(network)
    network.sampling = settings.model.sampling
    return engine(network, settings.state.max_series + BATCH_ROOM if on_accelerator() else None)
