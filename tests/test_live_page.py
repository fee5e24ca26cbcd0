"""What the live page knows: observations, fans of the past and their errors, the fleet, and what bounds them."""

import asyncio
import json

import numpy as np
import pytest
from live_page import HORIZON, START_MS, answer, channels_answer, records, tick
from prometheus_client import generate_latest

from forecaster.config import Settings
from forecaster.telemetry.metrics import Metrics
from forecaster.web import fleet as fleet_module
from forecaster.web.answers import as_json
from forecaster.web.broadcast import Broadcast
from forecaster.web.fleet import LONGEST, SHORTEST, Fleet
from forecaster.web.limits import REMEMBERED, RequestLimit
from forecaster.web.viewers import QUEUED, Viewers
from forecaster.web.vitals import Vitals


def make_fleet(**settings: object) -> Fleet:
    return Fleet(Settings(**settings), HORIZON)


def feed(fleet: Fleet, series: str, values, first=0, off_by=0.0, now_ms=START_MS):
    """Each step: the tick, then the forecast made of it, as the daemon publishes them."""
    for step, value in enumerate(values, first):
        fleet.take_ticks(records([tick(series, step, value)]), now_ms)
        fleet.take_answers(records([answer(series, step, value + off_by)]), now_ms)


def test_a_series_is_shown_with_its_actuals_its_fan_and_fans_of_the_past_that_do_not_overlap():
    fleet = make_fleet()
    feed(fleet, "a", range(3 * HORIZON + 2))
    shown = json.loads(as_json(fleet.series("a")))
    assert shown["value"] == list(range(3 * HORIZON + 2))
    assert shown["time_ms"][-1] == shown["origin"] == shown["fan"]["origin"] == START_MS + 1_000 * (3 * HORIZON + 1)
    assert [past["origin"] for past in shown["past"]] == [START_MS + 1_000 * HORIZON * n for n in range(4)]
    assert shown["fan"]["levels"] == ["0.1", "0.5", "0.9"]
    assert [band[0] - 13 for band in shown["fan"]["bands"]] == [-1, 0, 2]


def test_actuals_are_observations_as_serving_makes_them_of_ticks():
    fleet = make_fleet(stream={"step": "1s", "bar": "mean"})
    ticks = [tick("a", 0, 1.0), tick("a", 0, 3.0), tick("a", 1, 5.0), tick("a", 4, 7.0), tick("a", 5, 8.0)]
    fleet.take_answers(records([answer("a", 0, 0.0)]), START_MS)
    fleet.take_ticks(records(ticks), START_MS)
    shown = json.loads(as_json(fleet.series("a")))
    assert shown["value"] == [2.0, 5.0, None, None, 7.0]
    assert shown["time_ms"][0] == START_MS + 1_000  # a bar is known at its end


def test_of_a_gap_no_more_is_filled_than_is_kept_however_long_a_gap_may_be():
    fleet, day_ms = make_fleet(stream={"step": "1s", "max_gap": "30d"}), 86_400_000
    for now_ms in (START_MS, START_MS + 2_000, START_MS + 25 * day_ms):
        body = json.dumps({"series": "a", "ts": now_ms, "value": 1.0}).encode()
        fleet.take_ticks(records([body], time_ms=now_ms), now_ms)
        assert fleet._observed._windows.filled <= SHORTEST
    assert fleet.series("a")["value"][-1] == 1.0


def test_the_error_is_that_of_whole_horizons_over_that_of_the_last_value():
    fleet = make_fleet()
    feed(fleet, "a", [float(n) for n in range(2 * HORIZON + 1)], off_by=1.0)
    # the values climb by one: repeating the last is off by 1 to 4, the forecast, one higher, by 0 to 3
    assert fleet.series("a")["ratio"] == pytest.approx(1.5 / 2.5)
    assert fleet.series("a")["scored"] == 2


def test_a_fan_of_which_less_than_half_was_observed_is_not_scored():
    fleet = make_fleet()
    feed(fleet, "a", [1.0])
    feed(fleet, "a", [2.0], first=1)
    fleet.take_answers(records([answer("a", HORIZON, 0.0)]), START_MS)
    assert np.isnan(fleet.series("a")["ratio"])


