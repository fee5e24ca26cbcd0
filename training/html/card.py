"""The model card: what the model is, what it was made from and how to make it again, and when not to trust it."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from forecaster import __version__
from forecaster.config import format_duration
from forecaster.manifest import Manifest
from training.backtest_report import number
from training.html import words
from training.html.markup import Markup, element, join, paragraph, table

Facts = Iterable[tuple[str, object]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the page comes from: the command that wrote it, when, and the fingerprint of the data it was given."""

    command: str
    made: datetime
    data_sha256: str


def card(manifest: Manifest, origin: Origin) -> Markup:
    """All of it."""
    training, skipped = manifest.training, manifest.training.get("skipped", {})
    same = (
        "the data of this report"
        if training.get("data_sha256") == origin.data_sha256
        else "other data than this report"
    )
    versions = training.get("versions", {})
    here = {name: version(name) for name in ("keras", "numpy", "plotly")} | {"python": platform.python_version()}
    here["forecaster"] = __version__
    parts = [
        element("h3", "The model"),
        _facts(_model(manifest)),
        element("h3", "Its training"),
        _facts(_training(manifest, same)),
        element("h3", "Series left out"),
        table(["series", "reason"], [[str(name), str(why)] for name, why in skipped.items()])
        if skipped
        else paragraph("None."),
        element("h3", "Versions"),
        table(
            ["", "trained with", "this report"],
            [
                [name, str(versions.get(name, "not kept")), str(here.get(name, "not used"))]
                for name in dict.fromkeys(["forecaster", *versions, *here])
            ],
        ),
        element("h3", "To make it again"),
        paragraph("forecaster.toml (the parts that make the model):"),
        element("pre", words.settings_toml(manifest), tabindex="0"),
        paragraph("Training, and this report:"),
        element("pre", _commands(origin), tabindex="0"),
        element("h3", "How to read it, and when not to trust it"),
        element("ul", *(element("li", text) for text in words.HOW_TO_READ.split("\n\n"))),
        paragraph(words.LICENCE),
    ]
    return join(*parts)


def _model(manifest: Manifest) -> Facts:
    network, step_ms = manifest.network, manifest.step_ms
    seasons = ", ".join(format_duration(n * (step_ms or 1)) for n in manifest.features.seasons)
    return [
        ("name and version", f"{manifest.name}@{manifest.version}"),
        ("kind", f"carried GRU, layers of {', '.join(map(str, network.units))} units, dropout {network.dropout:g}"),
        (
            "step",
            "each event"
            if step_ms is None
            else format_duration(step_ms) + (f", bars: {manifest.bar}" if manifest.bar else ""),
        ),
        ("horizon", words.span(network.horizon, step_ms)),
        ("quantiles", ", ".join(f"{level:g}" for level in network.quantiles)),
        ("context", words.span(manifest.context_length, step_ms)),
        ("seasons", seasons or "none"),
        ("sha256 of the weights", manifest.weights_sha256),
        ("sha256 of the manifest", manifest.manifest_sha256),
    ]


def _training(manifest: Manifest, same: str) -> Facts:
    training = manifest.training

    def ended(key: str) -> str:
        return words.moment(int(training[key])) if key in training else "not known"

    return [
        ("sha256 of the data", f"{training.get('data_sha256', 'not known')} ({same})"),
        ("ticks, series", f"{training.get('ticks', 0):,}, {training.get('series', 0):,}"),
        ("training data end", ended("train_end_ms")),
        ("validation data end", ended("validation_end_ms")),
        ("best epoch", training.get("epoch", "not known")),
        ("validation loss", number(training.get("validation_loss"))),
        ("of level and profile alone", number(training.get("baseline_validation_loss"))),
    ]


def _facts(facts: Facts) -> Markup:
    pairs = (element("div", element("dt", name), element("dd", str(value))) for name, value in facts)
    return element("dl", *pairs)


def _commands(origin: Origin) -> str:
    train = "forecaster train --config forecaster.toml --input YOUR_DATA --out model"
    return f"{train}\n{origin.command}"
