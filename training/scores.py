"""Every figure of a backtest by name, as JSON has it, and how a person is shown one."""

import math
from typing import Any

import numpy as np

from forecaster.bundle.manifest import Manifest
from training.backtest import Results
from training.metrics import SHARES, central_intervals
from training.skill import skills
from training.tally import OF_SKILL, few_steps

TITLES = {
    "normalised_mse": "norm. MSE", "normalised_mae": "norm. MAE", "mse": "MSE", "mae": "MAE", "mase": "MASE",
    "smape": "sMAPE %", "pinball": "pinball", "crps": "CRPS",
}  # fmt: skip


def as_json(results: Results, manifest: Manifest) -> dict[str, Any]:
    """Every figure; NaN is null. A list under `by_step` runs over the horizon, or has the one of its aggregate."""
    network = manifest.network
    offered = central_intervals(network.quantiles)
    tallies = results.tallies
    pairs = tallies["model"].pairs()
    origins = [sum(map(len, parts)) for parts in results.origin_ms]
    by_series = {name: tally.by_series() for name, tally in tallies.items()}
    over_all_steps, *at_steps = _skills(results, network.horizon, None)
    return {
        "model": f"{manifest.name}@{manifest.version}",
        "horizon": network.horizon,
        "aggregate": network.aggregate,
        "quantiles": list(network.quantiles),
        "intervals": {"scored": list(offered), "not_trained": [s for s in SHARES if s not in offered]},
        "origins": results.origins,
        "pairs": int(pairs.sum()),
        "first_origin_ms": results.start_ms,
        "crossings": results.crossings,
        "not_finite": results.not_finite,
        "overall": {name: _plain(tally.overall()) for name, tally in tallies.items()},
        "skill": over_all_steps,
        "skill_by_step": dict(zip(map(str, few_steps(network.outputs)), at_steps, strict=True)),
        "by_step": {name: _plain(tally.by_step()) for name, tally in tallies.items()},
        "by_series": {
            series: {
                "origins": origins[n],
                "pairs": int(pairs[n]),
                "scores": {f: _plain({m: v[n] for m, v in found.items()}) for f, found in by_series.items()},
                "skill": _skills(results, network.horizon, n)[0],
            }
            for n, series in enumerate(results.series)
        },
    }


def _skills(results: Results, horizon: int, series: int | None) -> list[dict[str, Any]]:
    """Skill by metric, over all steps and then at each of the few steps."""
    points, spreads = (skills(results, horizon, loss, series) for loss in OF_SKILL)
    return [
        {"mase": point and point.as_json(), "crps": spread and spread.as_json()}
        for point, spread in zip(points, spreads, strict=True)
    ]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers and lists that JSON has; a metric that has no value anywhere is left out."""

    def plain(value: Any) -> Any:
        if np.ndim(value):
            return [plain(one) for one in np.asarray(value).tolist()]
        return float(value) if math.isfinite(value) else None

    return {name: plain(value) for name, value in values.items() if np.isfinite(value).any()}


def number(value: float | None) -> str:
    """Four figures or so, whatever the size."""
    if value is None or not math.isfinite(value):
        return ""
    if abs(value) >= 1_000:
        return f"{value:.0f}"
    return f"{value:#.4g}" if abs(value) >= 10 or 0 < abs(value) < 0.1 else f"{value:.3f}"
