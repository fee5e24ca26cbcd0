"""Covariates out of messages and files, and as training has them."""

import json
import re

import numpy as np
import pytest
from builders import START_MS, Row, batch
from covaried import COVARIED, GIVEN, HORIZON, SECOND, SETTINGS, line, recording, replayed
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from forecaster.errors import ConfigError
from forecaster.features.covariates import CovariateSettings
from forecaster.formats.json_ticks import JsonTickDecoder
from forecaster.recording import Columns, Fingerprint, Recording, read_recording
from forecaster.recording.known_ahead import KnownAhead
from forecaster.replay import record_batches
from training.covariates import measured_covariates
from training.data import sequences, split_by_time
from training.examples import BatchShape, Examples, without_some
from training.table import feature_table

NAN = np.nan


def message(values: dict) -> bytes:
    """A tick of series a, at step 0 unless `values` says more."""
    return json.dumps({"series": "a", "ts": START_MS, "value": 1.0} | values).encode()


def decoded(*messages: bytes):
    return JsonTickDecoder(SETTINGS.input, None, HORIZON).decode(batch([Row(one) for one in messages]))


def test_a_message_tells_numbers_of_past_covariates_and_of_known_ones_its_own_step_and_the_horizon():
    ticks = decoded(
        message({"load": 5, "outdoor": {"t": [1, 2.5, None, 4]}, "open": [0, 1, 1, 0]}),
        message({"load": None, "open": None}),
        message({"outdoor": {}}),
    )
    assert ticks.faults == []
    nan = np.nan
    np.testing.assert_array_equal(ticks.covariates[0], [5, 1, 0, 2.5, nan, 4, 1, 1, 0])
    assert np.isnan(ticks.covariates[1:]).all()


@pytest.mark.parametrize(
    ("given", "reason", "text"),
    [
        ({"open": [0, 1, 1]}, "bad_covariate", "tick 0: 'open' has 3 numbers, not 4: the tick's own step and 3 ahead"),
        ({"outdoor": {"t": []}}, "bad_covariate", "'outdoor.t' has 0 numbers, not 4"),
        ({"open": 1}, "wrong_type", "$.open"),
        ({"outdoor": {"t": [1, 2, "3", 4]}}, "wrong_type", "$.outdoor.t[2]"),
        ({"load": [1]}, "wrong_type", "$.load"),
        ({"load": True}, "wrong_type", "$.load"),
        ({"load": 1e39}, "not_finite", "'load': 1e+39 does not fit a float32"),
        ({"open": [0, 1e39, 0, 0]}, "not_finite", "'open': 1e+39"),
    ],
)
def test_a_covariate_that_is_none_dead_letters_its_record_and_is_named(given, reason, text):
    ticks = decoded(message({}), message(given))
    assert len(ticks) == 1
    (fault,) = ticks.faults
    assert (fault.record, fault.reason) == (1, reason)
    assert text in fault.error


@given(
    place=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=30),
    per_event=st.booleans(),
    seed=st.integers(0, 2**16),
)
@hypothesis_settings(max_examples=100, deadline=None)
def test_rows_of_a_recording_look_ahead_by_step_and_series(place, per_event, seed):
    series, step = np.array(place).T
    covariates = np.random.default_rng(seed).normal(size=(len(place), 3))
    ticks = Recording(["a", "b", "c"], series, START_MS + SECOND * step, np.ones(len(place)), covariates=covariates)
    setup = SETTINGS.model_copy(
        update={"stream": SETTINGS.stream.model_copy(update={"step": None if per_event else SECOND})}
    )
    found = KnownAhead(ticks, setup).rows(np.arange(len(place)))
    for n, (own, at) in enumerate(place):
        expected = [*covariates[n]]
        for column in (1, 2):
            if per_event:
                later = [k for k, (one, t) in enumerate(place) if one == own and (t, k) > (at, n)]
                later = sorted(later, key=lambda k: (place[k][1], k))
                ahead = [covariates[k, column] for k in later[:HORIZON]]
                expected += ahead + [np.nan] * (HORIZON - len(ahead))
                continue
            for h in range(1, HORIZON + 1):
                first = [k for k, one in enumerate(place) if one == (own, at + h)][:1]
                expected.append(covariates[first[0], column] if first else np.nan)
        np.testing.assert_array_equal(found[n], expected)


@pytest.mark.parametrize(
    ("past", "known", "seen"), [(("load",), (), [[1], [2]]), ((), ("open",), [[1, 2, NAN, NAN], [2, NAN, NAN, NAN]])]
)
def test_a_recording_has_messages_where_all_covariates_are_of_one_kind(past, known, seen):
    fields = SETTINGS.input.model_copy(update={"past_covariates": past, "known_covariates": known})
    setup = SETTINGS.model_copy(update={"input": fields})
    time_ms, given_ = START_MS + SECOND * np.arange(2), np.array([[1.0], [2.0]])
    ticks = Recording(["a"], np.zeros(2, np.int64), time_ms, np.ones(2), covariates=given_)
    (records,) = record_batches(ticks, setup)
    np.testing.assert_array_equal(JsonTickDecoder(fields, None, HORIZON).decode(records).covariates, seen)