def test_a_constant_series_has_no_ratio_for_no_error_can_be_smaller_than_none():
    fleet = make_fleet()
    feed(fleet, "a", [5.0] * (2 * HORIZON + 1), off_by=1.0)
    assert np.isnan(fleet.series("a")["ratio"])


def test_a_fan_is_scored_although_its_ticks_are_read_later():
    fleet = make_fleet()
    steps = range(2 * HORIZON + 1)
    fleet.take_answers(records([answer("a", n, 0.0) for n in steps]), START_MS)
    fleet.take_ticks(records([tick("a", n, float(n)) for n in steps]), START_MS)
    fleet.take_answers(records([answer("a", 3 * HORIZON, 0.0)]), START_MS)
    assert fleet.series("a")["scored"] == 2


def test_without_a_step_the_steps_of_a_forecast_are_the_observations_that_came():
    fleet = make_fleet(stream={"step": "tick"})
    for n in range(2 * HORIZON + 1):
        at = n * n  # at no regular times
        fleet.take_ticks(records([tick("a", at, float(n))]), START_MS)
        fleet.take_answers(records([answer("a", at, n + 1.0, step_ms=None)]), START_MS)
    assert fleet.series("a")["ratio"] == pytest.approx(1.5 / 2.5)


def test_a_series_that_starts_anew_in_the_past_shows_no_fan_of_before():
    fleet = make_fleet()
    feed(fleet, "a", [1.0, 2.0], first=10_000)
    fleet.take_answers(records([answer("a", 0, 1.0)]), START_MS)
    assert [past["origin"] for past in fleet.series("a")["past"]] == []


def test_the_fleet_lists_the_worst_first_and_the_longest_silent_first():
    fleet, now_ms = make_fleet(), START_MS + 3_600_000
    for name, off_by in (("good", 1.0), ("bad", 9.0), ("middling", 4.0)):
        feed(fleet, name, [float(n) for n in range(HORIZON + 1)], off_by=off_by, now_ms=now_ms)
    fleet.take_ticks(records([tick("silent", 0, 1.0)], time_ms=START_MS - 60_000), now_ms)
    glance = fleet.glance(now_ms - 3_600_000 + 290_000)
    assert [one["name"] for one in glance["worst"]] == ["bad", "middling", "good"]
    assert glance["stale"] == [{"name": "silent", "silent_ms": 350_000}]
    assert glance["stale_count"] == 1


def test_series_beyond_the_limit_are_found_and_drawn_once_somebody_looks():
    fleet = make_fleet(web={"max_series": 2})
    for name in ("a", "b", "c"):
        feed(fleet, name, [1.0])
    assert fleet.glance(START_MS)["drawn"] == 2
    assert fleet.search("c") == {"total": 1, "names": ["c"]}
    fleet.watch("b")
    fleet.watch("c")
    feed(fleet, "c", [2.0], first=1)
    assert (fleet.series("c")["kind"], "kind" in fleet.series("b"), "kind" in fleet.series("a")) == (
        "forecast", True, False,
    )  # fmt: skip


def test_a_series_that_somebody_waits_for_is_drawn_when_it_comes_though_the_room_is_taken():
    fleet = make_fleet(web={"max_series": 1})
    fleet.watch("b")
    for name in ("a", "b", "c"):
        feed(fleet, name, [1.0])
    assert ["kind" in fleet.series(name) for name in ("a", "b", "c")] == [False, True, False]


def test_what_is_kept_stays_within_its_bounds_however_long_the_stream(monkeypatch):
    monkeypatch.setattr(fleet_module, "MOST_NAMES", 50)
    fleet = make_fleet(web={"max_series": 3})
    feed(fleet, "a", np.arange(3 * SHORTEST, dtype=float))
    fleet.take_ticks(records([tick(f"s{n}", 0, 1.0) for n in range(80)]), START_MS)
    glance = fleet.glance(START_MS)
    assert (glance["names"], glance["drawn"], glance["counts"]["unnamed"]) == (50, 3, 31)
    shown = fleet.series("a")
    assert len(shown["value"]) == SHORTEST
    assert len(shown["past"]) <= 24
    assert len(Fleet(Settings(), 10**4)._observed.of("x")[0]) == 0
    assert Fleet(Settings(), 10**4)._length == LONGEST


