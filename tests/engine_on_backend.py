"""python engine_on_backend.py FILE: the same ticks through the line on the backend that KERAS_BACKEND names.

Writes every forecast's quantiles, in units of its series' scale, what the engine computes with its state in memory
and on the device, and what is drawn of codes and of values.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from builders import (
    Tick,
    channel_network,
    code_network,
    encoder_decoder,
    network,
    path_network,
    pipeline,
    records_of,
    run,
    segment_network,
)

from forecaster.config import Settings
from forecaster.engines.carried import Engine
from forecaster.networks.kinds import AnyNetwork
from forecaster.networks.many_to_many import Network


def answers() -> dict[str, Any]:
    """By what was asked: forecasts, states and paths, as lists."""
    draw, gru, lstm = np.random.default_rng(0), network(), network(cell="lstm")
    ticks = [Tick(f"s{n % 30}", n // 30, float(value)) for n, value in enumerate(draw.normal(20, 3, 600))]
    made = {"gru": gru, "lstm": lstm, "maximum": network(aggregate="max")}
    over_windows = {
        "segment": segment_network(short_windows="masked"),
        "attention": encoder_decoder(attention="additive"),
    }
    return {
        **{name: forecasts(one, ticks) for name, one in made.items()},
        **{name: forecasts(one, ticks[:120]) for name, one in over_windows.items()},
        **{f"{one.settings.cell} {what}": value for one in (gru, lstm) for what, value in carried(one).items()},
        **multivariate(),
        **drawn(),
    }


def forecasts(made: AnyNetwork, ticks: list[Tick]) -> Any:
    outputs = run(pipeline(made=made), records_of(ticks), [1, 31, 40, 400, 597])
    told = [output.forecasts.quantiles / output.forecasts.scale[:, None, None] for output in outputs]
    return np.concatenate(told).tolist()


def carried(made: Network) -> dict[str, Any]:
    """What is computed of rows of inputs, the state in memory and on the device."""
    found, draw, settings = {}, np.random.default_rng(0), made.settings
    inputs = draw.normal(0, 1, (20, 9, settings.inputs)).astype(np.float32)
    recent = draw.normal(0, 1, (20, settings.outputs, settings.recents)).astype(np.float32)
    for resident in (None, 64):
        engine, slot = Engine(made, resident), 3 * np.arange(20)
        engine.grow(64)
        found[f"hidden {resident}"] = engine.advance(slot, inputs, np.ones((20, 9), bool)).tolist()
        found[f"step {resident}"] = np.asarray(engine.step(slot, inputs[:, 0], recent))[:20].tolist()
        found[f"state {resident}"] = [rows.tolist() for rows in engine.hidden.read(slot)][-1]
    return found


def multivariate() -> dict[str, Any]:
    draw, made = np.random.default_rng(0), channel_network(("a", "b", "c"))
    values = draw.normal(20, 3, (70, 3)).tolist()
    ticks = [Tick(f"s{n % 7}", n // 7, dict(zip("abc", row, strict=True))) for n, row in enumerate(values)]
    (told,) = run(pipeline(Settings(input={"channels": ("a", "b", "c")}), made), records_of(ticks))
    return {"channels": (told.forecasts.quantiles / told.forecasts.scale[..., None, None]).tolist()}


def drawn() -> dict[str, Any]:
    found, draw = {}, np.random.default_rng(0)
    ticks = [Tick(f"s{n % 7}", n // 7, ("up", "flat", "down")[n % 3]) for n in range(70)]
    for cell in ("gru", "lstm"):
        (told,) = run(pipeline(made=code_network(cell=cell)), records_of(ticks))
        codes = {"next": told.forecasts.probabilities, "codes": told.forecasts.paths}
        found |= {f"{cell} {what}": value.tolist() for what, value in codes.items()}
    ticks = [Tick(f"s{n % 7}", n // 7, float(value)) for n, value in enumerate(draw.normal(20, 3, 70))]
    (told,) = run(pipeline(made=path_network()), records_of(ticks))
    found["paths"] = (told.forecasts.paths / told.forecasts.scale[:, None, None]).tolist()
    return found


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(answers()))
