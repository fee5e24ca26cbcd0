"""The kinds of networks, and the engine that serves each."""

from forecaster.engine import Engine
from forecaster.manifest import NetworkSettings
from forecaster.network import Network
from forecaster.segment_network import SegmentNetwork
from forecaster.tile import ServingEngine
from forecaster.window_engine import WindowEngine

AnyNetwork = Network | SegmentNetwork


def make_network(settings: NetworkSettings, seed: int = 0) -> AnyNetwork:
    """A network of the kind that `settings` name, its weights drawn by `seed`."""
    return SegmentNetwork(settings, seed) if settings.kind == "segment" else Network(settings, seed)


def make_engine(network: AnyNetwork) -> ServingEngine:
    """`network` as it serves, without any state."""
    return WindowEngine(network) if isinstance(network, SegmentNetwork) else Engine(network)
