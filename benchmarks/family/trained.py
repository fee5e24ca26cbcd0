"""A model trained and scored as the commands do it, on one recording with the settings of its protocol."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.networks.kinds import AnyNetwork
from forecaster.recording import Recording
from training.backtest import Part, backtest, unwatched
from training.fit import train
from training.origins import Choice
from training.prepare import Source


@dataclass(frozen=True, slots=True)
class Protocol:
    """How a recording is split and scored: settings of `[stream]`, `[training]` and `[input]`, origins to score."""

    recording: Recording
    stream: dict[str, Any]
    training: dict[str, Any]
    choice: Choice = field(default_factory=Choice)
    input: dict[str, Any] = field(default_factory=dict)

    def train(self, seed: int, **model: Any) -> "Trained":
        """A model of the settings `model`, the best epoch by the validation part."""
        training = self.training | {"seed": seed}
        settings = Settings(input=self.input, stream=self.stream, model=model, training=training)
        begun = time.monotonic()
        manifest, network = train(Source([self.recording]), settings)
        return Trained(self, settings, manifest, network, time.monotonic() - begun)


@dataclass(frozen=True, slots=True)
class Trained:
    """A network and the `seconds` that its training took."""

    protocol: Protocol
    settings: Settings
    manifest: Manifest
    network: AnyNetwork
    seconds: float

    def scores(self, watch: Callable[[Part], None] = unwatched) -> dict[str, dict[str, float]]:
        """Every figure over the test part by forecaster: "model" and its rivals. `watch` sees the forecasts."""
        of = self.protocol
        results = backtest(of.recording, self.settings, self.manifest, self.network, of.choice, watch)
        return {name: tally.overall() for name, tally in results.tallies.items()}
