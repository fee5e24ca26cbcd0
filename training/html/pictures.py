"""The parts of the page that are drawn, each with what there is to know about its charts."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.networks.encoder_decoder import EncoderDecoder
from training.attended import attended
from training.html import figures, series, words
from training.html.collect import Collector, Shown
from training.html.markup import Markup, element, join, paragraph, table
from training.html.overview import count, outline, telling
from training.html.tables import MOST_ROWS
from training.observed import Observed
from training.scores import number

KIND_TITLES = {
    "good": "Good: better than about 95 % of the forecasts",
    "typical": "Typical: near the middle",
    "worst": "Worst",
}


@dataclass(slots=True)
class Charts:
    """The figures of the page by the id of their place in it."""

    made: dict[str, Any] = field(default_factory=dict)

    def place(self, figure: Any, caption: str, detail: str = "", kind: str = "chart") -> Markup:
        """Where `figure` will be drawn, under its caption."""
        name = f"chart-{len(self.made)}"
        self.made[name] = figure
        drawn = element("div", id=name, class_=kind, role="img", aria_label=caption)
        more = element("div", detail, class_="note") if detail else ""
        return element("figure", element("figcaption", caption, more), drawn)


def grid(*children: str) -> Markup:
    """Charts side by side where there is room."""
    return element("div", *children, class_="grid")


def data(observed: Observed, manifest: Manifest, scores: dict[str, Any] | None, charts: Charts) -> Markup:
    """Pictures of the most telling series, and what became of every series' ticks."""
    span_ms = int(observed.origin_ms.min()), int(observed.origin_ms.max())
    split = series.parts(manifest.training, span_ms)
    slots = telling(observed, scores)
    pictures = []
    for slot in slots:
        name = observed.series[slot]
        picture = series.whole_series(name, outline(observed, slot), split, span_ms)
        pictures.append(charts.place(picture, name, kind="chart low"))
    count_ = len(observed.series)
    text = f"{count_:,} series from {words.moment(span_ms[0])} to {words.moment(span_ms[1])}."
    if len(slots) < count_:
        text += f" Drawn are {len(slots)}: the worst forecast, the best, and those with the most missing values."
    text += " A line is the lowest and the highest value of each moment; orange marks at its foot are missing values."
    if split:
        text += " Dotted lines are the ends of the training and of the validation data."
    rows = [_counts(observed, slot) for slot in range(count_)]
    rows.sort(key=lambda row: -sum(row[3:]))
    head = ["series", "ticks", "observations", "missing", "steps filled", "restarts", "late", "duplicate"]
    cells = [[str(row[0]), *(f"{number_:,}" for number_ in row[1:])] for row in rows[:MOST_ROWS]]
    return join(paragraph(text), grid(*pictures), element("h3", "What became of the ticks"), table(head, cells))


def _counts(observed: Observed, slot: int) -> tuple[Any, ...]:
    one = count(observed, slot)
    kept = one.ticks, one.observations, one.missing, one.filled, one.restarts, one.late, one.duplicate
    return observed.series[slot], *kept


def learning(manifest: Manifest, charts: Charts) -> Markup:
    """The loss curves."""
    if not manifest.training.get("history"):
        return paragraph("The bundle does not hold the losses of its epochs: it was trained before they were kept.")
    text = "Pinball loss by epoch, each in its own units (training: of the scale; validation: of a mean change); "
    text += "the kept epoch is the best on the validation data."
    return charts.place(figures.loss_curves(manifest.training), text)


def forecasts(collector: Collector, observed: Observed, manifest: Manifest, charts: Charts) -> Markup:
    """Forecasts with what came after, from good to worst."""
    shown = collector.shown()
    if not shown:
        return paragraph("No forecast has a scaled error to be chosen by: every series is constant or too short.")
    text = (
        "The blue line is the forecast (its 0.5 quantile), the areas are the trained intervals, and the thin line is "
        "what was before and what came. Chosen by the mean absolute scaled error over the steps of an origin."
    )
    parts = [paragraph(text, class_="note")]
    for kind, title in KIND_TITLES.items():
        parts.append(element("h3", title))
        pictures = [(one, series.fan(one, observed, manifest)) for one in shown[kind]]
        drawn = [charts.place(fan, one.series, _detail(one), "chart low") for one, fan in pictures]
        parts.append(grid(*drawn))
    return join(*parts)


def attention(
    collector: Collector, observed: Observed, manifest: Manifest, network: EncoderDecoder, charts: Charts
) -> Markup:
    """Where a few typical forecasts look."""
    text = (
        "Each row is a step of the horizon, each column a step of the past: the darker, the more of the row's "
        "attention it has. A row sums to 100 %."
    )
    drawn = []
    for one in collector.shown().get("typical", []):
        shares = attended(network, manifest.features, observed, one.series, one.origin_ms)
        drawn.append(charts.place(figures.attention(shares), one.series, words.moment(one.origin_ms)))
    return join(paragraph(text, class_="note"), grid(*drawn))


def _detail(one: Shown) -> str:
    worse = f"{100 * (1 - one.rank):.0f} %" if one.rank < 0.995 else "less than 1 %"
    return f"{words.moment(one.origin_ms)}, scaled error {number(one.error)}: {worse} are as bad or worse"


def horizon(scores: dict[str, Any], charts: Charts) -> Markup:
    """Error and skill along the horizon, where its steps are forecast."""
    if scores["aggregate"]:
        return paragraph(
            f"One number is forecast of all {scores['horizon']} steps: there is none to tell from another."
        )
    error = charts.place(figures.error_by_step(scores), "Error by horizon step")
    skill = "Skill against the best baseline of the step, with its 95 % bootstrap interval"
    return grid(error, charts.place(figures.skill_by_step(scores), skill))


def calibration(scores: dict[str, Any], collector: Collector, charts: Charts) -> Markup:
    """Whether quantiles and intervals hold what they promise."""
    levels = scores["quantiles"]
    below = collector.below.sum(axis=0) / max(1.0, float(collector.known.sum()))
    text = (
        f"The model has {len(levels)} trained quantiles, so where an actual fell is known only up to the two it lies "
        "between: the first picture has one bar for each space between neighbours, at 1 where it holds the share of "
        "actuals that it should. A hill in the middle means intervals too wide, a valley too narrow, a slope a bias. "
        "An actual that equals a quantile counts half on each side."
    )
    pictures = [
        charts.place(
            figures.between_quantiles(levels, below), "Actuals between neighbouring quantiles (PIT histogram)"
        ),
        charts.place(figures.reliability(levels, below), "Share of actuals below each quantile"),
    ]
    if scores["intervals"]["scored"]:
        pictures.append(charts.place(figures.coverage_by_step(scores), "Coverage by horizon step"))
    else:
        pictures.append(paragraph("No central interval of 50, 80, 90 or 95 % has both of its ends trained."))
    rows = [[f"{level:g}", words.percent(share)] for level, share in zip(levels, np.asarray(below), strict=True)]
    found = table(["quantile level", "actuals below"], rows)
    pictures.append(element("figure", element("figcaption", "In numbers"), found))
    return join(paragraph(text), grid(*pictures))
