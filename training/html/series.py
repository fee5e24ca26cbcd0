"""Charts over event time: what a series did, and forecasts with what came after them."""

from typing import Any

import numpy as np
import plotly.graph_objects as go

from forecaster.bundle.manifest import Manifest
from forecaster.records import Float
from training.html.collect import Shown
from training.html.colours import ACTUAL, BANDS, GAP, GRID, MODEL, MUTED, NOMINAL
from training.html.figures import figure, line
from training.html.markup import escaped
from training.html.overview import Outline
from training.observed import Observed

MOST_BEFORE = 400  # observations drawn before an origin


def parts(training: dict[str, Any], span: tuple[int, int]) -> list[tuple[str, int, int]]:
    """Name, start and end of what the model was trained on, chosen on and is tested on, as far as it lies in `span`."""
    if "train_end_ms" not in training:
        return []
    ends = np.clip([span[0], training["train_end_ms"], training["validation_end_ms"], span[1]], *span).tolist()
    named = zip(("train", "val", "test"), ends[:-1], ends[1:], strict=True)
    found = [(name, left, right) for name, left, right in named if right > left]
    return found if len(found) > 1 else []


def whole_series(name: str, drawn: Outline, split: list[tuple[str, int, int]], span: tuple[int, int]) -> Any:
    """All of a series, its gaps marked at its foot, on the axis of time of all series, which `split` divides."""
    traces = [line(drawn.time_ms, drawn.value.astype(np.float32), name, MODEL.light, width=1)]
    if len(drawn.gap_ms):
        floor = np.full(len(drawn.gap_ms), 0.0 if np.isnan(drawn.value).all() else np.nanmin(drawn.value))
        marker = {"symbol": "line-ns-open", "size": 8, "color": GAP.light, "opacity": 0.2 + 0.8 * drawn.lost}
        traces.append(go.Scatter(x=drawn.gap_ms, y=floor, name="values missing", mode="markers", marker=marker))
    made = figure(traces, "", "", showlegend=False, hovermode="closest")
    made.update_xaxes(type="date", range=list(span), nticks=6, tickangle=0)
    made.update_layout(margin={"t": 22})
    font = {"size": 11, "color": MUTED.light}
    for label, left, right in split:
        if left > span[0]:
            made.add_vline(x=left, line={"color": NOMINAL.light, "width": 1.5, "dash": "dot"})
        if right - left > (span[1] - span[0]) / 10:  # else there is no room for its name
            place = {"x": (left + right) / 2, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "center"}
            made.add_annotation(text=label, showarrow=False, font=font, **place)
    return made


def fan(one: Shown, observed: Observed, manifest: Manifest) -> Any:
    """A forecast as a fan of its intervals over what came after, behind what the series did before.

    The aggregate of a horizon is drawn all along it.
    """
    levels, step_ms = manifest.network.quantiles, manifest.step_ms
    horizon, grid = manifest.network.horizon, observed.windows.grid
    quantiles, actual = (np.repeat(array, horizon // len(array), axis=0) for array in (one.quantiles, one.actual))
    time_ms, value = observed.values(observed.series.index(one.series))
    origin = int(np.searchsorted(time_ms, one.origin_ms))
    first = max(0, origin + 1 - min(max(2 * horizon, 24), MOST_BEFORE))
    before, ahead = np.arange(first, origin + 1), np.arange(1, horizon + 1)
    if step_ms is None:
        back, x = (before - origin).astype(np.float64), ahead.astype(np.float64)
    else:
        back = time_ms[before].astype(np.float64)
        x = grid.ahead_ms(np.array([one.origin_ms]), horizon)[0].astype(np.float64)
    traces = [*_bands(x, quantiles, levels)]
    traces.append(line(x, quantiles[:, levels.index(0.5)], "forecast", MODEL.light, width=2.5))
    come = np.concatenate([value[before], actual])
    traces.append(line(np.concatenate([back, x]), come, "actual", ACTUAL.light, width=1.5))
    made = figure(traces, "" if step_ms else "steps from the origin", "", showlegend=False)
    made.update_xaxes(type="date" if step_ms else "linear", nticks=5, tickangle=0).update_traces(
        hovertemplate="%{y:.5g}"
    )
    made.add_vline(x=back[-1], line={"color": NOMINAL.light, "width": 1.5, "dash": "dot"})
    return made.update_layout(meta={"series": escaped(one.series)})


def _bands(x: Float, quantiles: Float, levels: tuple[float, ...]) -> list[Any]:
    """Areas between the pairs of quantiles that lie around the middle, the widest first."""
    traces = []
    pairs = len(levels) // 2
    for n in range(pairs):
        low, high = quantiles[:, n], quantiles[:, -1 - n]
        colour = BANDS[min(n, len(BANDS) - 1)].light
        edge = {"color": GRID.light, "width": 0}
        traces.append(line(x, low, f"quantile {levels[n]:g}", GRID.light).update(line=edge))
        traces.append(
            line(x, high, f"quantile {levels[-1 - n]:g}", GRID.light).update(
                line=edge, fill="tonexty", fillcolor=colour
            )
        )
    return traces
