"""What the demo tells at its end."""

from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table

from forecaster.demo.view import Frame, seconds
from forecaster.formats.forecast_json import Forecasts


class Score(Protocol):
    """Accuracy of one kind of forecast; `coverage` is the share of actuals inside the outer quantiles."""

    @property
    def name(self) -> str:
        """`model`, or the rival's."""

    @property
    def mean_absolute_error(self) -> float:
        """Over all matured (origin, step) pairs."""

    @property
    def coverage(self) -> float | None:
        """None for a rival, which has no interval."""


class Scorer(Protocol):
    """Holds forecasts against what came after, beside naive forecasts of the same origins and horizon."""

    origins: int
    pairs: int

    def add(self, forecasts: Forecasts, start_ms: int = 0) -> None:
        """Score the forecasts whose origin is at `start_ms` or later."""

    def scores(self) -> Sequence[Score]:
        """The model first; empty while nothing has matured."""


def print_summary(console: Console, frame: Frame, scorer: Scorer, streamed: int) -> None:
    """Counts, latency, and the model beside the naive forecasts."""
    console.print()
    console.print(
        f"[bold]{frame.forecasts:,} forecasts[/bold] read from the output topic, {streamed:,} of them in "
        f"{frame.elapsed_s:.0f} s of streaming.\n"
        f"Tick to forecast while streaming: [bold]p50 {seconds(frame.p50_s)}, p99 {seconds(frame.p99_s)}[/bold].",
        soft_wrap=True,
    )
    scores = scorer.scores()
    if not scores:
        console.print("No forecast of the unseen week has met its actual yet: nothing to score.")
        return
    console.print(
        f"Scored on the unseen week: {scorer.origins:,} forecasts, {scorer.pairs:,} values ahead of them, "
        "the same for every row:",
        soft_wrap=True,
    )
    console.print(_table(scores, frame))
    console.print(_verdict(scores))


def _table(scores: Iterable[Score], frame: Frame) -> Table:
    table = Table()
    for name in ("forecast", f"mean absolute error, {frame.unit}", "80 % interval covers"):
        table.add_column(name, justify="left" if name == "forecast" else "right")
    for score in scores:
        coverage = "" if score.coverage is None else f"{100 * score.coverage:.1f} %"
        name = f"{score.name} ({frame.model})" if score.name == "model" else score.name
        style = "bold" if score.name == "model" else ""
        table.add_row(name, f"{score.mean_absolute_error:,.0f}", coverage, style=style)
    return table


def _verdict(scores: Sequence[Score]) -> str:
    """How the model's error compares with that of the best naive forecast."""
    model, *rivals = scores
    best = min(rivals, key=lambda score: score.mean_absolute_error)
    change = model.mean_absolute_error / best.mean_absolute_error - 1
    return f"The model's error is {abs(change):.0%} {'below' if change < 0 else 'above'} that of the {best.name}."
