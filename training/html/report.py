"""`--report FILE.html`: watches a backtest, and writes the page at its end."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import load_bundle
from forecaster.config import Settings
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.networks.kinds import AnyNetwork
from forecaster.recording import Recording
from training.backtest import NothingToScoreError, Part, Results, backtest
from training.files import check_can_write, not_written
from training.html import pictures, tables
from training.html.card import Origin, card
from training.html.collect import Collector
from training.html.markup import Markup, paragraph
from training.html.page import page
from training.observed import Observed, observe
from training.origins import Choice
from training.scores import as_json

NOTHING = (
    "Nothing of this data lies behind what the model was trained and chosen on, so there is nothing to score it on."
)


class HtmlReport:
    """One page to be: `command` and `made` say where it comes from."""

    def __init__(self, out: Path, command: str, made: datetime) -> None:
        self._out, self._command, self._made = out, command, made
        check_can_write(out)
        self._collector: Collector | None = None

    def watch(self, manifest: Manifest) -> Callable[[Part], None]:
        """What a backtest of the model of `manifest` is to be watched by."""
        self._collector = Collector(manifest)
        return self._collector.watch

    def write(self, manifest: Manifest, network: AnyNetwork, results: Results, scores: dict[str, Any]) -> None:
        """The page of a backtest that was watched."""
        assert self._collector is not None  # noqa: S101
        charts = pictures.Charts()
        observed = results.observed
        looks = {}
        if isinstance(network, EncoderDecoder) and network.attention is not None:
            looks["Where the forecasts look"] = pictures.attention(self._collector, observed, manifest, network, charts)
        moments = len(np.unique(np.concatenate([part for parts in results.origin_ms for part in parts])))
        self._save(
            manifest,
            observed,
            scores["data_sha256"],
            charts,
            {
                "In one look": tables.top(scores, manifest, moments),
                "Against baselines": tables.baselines(scores),
                "By series": tables.by_series(scores, observed),
                "The data": pictures.data(observed, manifest, scores, charts),
                "Training": pictures.learning(manifest, charts),
                "Forecasts and what came": pictures.forecasts(self._collector, observed, manifest, charts),
                **looks,
                "Along the horizon": pictures.horizon(scores, charts),
                "Calibration": pictures.calibration(scores, self._collector, charts),
            },
        )

    def write_unscored(self, manifest: Manifest, observed: Observed, data_sha256: str) -> None:
        """The page of a model with nothing to score it on."""
        charts = pictures.Charts()
        sections = {
            "In one look": paragraph(NOTHING, class_="lead"),
            "The data": pictures.data(observed, manifest, None, charts),
            "Training": pictures.learning(manifest, charts),
        }
        self._save(manifest, observed, data_sha256, charts, sections)

    def _save(
        self,
        manifest: Manifest,
        observed: Observed,
        data_sha256: str,
        charts: pictures.Charts,
        sections: dict[str, Markup],
    ) -> None:
        model = f"{manifest.name}@{manifest.version}"
        ticks, names = sum(observed.ticks.values()) // observed.windows.channels.width, observed.series
        named = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        subtitle = f"{ticks:,} ticks of {len(names):,} series ({named}), written {self._made:%Y-%m-%d %H:%M} UTC"
        sections["Model card"] = card(manifest, Origin(self._command, self._made, data_sha256))
        try:
            self._out.write_text(page(f"Forecasts of {model}", subtitle, sections, charts.made), "utf-8")
        except OSError as error:
            raise not_written(self._out, error) from error


def report_on_training(recording: Recording, settings: Settings, bundle: Path, report: HtmlReport) -> None:
    """Score the fresh `bundle` on what lies behind its training and validation data, and write the page."""
    manifest, network = load_bundle(bundle)
    behind = Choice(start_ms=int(manifest.training["validation_end_ms"]))
    try:
        results = backtest(recording, settings, manifest, network, behind, report.watch(manifest))
    except NothingToScoreError:
        log, channels = manifest.features.transform == "log", manifest.network.channels
        observed = observe(recording, settings.stream, manifest.context_length, log=log, channels=channels)
        report.write_unscored(manifest, observed, recording.fingerprint())
        return
    report.write(manifest, network, results, as_json(results, manifest) | {"data_sha256": recording.fingerprint()})
