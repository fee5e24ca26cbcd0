"""A small bundle for each kind of stream: its weights are drawn, as what is tested is the way of the ticks."""

from typing import Any

from builders import randomise

from chaos.streams import CHANNELS, CODES, HORIZON, KNOWN, LABELS, PAST, STREAMS
from forecaster.bundle.manifest import Manifest
from forecaster.calendar.clock import Clock
from forecaster.config import StreamSettings
from forecaster.features.covariates import CovariateSettings
from forecaster.features.settings import FeatureSettings
from forecaster.networks.kinds import AnyNetwork, make_network
from forecaster.networks.spec import NetworkSettings

CONTEXT, CYCLE = 16, 300
MEMORY = 0.3  # of drawn weights: with larger ones a network forgets its first inputs too slowly
COVARIATES = CovariateSettings(past=PAST, known=KNOWN, horizon=HORIZON, mean=(0.0, 20.0), deviation=(1.0, 5.0))
BINS = (-4.0, -1.5, -0.5, 0.0, 0.5, 1.5, 4.0)


def drawn(stream: str, seed: int) -> tuple[Manifest, AnyNetwork]:
    """Manifest and network for a stream of that name."""
    features = _features(stream)
    made = make_network(_shape(stream, features), seed)
    if stream != "values":
        randomise(made, seed, MEMORY)
    manifest = Manifest(
        name="drawn", version="", kind=made.settings.message_kind, step_ms=1_000, bar=None, context_length=CONTEXT,
        features=features, network=made.settings, training={},
    )  # fmt: skip
    return manifest, made


def _features(stream: str) -> FeatureSettings:
    if stream in {"symbols", "classes"}:
        return FeatureSettings(level_spans=(1.0,), scale_span=1.0)
    clock = Clock.of(StreamSettings(step="1s", **STREAMS[stream].settings.get("stream", {})), (CYCLE,))
    features = FeatureSettings.derive((CYCLE,) if clock else (), CONTEXT)
    covariates = COVARIATES if stream == "covariates" else CovariateSettings()
    return features.model_copy(update={"clock": clock, "covariates": covariates})


def _shape(stream: str, features: FeatureSettings) -> NetworkSettings:
    carried = {"inputs": len(features.input_names), "recents": features.recents, "known": features.covariates.ahead}
    shapes: dict[str, dict[str, Any]] = {
        "channels": {**carried, "channels": CHANNELS, "inputs": carried["inputs"] + 1},
        "paths": {**carried, "task": "paths", "bins": BINS},
        "symbols": {"inputs": 1, "task": "symbols", "vocabulary": CODES},
        "classes": {"inputs": 1, "task": "classify", "vocabulary": CODES, "labels": LABELS, "horizon": 1},
        "segments": {"inputs": CONTEXT, "kind": "segment", "segment_length": 2},
        "encoder-decoder": {
            "inputs": CONTEXT, "kind": "encoder-decoder", "short_windows": "masked", "recents": features.recents,
            "calendar": features.calendar, "features": len(features.input_names),
        },
    }  # fmt: skip
    quantiles = (0.5,) if stream in {"symbols", "classes"} else (0.1, 0.5, 0.9)
    return NetworkSettings(
        **{"units": (8,), "horizon": HORIZON, "quantiles": quantiles, "dropout": 0.0, **shapes.get(stream, carried)}
    )
