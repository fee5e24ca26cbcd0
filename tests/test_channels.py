"""Multivariate series in the line: each channel is forecast as a series of its own would be, by one message a tick."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from builders import (
    CONTEXT,
    FEATURES,
    Tick,
    assert_equal,
    batch,
    channel_network,
    manifest,
    network,
    pipeline,
    published,
    records_of,
    run,
)
from checkpoints import assert_same_state, checkpointed, offsets_after, state_of
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from test_pipeline import KINDS, assert_same_set, cut_lists, held_ticks, streams, totals

from forecaster.bundle.store import named_weights
from forecaster.config import InputSettings, Settings, StreamSettings
from forecaster.errors import ConfigError
from forecaster.networks.many_to_many import Network
from forecaster.networks.multivariate import ChannelNetwork

CHANNELS = ("temperature", "pressure", "flow")
SCHEMA = json.loads((Path(__file__).parents[1] / "docs" / "forecast.schema.json").read_text("utf-8"))
FEW = {"max_examples": 25, "deadline": None}
EMIT = st.sampled_from(["every", "latest"])


@st.composite
def multivariate(draw):
    """The ticks of `streams` with a value for each of the channels, some of which are null, or are not there."""
    random = np.random.default_rng(draw(st.integers(0, 2**32)))

    def value(tick):
        if tick.value is None:
            return None
        channels = {name: float(random.normal(tick.value)) for name in CHANNELS if random.random() < 0.8}
        return channels | {name: None for name in channels if random.random() < 0.2} | {"else": "text"}

    return [tick._replace(value=value(tick)) for tick in draw(streams())]


def setup(kind=None, *, emit="every", channels=CHANNELS, **more):
    return Settings(emit=emit, stream=StreamSettings(**kind or {}), input=InputSettings(channels=channels), **more)


def of_channel(records, name):
    """The ticks of one channel as those of plain series."""

    def plain(row):
        tick = json.loads(row.value)
        return row._replace(value=json.dumps(tick | {"value": (tick["value"] or {}).get(name)}).encode())

    return [plain(row) for row in records]


def apart(messages, name):
    """The forecasts of one channel, as messages of plain series have them."""
    found = []
    for message in messages:
        whole = {key: part for key, part in message.items() if key not in {"channels", "maturity"}}
        if (one := message["channels"][name]) is not None:
            found.append(whole | one | {"kind": "forecast", "scale": message["scale"][CHANNELS.index(name)]})
    return found


def without_maturity(messages):
    return [{key: part for key, part in message.items() if key != "maturity"} for message in messages]


def all_alike(made: ChannelNetwork) -> Network:
    """Give all channels of `made` the embedding of the first; returns the plain network that does the same."""
    embedding = made.embedding.embeddings.numpy()
    embedding[:] = embedding[0]
    made.embedding.embeddings.assign(embedding)
    shape = made.settings.model_copy(update={"channels": (), "inputs": made.settings.inputs - 1})
    plain = Network(shape, 0)
    for name, theirs in ((layer.name, layer) for layer in made.parts[1:]):
        ours = next(layer for layer in plain.parts if layer.name == name)
        for weight, given_ in zip(ours.weights, theirs.weights, strict=True):
            weight.assign(given_.numpy()[: weight.shape[0]])
    inputs, first, theirs = shape.inputs, plain.recurrent[0].cell, made.recurrent[0].cell
    bias = first.bias.numpy()
    bias[0] += embedding[0] @ theirs.kernel.numpy()[inputs:]
    first.bias.assign(bias)
    plain.output_layer.bias.assign(made.output_layer.bias.numpy() + embedding[0] @ made.skip.kernel.numpy()[inputs:])
    return plain


MADE = channel_network(CHANNELS)
ALIKE = channel_network(CHANNELS, units=(7,), horizon=4)
PLAIN = all_alike(ALIKE)


@given(multivariate(), cut_lists, KINDS, EMIT)
@settings(**FEW)
def test_channels_with_one_embedding_are_forecast_as_series_of_their_own(ticks, cuts, kind, emit):
    records = records_of(ticks)
    outputs = run(pipeline(setup(kind, emit=emit), ALIKE), records, cuts)
    for name in CHANNELS:
        alone = run(
            pipeline(Settings(emit=emit, stream=StreamSettings(**kind)), PLAIN), of_channel(records, name), cuts
        )
        assert_equal(apart(published(outputs), name), without_maturity(published(alone)))


@cache
def turned(order: tuple[int, ...]) -> ChannelNetwork:
    """The network that has the channels of `MADE` in another order."""
    channels = tuple(CHANNELS[n] for n in order)
    made = ChannelNetwork(MADE.settings.model_copy(update={"channels": channels}), 0)
    for weight, theirs in zip(named_weights(made).values(), named_weights(MADE).values(), strict=True):
        weight.assign(theirs)
    made.embedding.embeddings.assign(MADE.embedding.embeddings.numpy()[list(order)])
    return made


@given(multivariate(), st.sampled_from([(2, 0, 1), (1, 0, 2)]), KINDS)
@settings(**FEW)
def test_the_order_of_the_channels_is_nothing_but_an_order(ticks, order, kind):
    records, made = records_of(ticks), turned(order)
    channels = made.settings.channels
    ours = published(run(pipeline(setup(kind), MADE), records))
    theirs = published(run(pipeline(setup(kind, channels=channels), made), records))
    for message in theirs:
        message["scale"] = [message["scale"][channels.index(name)] for name in CHANNELS]
    for name in CHANNELS:
        assert_equal(apart(theirs, name), apart(ours, name))


@given(multivariate(), cut_lists, KINDS)
@settings(**FEW)
def test_where_a_poll_ends_changes_nothing_and_every_tick_has_one_outcome(ticks, cuts, kind):
    records, lines = records_of(ticks), [pipeline(setup(kind), MADE) for _ in range(2)]
    whole, cut = run(lines[0], records), run(lines[1], records, cuts)
    assert totals(whole) == totals(cut)
    assert totals(cut).total() + held_ticks(lines[1]) == len(ticks)
    for name in CHANNELS:
        assert_same_set(apart(published(cut), name), apart(published(whole), name))
    for message in published(cut):
        del message["scale"]
        Draft202012Validator(SCHEMA).validate(message)


@given(multivariate(), st.integers(0, 60), KINDS, st.sampled_from(["float32", "float16"]))
@settings(**FEW)
def test_a_checkpoint_at_any_cut_is_the_state_and_the_rest_gives_the_same(ticks, cut, kind, window_type):
    records, state = records_of(ticks), {"state": {"window_type": window_type}}
    undisturbed = published(run(pipeline(setup(kind, **state), MADE), records))
    line, restored = (pipeline(setup(kind, **state), MADE) for _ in range(2))
    run(line, records[:cut])
    offsets = offsets_after(records[:cut])
    topic = checkpointed(line, offsets)
    for partition, offset in offsets.items():
        found = topic.find(restored, partition, offset)
        assert found.problems == ()
        assert restored.load(partition, found.checkpoint) == len(line.windows.slots.of(partition))
        if window_type == "float32":
            assert_same_state(state_of(restored, partition), state_of(line, partition))
    after = published(run(restored, records[cut:]))
    expected = [f for f in undisturbed if f["source"]["offset"] >= offsets.get(f["source"]["partition"], 0)]
    for name in CHANNELS:
        assert_same_set(apart(after, name), apart(expected, name))


def steady(rounds, value=lambda step: {"temperature": 20.0 + step % 4, "pressure": 3.0, "flow": None}):
    return [Tick("boiler", step, value(step)) for step in range(rounds)]


def test_a_channel_without_any_value_is_null_and_the_others_decide_what_is_ready():
    messages = published(run(pipeline(setup(), MADE), records_of(steady(CONTEXT + 1))))
    assert [message["channels"]["flow"] for message in messages] == [None] * (CONTEXT + 1)
    assert [message["maturity"] for message in messages] == ["warming"] * (CONTEXT - 1) + ["ready"] * 2
    late = steady(1, lambda _: {"flow": 1.0})[0]._replace(step=CONTEXT + 1)
    (message,) = published(run(pipeline(setup(), MADE), records_of([*steady(CONTEXT + 1), late])))[-1:]
    assert message["maturity"] == "warming", "a channel that has just begun is not ready"
    assert None not in message["channels"].values()


def test_a_tick_without_any_value_before_the_first_is_rejected():
    (output,) = run(
        pipeline(setup(), MADE), records_of([Tick("a", 0, {}), Tick("b", 0, None), Tick("a", 1, {"flow": 2})])
    )
    assert +output.outcomes == {"rejected": 2, "forecast": 1}


def test_what_another_bundle_left_is_rebuilt_from_the_windows_of_every_channel():
    line, other = pipeline(setup(), MADE), pipeline(setup(), MADE, version="2")
    other.identity = other.identity.__class__(**{
        name: getattr(other.identity, name) for name in ("stream", "context_length", "features", "network", "layout")
    }, bundle=other.identity.bundle.model_copy(update={"weights_sha256": "other"}))  # fmt: skip
    records = records_of(steady(CONTEXT))
    run(line, records)
    found = checkpointed(line, {0: CONTEXT}).find(other, 0, CONTEXT)
    assert other.load(0, found.checkpoint) == 1
    rows = line.inference.rows(np.zeros(1, np.int64)), other.inference.rows(np.zeros(1, np.int64))
    assert {array.shape[1] for array in rows[1].values()} == {len(CHANNELS)}
    assert (rows[1]["hidden.0"] != 0).all(), "made anew, though the checkpoint's was not to be used"


def test_a_checkpoint_of_other_channels_is_refused():
    line = pipeline(setup(), MADE)
    run(line, records_of(steady(3)))
    renamed = ("temperature", "pressure", "level")
    other = pipeline(setup(channels=renamed), channel_network(renamed))
    (problem,) = checkpointed(line, {0: 3}).find(other, 0, 3).problems
    assert problem[0] == "other_settings"
    assert "channels" in problem[1]


def test_series_that_leave_take_all_of_their_channels_along():
    line = pipeline(setup(state={"max_series": 2}), MADE)
    names = ["a", "b", "c"]
    for step, name in enumerate(names):
        run(line, records_of([Tick(name, step, dict.fromkeys(CHANNELS, 1.0))]))
    assert len(line.windows.slots) == 2
    gone = [slot for slot, name in enumerate(line.windows.slots.names) if not name]
    rows = line.windows.channels.rows(np.array(gone))
    assert (line.windows.rings.rounds[rows] == 0).all()
    assert (line.inference.features.seen[rows] == 0).all()
    kept = line.windows.channels.rows(np.flatnonzero(line.windows.slots.names != np.array("")))
    assert (line.inference.features.seen[kept] == 1).all()


def test_the_maximum_of_the_horizon_is_one_number_a_channel():
    made = channel_network(CHANNELS, aggregate="max")
    (message,) = published(run(pipeline(setup(), made), records_of(steady(9))))[-1:]
    assert message["aggregate"] == "max"
    assert len(message["channels"]["pressure"]["point"]) == 1
    del message["scale"]
    Draft202012Validator(SCHEMA).validate(message)


def test_with_logarithms_a_channel_that_is_not_above_0_dead_letters_the_tick_and_is_named():
    logs = FEATURES.model_copy(update={"transform": "log"})
    line = pipeline(setup(), MADE, features=logs)
    ticks = [Tick("a", 0, {"flow": 2.0, "pressure": 1.0}), Tick("a", 1, {"flow": -1.0, "pressure": 1.0})]
    (output,) = run(line, records_of(ticks))
    assert +output.outcomes == {"forecast": 1, "rejected": 1}
    (fault,) = output.faults.values()
    assert (fault.reason, fault.error.split(",")[0]) == ("not_positive", "tick 0: flow: not above 0")


def test_a_field_that_is_no_number_dead_letters_the_record_and_is_named():
    line = pipeline(setup(), MADE)
    values = [{"flow": "much"}, {"flow": 1e300}, 3.0, {"flow": 1.0, "note": {"by": [1]}}, [1.0]]
    output = line.process(batch(records_of([Tick("a", n, value) for n, value in enumerate(values)])))
    assert [(row, fault.reason) for row, fault in sorted(output.faults.items())] == [
        (0, "wrong_type"), (1, "not_finite"), (2, "wrong_type"), (4, "wrong_type"),
    ]  # fmt: skip
    assert "flow" in output.faults[0].error
    assert "flow" in output.faults[1].error
    assert len(output.forecasts) == 1


def test_numbers_that_are_text_are_read_where_the_feed_writes_them_so():
    settings_ = Settings(input=InputSettings(channels=CHANNELS, value_format="numeric_string"))
    ticks = [Tick("a", 0, {"flow": "1.5", "pressure": None}), Tick("a", 1, {"flow": "1_5"})]
    output = pipeline(settings_, MADE).process(batch(records_of(ticks)))
    assert [fault.error for fault in output.faults.values()] == ["tick 0: flow: '1_5' is no number"]
    assert len(output.forecasts) == 1


@pytest.mark.parametrize("channels", [(), CHANNELS[:2], (*CHANNELS[:2], "level")])
def test_a_bundle_of_other_channels_is_refused(channels):
    with pytest.raises(ConfigError, match=r"input\.channels: the configuration says .*flow"):
        manifest(MADE).check_stream(Settings(input=InputSettings(channels=channels)))


def test_a_bundle_without_channels_is_refused_where_some_are_configured():
    with pytest.raises(ConfigError, match=r"input\.channels"):
        manifest(network()).check_stream(setup())


def test_untrained_embeddings_do_not_tell_channels_apart():
    fresh = ChannelNetwork(MADE.settings, seed=3)
    random = np.random.default_rng(0)
    features, recent = random.normal(size=(1, MADE.settings.inputs)), np.zeros((3, 3, FEATURES.recents), np.float32)
    inputs = np.repeat(features, 3, axis=0).astype(np.float32)
    inputs[:, -1] = range(3)
    quantiles, _ = fresh.step(
        [np.zeros((3, width), np.float32) for width in fresh.state_widths.values()], inputs, recent
    )
    rows = np.asarray(quantiles)
    np.testing.assert_allclose(rows, np.broadcast_to(rows[0], rows.shape), rtol=0, atol=1e-6)
