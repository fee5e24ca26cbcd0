"""A series that nothing can be learnt from is named, or left out and remembered."""

import numpy as np
import pytest

from forecaster.config import Settings
from forecaster.errors import ConfigError
from forecaster.recording import Recording
from training.bad_series import without_bad
from training.data import Sequences, sequences
from training.fit import train
from training.prepare import Source

HOUR, START = 3_600_000, 1_700_000_000_000 // 3_600_000 * 3_600_000
GOOD = np.random.default_rng(0).normal(10, 1, 60)
BAD = {"constant": (np.full(60, 4.5), "constant: each of its 60 values from 2023-11-14T22:00:00+00:00 on is 4.5")}
BAD |= {"missing": (np.full(60, np.nan), "all of its 60 observations from 2023-11-14T22:00:00+00:00 on are missing")}
BAD |= {"short": (GOOD[:6], "too short: 6 observations")}


def recording(series: dict[str, np.ndarray]) -> Recording:
    return Recording(
        list(series),
        np.concatenate([np.full(len(values), n) for n, values in enumerate(series.values())]),
        np.concatenate([START + HOUR * np.arange(len(values)) for values in series.values()]),
        np.concatenate(list(series.values())),
    )


def data(series: dict[str, np.ndarray]) -> Sequences:
    return sequences([recording(series)], Settings(stream={"step": "1h"}))


@pytest.mark.parametrize("name", BAD)
def test_one_line_names_the_source_the_series_its_fault_and_the_way_on(name) -> None:
    values, fault = BAD[name]
    with pytest.raises(ConfigError) as raised:
        without_bad(data({"good": GOOD, name: values}), 6, "history.csv", skip=False)
    assert str(raised.value).startswith(f"history.csv: series {name!r}: {fault}")
    assert "--on-bad-series skip" in str(raised.value)


def test_what_gaps_alone_make_too_short_names_the_setting_that_decides_of_them() -> None:
    every_other = Recording(["sparse"], np.zeros(60, np.int64), START + 2 * HOUR * np.arange(60), GOOD)
    runs = sequences([every_other], Settings(stream={"step": "1h", "max_gap": "0s"}))
    with pytest.raises(ConfigError, match=r"too short: 60 observations .*longer than stream\.max_gap"):
        without_bad(runs, 6, "history.csv", skip=False)


def test_skipping_keeps_the_good_series_and_says_why_the_others_are_gone() -> None:
    every = data({"constant": BAD["constant"][0], "good": GOOD, "short": BAD["short"][0], "missing": BAD["missing"][0]})
    kept, skipped = without_bad(every, 6, "history.csv", skip=True)
    assert kept.names == ["good"]
    np.testing.assert_array_equal(kept.value[kept.rows(0)], GOOD)
    assert skipped.keys() == {"constant", "short", "missing"}


def test_nothing_left_to_learn_from_is_an_error_even_when_skipping() -> None:
    with pytest.raises(ConfigError, match=r"history\.csv: no series can be learnt from; 'flat': constant"):
        without_bad(data({"flat": np.full(60, 4.5)}), 6, "history.csv", skip=True)


def test_a_series_with_a_few_missing_values_or_one_change_is_good() -> None:
    holes, late = GOOD.copy(), np.full(60, 4.5)
    holes[::7] = np.nan
    late[-1] = 5.0
    kept, skipped = without_bad(data({"holes": holes, "late": late}), 6, "history.csv", skip=False)
    assert (kept.names, skipped) == (["holes", "late"], {})


def test_the_bundle_remembers_what_was_left_out_of_its_training() -> None:
    random = np.random.default_rng(0)
    values = 10 + np.sin(np.arange(400) / 4) + random.normal(0, 0.1, 400)
    settings = Settings(
        stream={"step": "1h"},
        model={"horizon": 6, "context_length": 48, "seasons": [], "units": [4]},
        training={"epochs": 1, "steps_per_epoch": 2},
    )
    ticks = recording({"good": values, "flat": np.full(400, 1.0)})
    manifest, _ = train(Source([ticks], skip_bad_series=True), settings)
    assert manifest.training["skipped"].keys() == {"flat"}
    with pytest.raises(ConfigError, match="series 'flat': constant"):
        train(Source([ticks]), settings)
