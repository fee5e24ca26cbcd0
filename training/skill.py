"""How much better the model is than the best of its rivals, and how sure that is."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from forecaster.records import Float
from training.backtest import Results
from training.metrics import block_skill

DRAWS = 1_000
INTERVAL = (0.025, 0.975)


@dataclass(frozen=True, slots=True)
class Skill:
    """1 − score / score of `rival`, the best over all of these origins, with a 95 % bootstrap interval."""

    rival: str
    skill: float
    low: float
    high: float

    def as_json(self) -> dict[str, Any]:
        """Its fields; what is not finite is null."""
        numbers = {"skill": self.skill, "low": self.low, "high": self.high}
        return asdict(self) | {name: number if math.isfinite(number) else None for name, number in numbers.items()}


def skills(results: Results, horizon: int, loss: str, series: int | None = None) -> list[Skill | None]:
    """Skill in `loss`, "mase" or "pinball", on one series or on all: over all steps, then at each of `few_steps`.

    Origins of all series at one time are drawn together: what moves one often moves the others.
    Blocks are as long as the horizon. None where no rival has lost anything.
    """
    chosen = range(len(results.series)) if series is None else [series]
    times = [np.concatenate([np.zeros(0, np.int64), *results.origin_ms[n]]) for n in chosen]
    moments, place = np.unique(np.concatenate(times), return_inverse=True)

    def by_moment(name: str) -> Float:
        losses = np.concatenate([results.tallies[name].by_origin(loss, n) for n in chosen])
        summed = [np.bincount(place, weights=column, minlength=len(moments)) for column in losses.T]
        return np.stack(summed).astype(np.float64)

    sums = {name: by_moment(name) for name in results.tallies}
    count = len(sums["model"])
    return [_against_best({name: losses[n] for name, losses in sums.items()}, horizon) for n in range(count)]


def _against_best(losses: dict[str, Float], block: int) -> Skill | None:
    """The model among `losses` `[origins]` by forecaster against the rival that lost least."""
    model = losses.pop("model")
    rival = min(losses, key=lambda name: losses[name].sum())
    total = float(losses[rival].sum())
    if total == 0:
        return None
    draws = block_skill(model, losses[rival], block, DRAWS, np.random.default_rng(0))
    with np.errstate(invalid="ignore"):  # no number lies between two draws in which the rival lost nothing
        low, high = np.nanquantile(draws, INTERVAL) if np.isfinite(draws).any() else (np.nan, np.nan)
    return Skill(rival, 1 - float(model.sum()) / total, float(low), float(high))
