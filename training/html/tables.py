"""What the page says in figures: the headline, the table against baselines, the table by series."""

from typing import Any

from forecaster.bundle.manifest import Manifest
from training.html import words
from training.html.markup import Markup, element, join, paragraph, table
from training.html.overview import by_error
from training.observed import Observed
from training.scores import TITLES, number

MOST_ROWS = 200  # of the table by series


def top(scores: dict[str, Any], manifest: Manifest, moments: int) -> Markup:
    """The headline, its tiles and the verdict."""
    mark, sentences = words.verdict(scores, moments)
    tiles = []
    for metric in ("mase", "crps"):
        if found := scores["skill"][metric]:
            text = f"against {found['rival']}, 95 % interval {words.interval(found)}"
            tiles.append(_tile(f"skill in {TITLES[metric]}", words.percent(found["skill"], signed=True), text))
    if cover := words.widest(scores):
        text = "of the actuals lie in the interval"
        tiles.append(_tile(f"coverage of {100 * cover[0]:g} %", words.percent(cover[1]), text))
    model = scores["overall"]["model"]
    if "mase" in model:
        text = "1 is the error of the seasonal naive step before the test"
        tiles.append(_tile(TITLES["mase"], number(model["mase"]), text))
    else:
        tiles.append(_tile(TITLES["mae"], number(model["mae"]), "in the units of the data"))
    tiles.append(_tile("scored", f"{scores['origins']:,}", f"forecasts, {scores['pairs']:,} values ahead of them"))
    return join(
        paragraph(words.headline(scores, manifest), class_="lead"),
        element("div", *tiles, class_="tiles"),
        element("div", *map(paragraph, sentences), class_=f"verdict {mark}"),
    )


def _tile(name: str, value: str, text: str) -> Markup:
    parts = [element("span", part, class_=kind) for part, kind in ((name, "name"), (value, "value"), (text, "text"))]
    return element("div", *parts, class_="tile")


def baselines(scores: dict[str, Any]) -> Markup:
    """Every metric of the model and its baselines, and how good the intervals are."""
    overall = scores["overall"]
    metrics = [name for name in TITLES if name in overall["model"]]
    rows = [[name, *(number(found.get(metric)) for metric in metrics)] for name, found in overall.items()]
    parts = [table(["forecast", *(TITLES[metric] for metric in metrics)], rows)]
    parts.append(element("h3", "Central intervals"))
    if shares := [f"{100 * share:g}" for share in scores["intervals"]["scored"]]:
        head = ["forecast", *(title for share in shares for title in (f"in {share} %", f"Winkler {share} %"))]
        parts.append(table(head, [[name, *_interval_cells(found, shares)] for name, found in overall.items()]))
    if missing := scores["intervals"]["not_trained"]:
        text = ", ".join(f"{100 * share:g} %" for share in missing)
        parts.append(paragraph(f"Not available from the trained quantiles {scores['quantiles']}: intervals of {text}."))
    faults = f"{scores['crossings']} crossing quantiles, {scores['not_finite']} forecasts that were not finite."
    return join(*parts, paragraph(faults, class_="note"))


def _interval_cells(found: dict[str, Any], shares: list[str]) -> list[str]:
    pairs = ((words.percent(found[f"coverage_{share}"]), number(found[f"winkler_{share}"])) for share in shares)
    return [cell for pair in pairs for cell in pair]


def by_series(scores: dict[str, Any], observed: Observed) -> Markup:
    """Errors and skills of each series, the worst first."""
    ranked = by_error(scores)
    others = [slot for slot in range(len(observed.series)) if slot not in set(ranked)]
    head = [
        "series",
        "origins",
        *(title for metric in ("mase", "crps") for title in (TITLES[metric], "skill %", "against")),
    ]
    rows = []
    for slot in (ranked + others)[:MOST_ROWS]:
        name = observed.series[slot]
        one = scores["by_series"][name]
        cells = []
        for metric in ("mase", "crps"):
            cells += [number(one["scores"]["model"].get(metric)), *_skill(one["skill"][metric])]
        rows.append([name, f"{one['origins']:,}", *cells])
    more = len(observed.series) - len(rows)
    text = "The highest MASE first; each skill with its 95 % interval, against the best baseline of the series." + (
        f" {more:,} more series are in the JSON that --out writes." if more else ""
    )
    return join(paragraph(text, class_="note"), table(head, rows))


def _skill(found: dict[str, Any] | None) -> list[str]:
    """The skill with its interval, and the best baseline."""
    if found is None:
        return ["", ""]
    numbers = [f"{100 * found[name]:+.1f}" for name in ("skill", "low", "high") if found[name] is not None]
    ends = f" [{', '.join(numbers[1:])}]" if numbers[1:] else ""
    return [(numbers[0] + ends).replace("-", "\N{MINUS SIGN}"), found["rival"]]
