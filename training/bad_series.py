"""Series that nothing can be learnt from: they end a training with one line, or are left out of it."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np

from forecaster.errors import ConfigError
from training.data import Sequences


def without_bad(
    data: Sequences, horizon: int, source: str, *, skip: bool, coded: bool = False
) -> tuple[Sequences, dict[str, str]]:
    """`data` without the series that are constant, too short or all missing, and why each was left out.

    Raises `ConfigError` for the first of them unless `skip` is set, and where no series is left. `source`
    says where the data came from. With `coded` values are codes, of which a series may have a single one.
    """
    every = data.by_series().items()
    faults = {name: fault for name, runs in every if (fault := _fault(data, runs, horizon, coded=coded))}
    for name, fault in faults.items() if not skip else []:
        raise ConfigError(f"{source}: series {name!r}: {fault}; --on-bad-series skip leaves such series out")
    keep = np.array([name not in faults for name in data.names])
    if not keep.any():
        name, fault = next(iter(faults.items()))
        raise ConfigError(f"{source}: no series can be learnt from; {name!r}: {fault}")
    runs = np.flatnonzero(keep)
    names = [data.names[run] for run in runs.tolist()]
    of_runs = {name: getattr(data, name)[runs] for name in ("first", "length", "index", "channel")}
    return replace(data, names=names, **of_runs), faults


def _fault(data: Sequences, runs: list[int], horizon: int, *, coded: bool) -> str | None:
    """What is wrong with the series that has `runs`."""
    values = np.concatenate([data.value[data.rows(run)] for run in runs])
    known = values[~np.isnan(values)]
    begin = datetime.fromtimestamp(int(data.origin_ms[data.first[runs[0]]]) / 1000, UTC).isoformat(timespec="seconds")
    if not len(known):
        return f"all of its {len(values)} observations from {begin} on are missing"
    if max(int(data.length[run]) for run in runs) <= horizon:
        anew = ": each gap longer than stream.max_gap begins it anew" if len(runs) > 1 else ""
        count = f"{len(values)} observations from {begin} on"
        return f"too short: {count}, none a horizon of {horizon} before another{anew}"
    if not coded and (known == known[0]).all():
        return f"constant: each of its {len(known)} values from {begin} on is {known[0]:g}"
    return None
