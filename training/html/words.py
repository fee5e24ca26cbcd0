"""What the figures say, in sentences."""

import json
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any

from forecaster.bundle.manifest import Manifest
from forecaster.config import format_duration

FEW_BLOCKS = 10  # horizons of origins below which a bootstrap interval says little
OFF = 0.25  # of the share an interval may miss: beyond it, it is called too narrow or too wide

HOW_TO_READ = """\
A quantile of level 0.9 is a value that the actual should stay below nine times in ten; the interval from 0.1 to 0.9
should hold eight in ten. The published point is the 0.5 quantile: as often too high as too low, and not the mean.

Intervals are right on average over many forecasts that look like those scored here. They promise nothing about one
forecast, and nothing about several steps at once: a whole path inside the interval is rarer than each of its steps.

The model knows the past of the series alone. Do not trust it after a change that its history does not hold (a new
regime, a moved sensor, a holiday it has not seen), while a series is “warming”, or behind a long gap; and score it
again on newer data before relying on these figures.

Skill compares with naive forecasts of the same origins. Where its interval holds zero, the baseline is as good a
choice, and simpler. These figures are no advice to trade on."""
LICENCE = (
    "The forecaster is licensed under Apache-2.0, without warranty. The model is made from the data named above, whose "
    "own licence may limit what the model and this report can be used for."
)


def moment(time_ms: int) -> str:
    """A time in UTC to the minute."""
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):  # an event time that no calendar has
        return f"{time_ms} ms"


def span(steps: int, step_ms: int | None) -> str:
    """A number of steps, and how long they take."""
    plain = f"{steps:,} step{'' if steps == 1 else 's'}"
    return plain if step_ms is None else f"{plain} of {format_duration(step_ms)}"


def percent(share: float, *, signed: bool = False) -> str:
    """`share` in percent to one place."""
    return f"{100 * share:{'+' if signed else ''}.1f}\N{NO-BREAK SPACE}%".replace("-", "\N{MINUS SIGN}")


def interval(found: dict[str, Any]) -> str:
    """The bootstrap interval of a skill."""
    if found["low"] is None:
        return "no interval: nothing to draw anew"
    return f"{percent(found['low'], signed=True)} to {percent(found['high'], signed=True)}"


def widest(scores: dict[str, Any]) -> tuple[float, float] | None:
    """Nominal and observed share of the widest interval that the trained quantiles offer."""
    offered = scores["intervals"]["scored"]
    return (offered[-1], scores["overall"]["model"][f"coverage_{100 * offered[-1]:g}"]) if offered else None


def headline(scores: dict[str, Any], manifest: Manifest) -> str:
    """Model, data, horizon, skill and coverage in one sentence."""
    count, whole = len(scores["by_series"]), span(scores["horizon"], manifest.step_ms)
    what = f"the {scores['aggregate']} over {whole}" if scores["aggregate"] else f"{whole} ahead"
    text = f"{scores['model']} forecasts {what} on {count:,} series from {scores['origins']:,} origins"
    if found := scores["skill"]["mase"]:
        kind = "less" if found["skill"] >= 0 else "more"
        text += f" with {percent(abs(found['skill']))} {kind} error (MASE) than the best baseline, {found['rival']}"
        text += f" (95 % interval of the skill {interval(found)})"
    if cover := widest(scores):
        text += f"; its {100 * cover[0]:g} % intervals hold {percent(cover[1])} of what came"
    return f"{text}."


def verdict(scores: dict[str, Any], moments: int) -> tuple[str, list[str]]:
    """A word of `good`, `unclear`, `bad`, and sentences; `moments` are the distinct times of the origins."""
    found = scores["skill"]["mase"]
    if found is None or found["low"] is None:
        return "unclear", ["There is no skill to tell: no baseline erred, or too little was scored."]
    rival = found["rival"]
    if found["low"] > 0:
        mark, text = (
            "good",
            f"Better than every baseline in MASE: the whole interval of the skill against {rival} is above zero.",
        )
    elif found["high"] < 0:
        mark, text = (
            "bad",
            f"Worse than {rival} in MASE: use that baseline, or train anew (longer, with other seasons).",
        )
    else:
        mark, text = "unclear", f"Not to be told from {rival} in MASE: the interval of the skill holds zero."
    return mark, [text, *_series(scores), *_spread(scores), *_caution(scores, moments)]


def _series(scores: dict[str, Any]) -> list[str]:
    """On how many series it beats the best baseline of each: the mean over all can hide the worst."""
    found = [one["skill"]["mase"] for one in scores["by_series"].values()]
    known = [skill for skill in found if skill is not None and skill["low"] is not None]
    if len(known) < 2:
        return []
    better, worse = sum(skill["low"] > 0 for skill in known), sum(skill["high"] < 0 for skill in known)
    unclear = len(known) - better - worse
    text = f"Series by series, against the best baseline of each: better on {better:,} of {len(known):,}, "
    return [text + f"worse on {worse:,}, not to be told on {unclear:,}."]


def _spread(scores: dict[str, Any]) -> list[str]:
    cover = widest(scores)
    if cover is None:
        return []
    nominal, observed = cover
    if abs(observed - nominal) <= OFF * (1 - nominal):
        return [f"Its {100 * nominal:g} % intervals can be taken at their word."]
    kind = "narrow: it is surer than it should be" if observed < nominal else "wide: it could be surer"
    return [f"Its {100 * nominal:g} % intervals hold {percent(observed)}, too {kind}."]


def _caution(scores: dict[str, Any], moments: int) -> list[str]:
    lines = []
    if moments < FEW_BLOCKS * scores["horizon"]:
        lines.append(f"Take the skill's interval lightly: it rests on fewer than {FEW_BLOCKS} horizons of origins.")
    if scores["crossings"] or scores["not_finite"]:
        lines.append(
            f"{scores['crossings']} crossing quantiles and {scores['not_finite']} forecasts not finite: a fault."
        )
    return lines


def settings_toml(manifest: Manifest) -> str:
    """The configuration that trains such a model."""
    network, step_ms, clock = manifest.network, manifest.step_ms, manifest.features.clock
    sections: dict[str, dict[str, Any]] = {
        "stream": {"step": "tick" if step_ms is None else format_duration(step_ms), "bar": manifest.bar}
        | ({} if clock is None else {"time_zone": clock.time_zone}),
        "stream.sessions": {} if clock is None else clock.sessions.model_dump(mode="json", exclude_defaults=True),
        "model": {
            "bundle": "model",
            "horizon": network.horizon,
            "aggregate": network.aggregate,
            "quantiles": network.quantiles,
            "context_length": manifest.context_length,
            "seasons": manifest.features.season_names(step_ms),
            "transform": manifest.features.transform,
            "network": network.kind,
            "segment_length": network.segment_length,
            "cell": network.cell,
            "units": network.units,
            "dropout": network.dropout,
        },
        "training": manifest.training.get("settings", {}),
    }
    lines: list[str] = []
    for section, settings in filter(itemgetter(1), sections.items()):
        lines += ["", f"[{section}]"]
        lines += [f"{name} = {json.dumps(value)}" for name, value in settings.items() if value is not None]
    return "\n".join(lines[1:])
