"""Which past steps a forecast looks at: the attention of an encoder–decoder at one origin of what was observed."""

import numpy as np

from forecaster.engines.compiling import to_numpy
from forecaster.engines.tile import Tile
from forecaster.features.running import Features
from forecaster.features.settings import FeatureSettings
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.past import TilePast
from forecaster.records import Float
from forecaster.rings import Rings
from training.observed import Observed


def attended(
    network: EncoderDecoder, features: FeatureSettings, observed: Observed, series: str, origin_ms: int
) -> Float:
    """The share of each past step, the origin last, in each step of the horizon: `[horizon, steps]`, rows sum to 1."""
    rows = observed.of(observed.series.index(series))
    end = rows.start + int(np.searchsorted(observed.origin_ms[rows], origin_ms)) + 1
    fresh = rows.start + np.flatnonzero(observed.block.fresh[rows.start : end])
    first = int(fresh[-1]) if len(fresh) else rows.start
    values = observed.block.value[None, first:end]
    state, nothing, slot = Features(features), Rings(1), np.zeros(1, np.int64)
    state.grow(1)
    nothing.grow(1)
    nothing.forget(slot)
    step = state.advance(slot, observed.block.index[first : first + 1], values)
    newest = np.array([end - first - 1])
    index = observed.block.index[[end - 1]]
    tile = Tile(slot, values, np.ones(values.shape, bool), step, slot, newest, nothing, index, [])
    past = TilePast(tile, slot, newest)
    seen = network.seen(past, network.lengths[-1])
    shares: Float = to_numpy(network.looks(*seen))[0, :, : int(seen[1][0])].astype(np.float64)
    return shares
