"""The model card: what the model is, what it was made from and how to make it again, and when not to trust it."""

import platform
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version

from forecaster import __version__
from forecaster.bundle.manifest import Manifest
from forecaster.config import format_duration
from training.html import words
from training.html.markup import Markup, element, join, paragraph, table
from training.scores import number

Facts = Iterable[tuple[str, object]]

TRAIN = "forecaster train --config forecaster.toml --input YOUR_DATA --out model"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the page comes from: the command that wrote it, when, and the fingerprint of the data it was given."""

    command: str
    made: datetime
    data_sha256: str


def card(manifest: Manifest, origin: Origin) -> Markup:
    """All of it."""
    skipped = manifest.training.get("skipped", {})
    left_out = [[str(name), str(why)] for name, why in skipped.items()]
    return join(
        element("h3", "The model"),
        _facts(_model(manifest)),
        element("h3", "Its training"),
        _facts(_training(manifest, origin)),
        element("h3", "Series left out"),
        table(["series", "reason"], left_out) if left_out else paragraph("None."),
        element("h3", "Versions"),
        _versions(manifest.training.get("versions", {})),
        element("h3", "To make it again"),
        paragraph("forecaster.toml (the parts that make the model):"),
        element("pre", words.settings_toml(manifest), tabindex="0"),
        paragraph("Training, and this report:"),
        element("pre", f"{TRAIN}\n{origin.command}", tabindex="0"),
        element("h3", "How to read it, and when not to trust it"),
        element("ul", *(element("li", text) for text in words.HOW_TO_READ.split("\n\n"))),
        paragraph(words.LICENCE),
    )


def _model(manifest: Manifest) -> Facts:
    network, step_ms = manifest.network, manifest.step_ms
    seasons = ", ".join(manifest.features.season_names(step_ms))
    shape = network.model_dump(mode="json", exclude={"inputs", "horizon", "quantiles"})
    return [
        ("name and version", f"{manifest.name}@{manifest.version}"),
        *((f"network: {name}", value) for name, value in shape.items()),
        ("step", "each event" if step_ms is None else format_duration(step_ms)),
        ("bar", manifest.bar or "none"),
        ("horizon", words.span(network.horizon, step_ms)),
        ("quantiles", ", ".join(f"{level:g}" for level in network.quantiles)),
        ("context", words.span(manifest.context_length, step_ms)),
        ("seasons", seasons or "none"),
        ("sha256 of the weights", manifest.weights_sha256),
        ("sha256 of the manifest", manifest.manifest_sha256),
    ]


def _training(manifest: Manifest, origin: Origin) -> Facts:
    training = manifest.training
    is_same = training.get("data_sha256") == origin.data_sha256
    same = "the data of this report" if is_same else "other data than this report"

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


def _versions(trained: dict[str, str]) -> Markup:
    here = {"forecaster": __version__} | {name: version(name) for name in ("keras", "numpy", "plotly")}
    here["python"] = platform.python_version()
    names = dict.fromkeys([*here, *trained])
    rows = [[name, str(trained.get(name, "not kept")), here.get(name, "not looked up")] for name in names]
    return table(["", "trained with", "this report"], rows)
