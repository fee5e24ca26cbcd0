"""The network that all benchmarks serve: one GRU, 3 quantiles; its weights do not change its speed.

python -m benchmarks.models FOLDER HORIZON CONTEXT     writes its bundle
"""

import sys
from pathlib import Path

from forecaster.bundle import save_bundle
from forecaster.config import Settings
from forecaster.features import FeatureSettings
from forecaster.manifest import Manifest, NetworkSettings
from forecaster.network import Network
from forecaster.pipeline import Pipeline
from forecaster.tile import Stage, no_stage


def make_manifest(
    horizon: int = 16, context: int = 64, units: int = 64, seasons: tuple[int, ...] = (), version: str = ""
) -> Manifest:
    features = FeatureSettings.derive(seasons, context)
    network = NetworkSettings(
        inputs=len(features.input_names), recents=features.recents, units=(units,), horizon=horizon,
        quantiles=(0.1, 0.5, 0.9),
    )  # fmt: skip
    return Manifest(
        name="bench", version=version, step_ms=1_000, bar=None, context_length=context, features=features,
        network=network, training={}, weights_sha256=version,
    )  # fmt: skip


def make_pipeline(manifest: Manifest, settings: Settings | None = None, stage: Stage = no_stage) -> Pipeline:
    return Pipeline(settings or Settings(), manifest, Network(manifest.network, seed=0), stage)


def main() -> None:
    folder, horizon, context = sys.argv[1:]
    manifest = make_manifest(int(horizon), int(context))
    save_bundle(Path(folder), manifest, Network(manifest.network, seed=0))


if __name__ == "__main__":
    main()