def test_training_arrays_equal_serving_arrays(tmp_path, monkeypatch):
    ticks = recording(60, 2)
    data = sequences([ticks.part(0, 33), ticks.part(33, 120)], SETTINGS)
    table = feature_table(data, COVARIED)
    trained = {
        (name, int(data.origin_ms[row])): (table.inputs[row], table.ahead(np.array([row]), HORIZON)[0])
        for name, run_ in zip(data.names, range(len(data.names)), strict=True)
        for row in range(data.rows(run_).start, data.rows(run_).stop)
    }
    served = line()
    engine, seen = served.inference.engine, []
    forecast = engine.forecast

    def watched(tile, stage):
        ahead = tile.step.ahead(tile.row, tile.column, HORIZON)
        names = [tile.names[slot] for slot in tile.slot[tile.row].tolist()]
        inputs = tile.step.inputs()[tile.row, tile.column]
        seen.extend(zip(names, (tile.index * SECOND).tolist(), inputs, ahead, strict=True))
        return forecast(tile, stage)

    monkeypatch.setattr(engine, "forecast", watched)
    replayed(ticks, tmp_path, served)
    assert len(seen) == len(trained) == 120
    for name, origin_ms, inputs, ahead in seen:
        expected = trained[name, origin_ms]
        np.testing.assert_allclose(inputs, expected[0], atol=1e-5)
        np.testing.assert_allclose(ahead, expected[1], atol=1e-5)


def prepared_examples() -> Examples:
    data = sequences([recording(200, 2, missing=0.0)], SETTINGS)
    return Examples(feature_table(data, COVARIED), HORIZON, int(data.origin_ms.max()) + 1)


def test_a_training_window_sees_what_its_rows_do_also_as_a_new_series():
    made = prepared_examples()
    batch = next(made.batches(BatchShape(40, 20, 8, 5, cold=10), np.random.default_rng(0)))
    own, ahead = 6, 4
    rows = {row[-own:-3].tobytes(): n for n, row in enumerate(made.table.inputs)}
    whole = made.table.ahead(np.arange(len(made.table.inputs)), HORIZON)
    for window in range(40):
        for place, scored in enumerate(batch.scored[window].tolist()):
            row = rows.get(batch.inputs[window, scored, -own:-3].tobytes())
            if row is not None:  # no covariate of the window is missing
                np.testing.assert_array_equal(batch.ahead[window, place, :, -ahead:], whole[row][:, -ahead:])


def test_some_training_windows_miss_a_covariate_and_are_told_so():
    made = prepared_examples()
    whole = next(made.batches(BatchShape(400, 20, 8, 5), np.random.default_rng(0)))
    flags = whole.inputs[..., -3:]
    gone = flags[:, 0] == 1
    assert ((flags == 1) == gone[:, None]).all()
    assert (whole.inputs[..., -6:-3][np.broadcast_to(gone[:, None], flags.shape)] == 0).all()
    assert (whole.ahead[..., -2:] >= gone[:, None, None, 1:]).all()
    assert (whole.ahead[..., -4:-2][np.broadcast_to(gone[:, None, None, 1:], (400, 5, HORIZON, 2))] == 0).all()
    assert 0.05 < gone.mean() < 0.15
    assert without_some(whole, CovariateSettings(), np.random.default_rng(0)) is whole


def test_a_covariate_that_training_can_learn_nothing_from_is_refused():
    ticks = recording(60, 1)
    for column, value, text in ((0, np.nan, "'load' is missing"), (1, 3.5, "'outdoor.t' is 3.5")):
        ticks.covariates[:, column] = value
        data = sequences([ticks], SETTINGS)
        setting = "past_covariates" if column == 0 else "known_covariates"
        with pytest.raises(ConfigError, match=rf"^input\.{setting}: {re.escape(text)} in the whole training part"):
            measured_covariates(data, split_by_time(data, 0.7, 0.15), SETTINGS)
        ticks.covariates[:, column] = np.arange(60)


def test_mean_and_deviation_are_those_of_the_training_part():
    ticks = recording(100, 2)
    ticks.covariates[140:] = 1e6
    data = sequences([ticks], SETTINGS)
    found = measured_covariates(data, split_by_time(data, 0.7, 0.15), SETTINGS)
    assert (found.past, found.known, found.horizon) == (GIVEN.past, GIVEN.known, HORIZON)
    np.testing.assert_allclose(found.mean, np.nanmean(ticks.covariates[:140], axis=0))
    np.testing.assert_allclose(found.deviation, np.nanstd(ticks.covariates[:140], axis=0))


def test_a_file_has_a_column_for_each_long_or_wide(tmp_path):
    long, wide = tmp_path / "long.csv", tmp_path / "wide.csv"
    long.write_text("series,ts,value,x,outdoor.t,load,open\na,1,5,-,1.5,2,0\nb,1,6,-,,3,1\n")
    wide.write_text("ts,a,load,b,outdoor.t,open\n1,5,2,6,1.5,0\n")
    expected = [[2, 1.5, 0], [3, np.nan, 1]]
    np.testing.assert_array_equal(read_recording([long], SETTINGS.input, Columns()).covariates, expected)
    found = read_recording([wide], SETTINGS.input, Columns())
    assert found.names == ["a", "b"]
    np.testing.assert_array_equal(found.covariates, [[2, 1.5, 0]] * 2)
    wide.write_text("ts,a,load,open\n1,5,2,0\n")
    with pytest.raises(ConfigError, match=r"wide\.csv: has no column 'outdoor\.t'"):
        read_recording([wide], SETTINGS.input, Columns())


def test_the_fingerprint_knows_covariates_and_not_where_parts_were_cut():
    ticks = recording(10)
    other = recording(10)
    other.covariates[3, 1] += 1.0

    def of(*parts: Recording) -> str:
        fingerprint = Fingerprint()
        for part in parts:
            fingerprint.add(part)
        return fingerprint.hexdigest()

    assert of(ticks) == of(ticks.part(0, 7), ticks.part(7, 20)) != of(other)
