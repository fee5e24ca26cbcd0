"""What `backtest` shows a person, and the same as JSON."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from forecaster.bundle.store import load_configured
from forecaster.config import Settings
from forecaster.networks.codes import CodeNetwork
from forecaster.recording import Recording
from training.backtest import backtest, unwatched
from training.code_backtest import code_scores, code_table
from training.files import check_can_write, not_written
from training.names import short
from training.origins import Choice
from training.scores import TITLES, as_json, number

if TYPE_CHECKING:
    from training.html.report import HtmlReport  # needs the extra `report`


def backtest_with_tables(
    recording: Recording, settings: Settings, choice: Choice, out: Path | None, html: "HtmlReport | None" = None
) -> dict[str, Any]:
    """Score the configured bundle on `recording`, print the tables, and write all of it to `out` as JSON."""
    if out is not None:
        check_can_write(out)
    manifest, network = load_configured(settings)
    if isinstance(network, CodeNetwork):
        told = code_scores(recording, settings, manifest, network, choice)
        if out is not None:
            _write(out, told)
        Console().print(code_table(told))
        return told
    watch = html.watch(manifest) if html else unwatched
    results = backtest(recording, settings, manifest, network, choice, watch)
    report = as_json(results, manifest) | {"data_sha256": recording.fingerprint()}
    if out is not None:
        _write(out, report)
    if html is not None:
        html.write(manifest, network, results, report)
    console = Console()  # figures are never cut: a narrow terminal wraps the lines
    tables = _overall(report), _intervals(report), _by_series(report), _by_step(report)
    needed = max(Console(width=1_000).measure(table).maximum for table in tables)
    console = Console(width=max(console.width, needed))
    for table in tables:
        if len(table.columns) > 1:
            console.print(table)
    for line in _remarks(report):
        console.print(line)
    return report


def _write(out: Path, report: dict[str, Any]) -> None:
    try:
        out.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n", "utf-8")
    except OSError as error:
        raise not_written(out, error) from error


def _overall(report: dict[str, Any]) -> Table:
    metrics = [name for name in TITLES if name in report["overall"]["model"]]
    table = Table(title=f"{report['model']}: {report['origins']} forecasts, {report['pairs']} (origin, step) pairs")
    _columns(table, ["forecast", *(TITLES[name] for name in metrics)])
    for name, scores in report["overall"].items():
        table.add_row(name, *(number(scores.get(metric)) for metric in metrics), style=_style(name))
    return table


def _intervals(report: dict[str, Any]) -> Table:
    shares = [f"{100 * share:g}" for share in report["intervals"]["scored"]]
    table = Table(title="central intervals: share of actuals inside, and Winkler score")
    _columns(table, ["forecast", *(title for share in shares for title in (f"in {share} %", f"Winkler {share} %"))])
    for name, scores in report["overall"].items():
        cells = ((f"{100 * scores[f'coverage_{s}']:.1f} %", number(scores[f"winkler_{s}"])) for s in shares)
        table.add_row(name, *(cell for pair in cells for cell in pair), style=_style(name))
    return table


def _columns(table: Table, titles: list[str]) -> None:
    for title in titles:
        words = title in {"forecast", "series", "best baseline"}
        table.add_column(title, justify="left" if words else "right", no_wrap=True)


def _style(name: str) -> str | None:
    return "bold" if name == "model" else None


def _by_series(report: dict[str, Any], most: int = 20) -> Table:
    """Each series, the worst first where there are more than `most`."""
    rows = list(report["by_series"].items())
    title = "by series; skill against the best baseline, with its 95 % interval"
    if len(rows) > most:
        rows = sorted(rows, key=lambda row: -(row[1]["scores"]["model"].get("mase") or 0))[:most]
        title += f"; the {most} of {len(report['by_series'])} with the highest MASE"
    table = Table(title=title)
    _columns(table, ["series", "origins", "MASE", "skill", "best baseline", "CRPS", "skill", "best baseline"])
    whole = {"origins": report["origins"], "scores": report["overall"], "skill": report["skill"]}
    for series, one in [*rows, ("all", whole)]:
        scores = one["scores"]["model"]
        cells = [str(one["origins"])]
        for metric in ("mase", "crps"):
            cells += [number(scores.get(metric)), *_skill_cells(one["skill"][metric])]
        table.add_row(Text(short(series)), *cells, style="bold" if one is whole else None)
    return table


def _skill_cells(found: dict[str, Any] | None) -> list[str]:
    if found is None or found["low"] is None or found["skill"] is None:
        return ["", ""]
    return [f"{found['skill']:+.3f} [{found['low']:+.3f}, {found['high']:+.3f}]".replace("[", r"\["), found["rival"]]


def _by_step(report: dict[str, Any]) -> Table:
    """Mean absolute error, scaled as MASE does where it can be, at a few steps of the horizon."""
    metric = "mase" if "mase" in report["by_step"]["model"] else "mae"
    table = Table(title=f"{TITLES[metric]} by horizon step, and its skill against the best baseline of the step")
    table.add_column("step", justify="right")
    for name in report["by_step"]:
        table.add_column(name, justify="right", style=_style(name))
    _columns(table, ["skill", "best baseline"])
    of_all = report["aggregate"] and f"{report['aggregate']} of {report['horizon']}"
    for step, found in report["skill_by_step"].items():
        cells = (number(scores[metric][int(step) - 1]) for scores in report["by_step"].values())
        table.add_row(of_all or step, *cells, *_skill_cells(found["mase"]))
    return table


def _remarks(report: dict[str, Any]) -> list[str]:
    lines = [f"{report['crossings']} crossing quantiles, {report['not_finite']} forecasts that were not finite"]
    if missing := report["intervals"]["not_trained"]:
        shares = ", ".join(f"{100 * share:g} %" for share in missing)
        lines.append(f"not available from the trained quantiles {report['quantiles']}: intervals of {shares}")
    return lines
