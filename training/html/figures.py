"""The charts of scores, training and calibration, as plotly figures in the colours of a light page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from forecaster.records import Float
from training.html.colours import BANDS, GOOD, GRID, INK, MODEL, MUTED, NOMINAL, RIVALS, VALIDATION
from training.html.markup import escaped
from training.scores import TITLES

FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid")


def figure(traces: Sequence[Any], x_title: str, y_title: str, **layout: Any) -> Any:
    """A chart without frame or title: what it is stands in the page around it."""
    axis = {
        "gridcolor": GRID.light,
        "linecolor": GRID.light,
        "zerolinecolor": GRID.light,
        "tickfont": {"color": MUTED.light},
        "title": {"font": {"color": MUTED.light, "size": 12}, "standoff": 8},
        "automargin": True,
    }
    made = go.Figure(traces)
    made.update_layout(
        template=None,
        font={"family": FONT, "size": 12, "color": INK.light},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 8, "r": 12, "t": 12, "b": 8},
        legend={"orientation": "h", "y": -0.22, "yanchor": "top", "x": 0, "font": {"size": 12}},
        hovermode="x unified",
        showlegend=len(traces) > 1,
    )
    made.update_xaxes(axis)
    made.update_yaxes(axis)
    made.update_xaxes(title_text=x_title or None, showgrid=False, zeroline=False)
    made.update_yaxes(title_text=y_title or None)
    return made.update_layout(**layout)


def line(x: Any, y: Any, name: str, colour: str, **more: Any) -> Any:
    """One line; `more` goes to its `line`."""
    return go.Scatter(x=x, y=y, name=escaped(name), mode="lines", line={"color": colour, "width": 2} | more)


def loss_curves(training: dict[str, Any]) -> Any:
    """Both losses by epoch, the best epoch, and level and profile alone."""
    history = training["history"]
    epochs = [one["epoch"] for one in history]
    mode: dict[str, Any] = {"mode": "lines+markers"}
    traces = [
        line(epochs, [one[f"{part}_loss"] for one in history], part, colour.light).update(mode)
        for part, colour in (("training", MUTED), ("validation", MODEL))
    ]
    baseline = training["baseline_validation_loss"]
    name = "validation of level and profile alone"
    traces.append(line([epochs[0], epochs[-1]], [baseline] * 2, name, NOMINAL.light, dash="dash"))
    best = {"color": GOOD.light, "size": 12, "symbol": "star"}
    traces.append(
        go.Scatter(x=[training["epoch"]], y=[training["validation_loss"]], name="kept", mode="markers", marker=best)
    )
    return figure(traces, "epoch", "pinball loss").update_xaxes(dtick=max(1, len(epochs) // 10))


def error_by_step(scores: dict[str, Any]) -> Any:
    """The error of the model and its baselines at every step of the horizon."""
    by_step = scores["by_step"]
    metric = "mase" if "mase" in by_step["model"] else "mae"
    steps = list(range(1, scores["horizon"] + 1))
    names = [name for name in by_step if name != "model"]
    traces = [
        line(steps, by_step[name][metric], name, RIVALS[n % len(RIVALS)].light, width=1.5, dash=DASHES[n % len(DASHES)])
        for n, name in enumerate(names)
    ]
    traces.append(line(steps, by_step["model"][metric], "model", MODEL.light, width=3))
    return _marked(figure(traces, "horizon step", TITLES[metric]).update_yaxes(rangemode="tozero"), steps)


def skill_by_step(scores: dict[str, Any]) -> Any:
    """Skill against the best baseline of each of a few steps, with its interval; above 0 the model is better."""
    traces = []
    for metric, colour in (("mase", MODEL), ("crps", VALIDATION)):
        found = {int(step): one[metric] for step, one in scores["skill_by_step"].items() if one[metric]}
        skill = np.array([one["skill"] for one in found.values()])
        low, high = (np.array([one[end] for one in found.values()], float) for end in ("low", "high"))
        spread = {"array": high - skill, "arrayminus": skill - low, "color": colour.light, "thickness": 1.5, "width": 4}
        traces.append(
            line(list(found), skill, f"skill in {TITLES[metric]}", colour.light)
            .update({"mode": "lines+markers", "error_y": spread})
            .update(hovertemplate="%{y:.3f}", text=[escaped(one["rival"]) for one in found.values()])
        )
    made = figure(traces, "horizon step", "skill").update_yaxes(tickformat="+.0%")
    return made.add_hline(y=0, line={"color": NOMINAL.light, "dash": "dash", "width": 1.5})


def _marked(made: Any, steps: list[int]) -> Any:
    return made if len(steps) > 1 else made.update_traces(mode="markers")


def between_quantiles(levels: Sequence[float], below: Float) -> Any:
    """PIT histogram of what few quantiles tell: the share of actuals between neighbours over its nominal share.

    `below` is the share of actuals below each of `levels`.
    """
    ends, reached = np.array([0.0, *levels, 1.0]), np.array([0.0, *below, 1.0])
    width = np.diff(ends)
    bars = go.Bar(
        x=(ends[:-1] + ends[1:]) / 2,
        y=np.diff(reached) / width,
        width=width,
        marker={"color": BANDS[2].light, "line": {"color": MODEL.light, "width": 1}},
        customdata=np.stack([ends[:-1], ends[1:], np.diff(reached), width], axis=1),
        hovertemplate="between %{customdata[0]:.3g} and %{customdata[1]:.3g}: "
        "%{customdata[2]:.1%} of actuals, nominal %{customdata[3]:.1%}<extra></extra>",
    )
    made = figure([bars], "trained quantile level", "share of actuals / nominal share", hovermode="closest", bargap=0)
    made.update_xaxes(range=[0, 1], tickvals=_readable(ends), tickformat=".3~g").update_yaxes(rangemode="tozero")
    return made.add_hline(y=1, line={"color": NOMINAL.light, "dash": "dash", "width": 2})


def _readable(ends: Float) -> list[float]:
    """Those of `ends` that leave room for the one before them; the last always stands."""
    kept = [1.0]
    for end in ends[-2::-1].tolist():
        if kept[-1] - end >= 0.06:
            kept.append(end)
    return kept[::-1]


def reliability(levels: Sequence[float], below: Float) -> Any:
    """Nominal against observed share of actuals below each quantile; on the diagonal they agree."""
    traces = [
        line([0, 1], [0, 1], "calibrated", NOMINAL.light, dash="dash"),
        line(list(levels), below, "model", MODEL.light, width=2.5).update(mode="lines+markers", marker={"size": 9}),
    ]
    made = figure(traces, "quantile level", "share of actuals below")
    return made.update_xaxes(range=[0, 1], tickformat=".0%").update_yaxes(range=[0, 1], tickformat=".0%")


def attention(shares: Float) -> Any:
    """The share of each past step, the origin last, in each step of the horizon, `[horizon, steps]`."""
    horizon, steps = shares.shape
    drawn = go.Heatmap(
        z=shares,
        x=np.arange(1 - steps, 1),
        y=np.arange(1, horizon + 1),
        colorscale=[[0, "rgba(11, 95, 204, 0)"], [1, "rgba(11, 95, 204, 1)"]],
        colorbar={"tickformat": ".0%", "thickness": 12, "tickfont": {"color": MUTED.light}},
        hovertemplate="step %{x} in horizon step %{y}: %{z:.1%}<extra></extra>",
    )
    return figure([drawn], "steps from the origin", "horizon step", hovermode="closest")


def coverage_by_step(scores: dict[str, Any]) -> Any:
    """Share of actuals inside each trained central interval at every step, beside what it should be."""
    steps = [scores["horizon"]] if scores["aggregate"] else list(range(1, scores["horizon"] + 1))
    traces = []
    for n, share in enumerate(scores["intervals"]["scored"]):
        colour = RIVALS[n].light if n else MODEL.light
        name = f"{100 * share:g} %"
        found = scores["by_step"]["model"][f"coverage_{100 * share:g}"]
        traces.append(line(steps, found, f"inside the {name} interval", colour))
        traces.append(line([1, steps[-1]], [share] * 2, f"nominal {name}", colour, dash="dash", width=1))
    return _marked(figure(traces, "horizon step", "coverage").update_yaxes(tickformat=".0%", range=[0, 1]), steps)