def test_a_long_horizon_is_thinned_to_what_a_screen_can_show():
    fleet = make_fleet()
    many = {"horizon": 5_000, "point": [1.0] * 5_000, "quantiles": {"0.5": [1.0] * 5_000}}
    fleet.take_answers(records([answer("a", 0, 1.0, **many)]), START_MS)
    fan = fleet.series("a")["fan"]
    assert len(fan["step"]) == len(fan["bands"][0]) <= 400
    assert fan["step"][-1] == 5_000


@pytest.mark.parametrize("kind", ["class", "symbols"])
def test_answers_about_codes_are_told_by_their_chances(kind):
    fleet = make_fleet(model={"task": "symbols"})
    fleet.take_ticks(records([tick("a", 0, "x"), tick("a", 1, "y")]), START_MS)
    member = {"class": "probabilities", "symbols": "next"}[kind]
    head = {"kind": kind, "series": "a", "origin": START_MS, "horizon": 1, member: {"x": 0.75, "y": 0.25}}
    fleet.take_answers(records([json.dumps(head).encode()]), START_MS)
    assert fleet.series("a")["chances"] == {"x": 0.75, "y": 0.25}


def test_paths_are_drawn_by_their_quantiles_and_an_unknown_kind_is_not_drawn():
    fleet = make_fleet()
    fleet.take_answers(records([answer("a", 0, 1.0, kind="paths", paths=[[1.0] * HORIZON])]), START_MS)
    assert fleet.series("a")["fan"]["step"] == [1, 2, 3, 4]
    fleet.take_answers(records([answer("a", 1, 1.0, kind="shapes", quantiles={"0.5": {"x": 1}})]), START_MS)
    assert {"fan", "chances"} & fleet.series("a").keys() == set()


CHANNELS = ("heat", "power", "never")


def feed_channels(fleet: Fleet, series: str, steps: range) -> None:
    """Heat climbs by one and is forecast one too high, power by ten and is forecast twenty too high."""
    for n in steps:
        value = {"heat": float(n), "power": None if n == 2 else 10.0 * n}
        fleet.take_ticks(records([tick(series, n, value)]), START_MS)
        middles = {"heat": n + 1.0, "power": 10.0 * n + 20, "never": None}
        fleet.take_answers(records([channels_answer(series, n, middles)]), START_MS)


def test_of_a_multivariate_series_each_channel_has_its_actuals_its_fans_and_its_error():
    fleet, steps = make_fleet(input={"channels": CHANNELS}), range(2 * HORIZON + 1)
    feed_channels(fleet, "a", steps)
    heat, power = (json.loads(as_json(fleet.series("a", name))) for name in ("heat", "power"))
    assert (heat["channel"], heat["value"]) == ("heat", list(steps))
    assert power["value"] == [None if n == 2 else 10 * n for n in steps]
    assert (heat["fan"]["bands"][1][0], power["fan"]["bands"][1][0]) == (9, 100)
    assert [past["bands"][1][0] for past in power["past"]] == [20, 60]
    assert (heat["ratio"], heat["scored"]) == (pytest.approx(1.5 / 2.5), 2)
    # one step of power is missing: the first fan is off by 10, 10 and 20, the last value by 10, 30 and 40
    assert power["ratio"] == pytest.approx((40 / 3 + 10.0) / (80 / 3 + 25.0))


def test_a_channel_that_has_had_no_value_has_neither_a_fan_nor_an_error():
    fleet = make_fleet(input={"channels": CHANNELS})
    feed_channels(fleet, "a", range(2 * HORIZON + 1))
    never = json.loads(as_json(fleet.series("a", "never")))
    assert (set(never["value"]), never["fan"], never["past"]) == ({None}, {}, [])
    assert (never["ratio"], never["scored"]) == (None, 0)


def test_the_worst_channel_stands_for_its_series_and_is_named():
    fleet = make_fleet(input={"channels": CHANNELS})
    feed_channels(fleet, "a", range(HORIZON + 1))
    (worst,) = fleet.glance(START_MS)["worst"]
    assert (worst["name"], worst["channel"]) == ("a", "heat")


def test_a_channel_that_is_unknown_is_the_first_one():
    fleet = make_fleet(input={"channels": CHANNELS})
    feed_channels(fleet, "a", range(2))
    assert fleet.series("a", "none")["channel"] == fleet.series("a")["channel"] == "heat"
    assert make_fleet().series("a", "heat")["channel"] is None


