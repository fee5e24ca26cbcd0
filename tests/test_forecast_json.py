"""The bytes of a forecast: they parse back, nothing crosses when rounded, and every digit that counts is kept."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from forecaster.formats.forecast_json import Envelope, ForecastEncoder, Forecasts, round_to_scale

LEVELS = (0.1, 0.5, 0.9)


def encoder(levels=LEVELS, horizon=2, step_ms=1_000, model="m@1"):
    return ForecastEncoder(Envelope(model, step_ms, "ticks", "out"), horizon, levels)


def forecasts(quantiles, scale, series="a"):
    count = len(quantiles)
    whole = np.arange(count)
    return Forecasts(
        series=[series] * count,
        origin_ms=whole + 1_714_550_400_000,
        quantiles=quantiles,
        scale=np.array(scale, np.float64),
        ready=whole % 2 == 0,
        trigger_ms=whole,
        partition=whole,
        offset=whole + 2**53,
        index=whole,
    )


def test_a_forecast_reads_back_as_it_was_meant():
    (message,) = encoder(step_ms=None).encode(forecasts(np.array([[[1.25, 2, 3], [4, 5, 6.5]]]), [1.0]))
    assert (message.topic, message.key, list(message.headers)) == ("out", b"a", [])
    assert json.loads(message.value) == {
        "schema_version": 1,
        "kind": "forecast",
        "series": "a",
        "origin": 1_714_550_400_000,
        "step_ms": None,
        "horizon": 2,
        "point": [2, 5],
        "quantiles": {"0.1": [1.25, 4], "0.5": [2, 5], "0.9": [3, 6.5]},
        "model": "m@1",
        "maturity": "ready",
        "source": {"topic": "ticks", "partition": 0, "offset": 2**53, "index": 0},
    }


def test_where_steps_are_not_evenly_apart_their_times_are_told():
    def ahead_ms(origin_ms):
        return origin_ms[:, None] + np.array([1_000, 61_000])

    made = ForecastEncoder(Envelope("m@1", 1_000, "ticks", "out", ahead_ms), 2, LEVELS)
    messages = made.encode(forecasts(np.zeros((2, 2, 3)), [1.0, 1.0]))
    decoded = [json.loads(message.value) for message in messages]
    assert [[time_ms - one["origin"] for time_ms in one["times"]] for one in decoded] == [[1_000, 61_000]] * 2
    assert list(decoded[0])[4:7] == ["step_ms", "times", "horizon"]


scales = st.floats(-30, 37).map(lambda power: 10.0**power)


@given(scales, st.floats(-1e6, 1e6), st.lists(st.floats(0, 5), min_size=18, max_size=18), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_rounding_keeps_a_hundred_thousandth_of_the_scale_and_crosses_nothing(scale, centre, gaps, ties):
    steps = np.array(gaps).reshape(1, 2, 9)
    steps[..., :ties] = 0
    quantiles = scale * (centre + np.cumsum(steps, axis=-1))
    rounded = round_to_scale(quantiles, np.array([scale]))
    assert (np.diff(rounded, axis=-1) >= 0).all()
    assert (np.abs(rounded - quantiles) <= 1e-6 * scale + 1e-15 * np.abs(quantiles)).all()
    levels = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
    (message,) = encoder(levels).encode(forecasts(quantiles, [scale]))
    parsed = json.loads(message.value)
    np.testing.assert_array_equal(np.array(list(parsed["quantiles"].values())).T, rounded[0])
    assert list(parsed["quantiles"]) == [str(level) for level in levels]


def test_rounding_keeps_the_moves_of_a_hundredth_at_a_million():
    rounded = round_to_scale(np.array([[[1e6 + 0.0123456789]]]), np.array([0.01]))
    assert abs(rounded[0, 0, 0] - 1_000_000.0123456789) < 1e-8


def test_rounding_shortens_the_text():
    (message,) = encoder().encode(forecasts(np.full((1, 2, 3), 1 / 3), [1.0]))
    assert b'"point":[0.333333,0.333333]' in message.value


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_any_name_comes_back_from_the_bytes(series, model):
    found = encoder(model=model).encode(forecasts(np.zeros((2, 2, 3)), [1, 1], series))
    for message in found:
        parsed = json.loads(message.value)
        assert (parsed["series"], parsed["model"], message.key.decode()) == (series, model, series)


def test_levels_that_differ_in_the_seventh_digit_keep_their_own_names():
    levels = (1e-5, 0.1234567, 0.1234568, 0.5, 0.9999999)
    (message,) = encoder(levels).encode(forecasts(np.arange(10.0).reshape(1, 2, 5), [1.0]))
    parsed = json.loads(message.value)
    assert [float(name) for name in parsed["quantiles"]] == list(levels)


def test_each_forecast_stands_in_its_own_message_in_order():
    found = encoder().encode(forecasts(np.arange(18.0).reshape(3, 2, 3), [1, 1, 1]))
    parsed = [json.loads(message.value) for message in found]
    assert [p["point"] for p in parsed] == [[1, 4], [7, 10], [13, 16]]
    assert [p["maturity"] for p in parsed] == ["ready", "warming", "ready"]
    assert [p["source"]["partition"] for p in parsed] == [0, 1, 2]


def test_no_forecast_is_no_message():
    assert encoder().encode(Forecasts.none()) == []
