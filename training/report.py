"""What `replay` shows a person: tables."""

from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import load_configured
from forecaster.config import Settings
from forecaster.formats.forecast_json import Forecasts
from forecaster.pipeline import Pipeline
from forecaster.recording import Recording
from forecaster.replay import replay
from training.data import Sequences, sequences
from training.evaluate import Score, Scorer


def make_scorer(actuals: Sequences, manifest: Manifest) -> Scorer:
    """A scorer against last value and the seasonal naive forecast of every season of the model."""
    step_ms = manifest.step_ms
    names = map("seasonal naive {}".format, manifest.features.season_names(step_ms))
    seasons = dict(zip(names, manifest.features.seasons, strict=True))
    network = manifest.network
    regular, aggregate = step_ms is not None, network.aggregate
    return Scorer(actuals, network.horizon, network.quantiles, seasons, regular=regular, aggregate=aggregate)


def scored_from_ms(manifest: Manifest, actuals: Sequences) -> int:
    """The end of what the model was trained and chosen on, or 0 where none of the actuals lies behind it."""
    end = int(manifest.training.get("validation_end_ms", 0))
    return end if int(actuals.origin_ms.max()) > end else 0


def replay_with_scores(recording: Recording, settings: Settings, out: Path | None) -> list[Score]:
    """Replay `recording` through the configured bundle, and print outcomes and, of numbers, accuracy."""
    manifest, network = load_configured(settings)
    console = Console()
    pipeline = Pipeline(settings, manifest, network)
    if manifest.network.coded:
        _say(console, recording, replay(recording, settings, pipeline, out, lambda _: None))
        return []
    served = settings.model_copy(
        update={"model": settings.model.model_copy(update={"context_length": manifest.context_length})}
    )
    actuals = sequences([recording], served)
    start_ms = scored_from_ms(manifest, actuals)
    scorer = make_scorer(actuals, manifest)

    def score(forecasts: Forecasts) -> None:
        for one in pipeline.windows.channels.apart(forecasts):
            scorer.add(one, start_ms)

    outcomes = replay(recording, settings, pipeline, out, score)
    _say(console, recording, outcomes)
    which = "after the model's training and validation data" if start_ms else "of the whole recording"
    title = f"{scorer.origins} forecasts that a value followed, {which}"
    console.print(accuracy_table(scorer, manifest.network.quantiles, title))
    return scorer.scores()


def _say(console: Console, recording: Recording, outcomes: Counter[str]) -> None:
    console.print(f"{len(recording)} ticks: " + ", ".join(f"{n} {name}" for name, n in outcomes.items() if n))


def accuracy_table(scorer: Scorer, quantiles: tuple[float, ...], title: str) -> Table:
    """Mean absolute error beside the naive forecasts, and how good the intervals are."""
    table = Table(title=title)
    low, high = quantiles[0], quantiles[-1]
    wanted = f"{100 * (high - low):.0f} % interval covers"
    for name in ("forecast", "mean absolute error", wanted, "pinball loss"):
        table.add_column(name, justify="left" if name == "forecast" else "right")
    for score in scorer.scores():
        coverage = "" if score.coverage is None else f"{100 * score.coverage:.1f} %"
        pinball = "" if score.pinball is None else f"{score.pinball:.6g}"
        table.add_row(score.name, f"{score.mean_absolute_error:.6g}", coverage, pinball)
    return table