def test_a_series_takes_the_room_of_as_many_as_it_has_channels():
    fleet = make_fleet(input={"channels": CHANNELS}, web={"max_series": 7})
    for name in "abcd":
        feed_channels(fleet, name, range(1))
    assert fleet.glance(START_MS)["drawn"] == 2


@pytest.mark.parametrize(
    "members",
    [{"channels": {}}, {"channels": {"heat": None}}, {"channels": []}, {"channels": {"heat": {"point": [1.0]}}},
     {"kind": "forecast"}, {"channels": {"heat": 1}}],
    ids=str,
)  # fmt: skip
def test_a_multivariate_answer_that_is_none_draws_nothing(members):
    fleet = make_fleet(input={"channels": CHANNELS})
    for n in range(0, 3 * HORIZON, HORIZON):
        body = json.loads(channels_answer("a", n, {"heat": 1.0})) | members
        fleet.take_answers(records([json.dumps(body).encode()]), START_MS)
        fleet.take_ticks(records([tick("a", n + k, {"heat": 1.0}) for k in range(HORIZON)]), START_MS)
    assert not fleet.series("a").get("fan")
    assert not fleet.series("a").get("past")


def test_where_hours_are_closed_the_steps_of_a_fan_are_at_the_times_that_it_tells():
    fleet = make_fleet(stream={"step": "1h", "sessions": {"hours": ["09:00-12:00"]}})
    opens_ms = START_MS + 3_600_000  # nine o'clock on a Wednesday
    hours = [opens_ms + 3_600_000 * (24 * day + hour) for day in (0, 1, 2, 5) for hour in (0, 1, 2)]
    for n, at_ms in enumerate(hours[:-HORIZON]):
        value = json.dumps({"series": "a", "ts": at_ms, "value": float(n)}).encode()
        fleet.take_ticks(records([value], time_ms=at_ms), at_ms)
        body = json.loads(answer("a", 0, n + 1.0)) | {"origin": at_ms, "times": hours[n + 1 : n + 1 + HORIZON]}
        fleet.take_answers(records([json.dumps(body | {"step_ms": 3_600_000}).encode()]), at_ms)
    shown = json.loads(as_json(fleet.series("a")))
    assert shown["step_ms"] is None
    assert shown["fan"]["time_ms"] == hours[-HORIZON:]
    assert shown["ratio"] == pytest.approx(1.5 / 2.5)


@pytest.mark.parametrize("times", [[1], [START_MS] * 5, [-1] * HORIZON, [10**15] * HORIZON])
def test_times_that_are_no_times_of_the_steps_are_counted_as_unreadable(times):
    fleet = make_fleet()
    fleet.take_answers(records([answer("a", 0, 1.0, times=times)]), START_MS)
    assert fleet.glance(START_MS)["counts"]["unreadable"] == 1


def test_one_number_for_the_whole_horizon_is_drawn_over_all_of_it():
    fleet = make_fleet()
    one = {"point": [2.0], "quantiles": {"0.1": [1.0], "0.5": [2.0], "0.9": [3.0]}, "aggregate": "mean"}
    fleet.take_answers(records([answer("a", 0, 0.0, **one)]), START_MS)
    fan = fleet.series("a")["fan"]
    assert (fan["step"], fan["bands"]) == ([1, HORIZON], [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])


@pytest.mark.parametrize(
    "value",
    [answer("caf\xe9", 0, 1.0).replace(b"\\u00e9", b"\xe9"),
     answer("a", 0, 1.0, kind="\xe9").replace(b"\\u00e9", b"\xe9"),
     b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"kind":"forecast","series":"","origin":1}',
     b'{"kind":"forecast","series":"a","origin":1e30}', answer("a", 0, 1.0, horizon=10**18),
     answer("a", 0, 1.0, step_ms=0), answer("a", 0, 1.0, step_ms=10**13, horizon=9_999),
     answer("a", 10**16, 1.0), answer("a", -(10**10), 1.0),
     json.dumps({"kind": "forecast", "series": "x" * 2_000, "origin": 1}).encode(), b" " * 2**21],
)  # fmt: skip
def test_what_is_no_answer_is_counted_and_shown_nowhere(value):
    fleet = make_fleet()
    fleet.take_answers(records([value]), START_MS)
    glance = fleet.glance(START_MS)
    assert (glance["names"], glance["counts"]["unreadable"]) == (0, 1)


@pytest.mark.parametrize(
    "members",
    [{"quantiles": "none"}, {"quantiles": {}}, {"quantiles": {"0.5": [1.0]}}, {"quantiles": {"0.1": [1.0] * HORIZON}},
     {"quantiles": {"0.5": [1.0] * HORIZON, "<b>": [1.0] * HORIZON}}, {"point": [1.0] * 2}, {"horizon": 10_000},
     {"quantiles": {"0.5": [1.0] * HORIZON, "caf\xe9": []}},
     {"quantiles": {"0.5": [1.0] * HORIZON, "1e5": [1.0] * HORIZON}}, {"point": []}, {"point": ["1"] * HORIZON}],
    ids=str,
)  # fmt: skip
def test_an_answer_whose_fan_is_none_is_said_not_to_be_drawn(members):
    fleet = make_fleet()
    feed(fleet, "a", range(2 * HORIZON))
    bad = [answer("a", n * HORIZON, 1.0, **members).replace(b"\\u00e9", b"\xe9") for n in range(3)]
    fleet.take_answers(records(bad), START_MS)
    assert fleet.series("a")["fan"] is None
    assert fleet.series("a")["past"] == []


def test_the_vitals_are_those_of_the_last_minute():
    metrics, vitals = Metrics(), Vitals()
    metrics.show_model("gru", "1", None)
    metrics.series.set(7)
    metrics.tick_to_forecast.observe(np.full(1_000, 200.0))
    for second in range(70):
        metrics.ticks.labels("forecast").inc(10)
        metrics.tick_to_forecast.observe(np.array([0.004]))
        vitals.tell(generate_latest(metrics.registry).decode(), float(second))
    figures = vitals.figures()
    assert (figures["model"], figures["series"], figures["ticks_per_second"]) == ("gru@1", 7, 10.0)
    assert figures["p99_s"] < 0.005


async def _lose_frames() -> tuple[int, list[bytes | None]]:
    viewers = Viewers(5)
    slow, quick = viewers.enter(None), viewers.enter(None)
    for n in range(10):
        viewers.send(slow, b"%d" % n)
        viewers.send(quick, b"%d" % n)
        assert await quick.next() == b"%d" % n
    return viewers.dropped, [await slow.next() for _ in range(QUEUED)]


def test_a_slow_viewer_loses_the_oldest_frames_and_a_quick_one_none():
    assert asyncio.run(_lose_frames()) == (10 - QUEUED, [b"8", b"9"])


async def _frames_of(fleet: Fleet) -> list[bytes]:
    broadcast = Broadcast(fleet, Vitals(), Viewers(5), lambda: START_MS / 1000)
    viewer = broadcast.enter("a")
    frames = [await viewer.next()]
    broadcast.turn()
    frames.append(await viewer.next())
    feed(fleet, "a", [2.0], first=1)
    broadcast.turn()
    frames.append(await viewer.next())
    broadcast.end()
    assert await viewer.next() is None
    return frames


def test_a_frame_has_the_series_only_where_it_has_moved():
    fleet = make_fleet()
    feed(fleet, "a", [1.0])
    assert [frame.count(b"event: series") for frame in asyncio.run(_frames_of(fleet))] == [1, 0, 1]


def test_ticks_without_a_forecast_are_something_new_to_show():
    fleet = make_fleet()
    feed(fleet, "a", [1.0])
    before = fleet.version("a")
    fleet.take_ticks(records([tick("a", 1, 2.0)]), START_MS)
    assert fleet.version("a") > before


def test_a_client_may_ask_in_a_burst_and_then_at_its_rate():
    limit = RequestLimit(5)
    assert [limit.allows("a", 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert limit.allows("b", 0.0)
    assert [limit.allows("a", 0.2), limit.allows("a", 0.2)] == [True, False]


def test_the_clients_that_are_remembered_are_bounded():
    limit = RequestLimit(1)
    for n in range(3 * REMEMBERED):
        limit.allows(str(n), 0.0)
    assert len(limit._left) == REMEMBERED
