"""Small factories for the tests of the line: settings, a network with random weights, record batches, pipelines."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from forecaster.bundle.manifest import Manifest
from forecaster.bundle.store import named_weights
from forecaster.config import Aggregate, AttentionKind, CellKind, Settings, ShortWindows
from forecaster.engines.tile import ServingEngine
from forecaster.features.settings import FeatureSettings
from forecaster.networks.codes import CodeNetwork
from forecaster.networks.encoder_decoder import EncoderDecoder
from forecaster.networks.kinds import AnyNetwork, make_engine
from forecaster.networks.many_to_many import Network
from forecaster.networks.multivariate import ChannelNetwork
from forecaster.networks.paths import PathNetwork
from forecaster.networks.segments import SegmentNetwork
from forecaster.networks.spec import NetworkSettings
from forecaster.pipeline import Output, Pipeline
from forecaster.records import Headers, RecordBatch

START_MS = 1_714_550_400_000
FEATURES = FeatureSettings(
    seasons=(4,),
    level_spans=(6.0, 20.0),
    residual_spans=(1.0, 5.0),
    scale_span=12.0,
    profile_rate=0.1,
    recent_rates=(0.3, 1.0),
)
WINDOWED = FEATURES.model_copy(update={"level_spans": (6.0, 20.0, 1.0)})  # for a segment network
FLAT = FeatureSettings(level_spans=(1.0, 6.0), residual_spans=(3.0,), scale_span=12.0)  # for step = "tick"
CODED = FeatureSettings(level_spans=(1.0,), scale_span=1.0)  # for codes
CONTEXT = 8


class Row(NamedTuple):
    """One raw record."""

    value: bytes | None
    partition: int = 0
    offset: int = 0
    key: bytes | None = None
    headers: Headers = ()
    timestamp_ms: int = -1
    silent: bool = False


class Tick(NamedTuple):
    """One well-formed tick; `step` counts steps of a second from `START_MS`."""

    series: str
    step: float
    value: float | str | dict[str, float | None] | None
    partition: int = 0


def network(
    *,
    units: tuple[int, ...] = (6, 5),
    horizon: int = 3,
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9),
    features: FeatureSettings = FEATURES,
    seed: int = 0,
    cell: CellKind = "gru",
    aggregate: Aggregate | None = None,
) -> Network:
    """A network whose every weight is random, so that nothing that reaches it goes unseen.

    The same arguments give the same network: what was compiled for it is shared.
    """
    shape = NetworkSettings(
        inputs=len(features.input_names), recents=features.recents, known=features.covariates.ahead, units=units,
        horizon=horizon, quantiles=quantiles, cell=cell, aggregate=aggregate,
    )  # fmt: skip
    return _network(shape, seed)


@cache
def _network(shape: NetworkSettings, seed: int) -> Network:
    made = Network(shape, seed)
    randomise(made, seed, 0.5)
    return made


@cache
def channel_network(
    channels: tuple[str, ...],
    *,
    units: tuple[int, ...] = (6, 5),
    horizon: int = 3,
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9),
    cell: CellKind = "gru",
    aggregate: Aggregate | None = None,
) -> ChannelNetwork:
    """The same for multivariate series."""
    shape = NetworkSettings(
        channels=channels, inputs=len(FEATURES.input_names) + 1, recents=FEATURES.recents, units=units,
        horizon=horizon, quantiles=quantiles, cell=cell, aggregate=aggregate,
    )  # fmt: skip
    made = ChannelNetwork(shape, 0)
    randomise(made, 0, 0.5)
    return made


@cache
def segment_network(
    *,
    units: int = 5,
    horizon: int = 4,
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9),
    length: int = 2,
    seed: int = 0,
    short_windows: ShortWindows = "filled",
    context: int = CONTEXT,
) -> SegmentNetwork:
    """The same over windows of `CONTEXT` observations; it takes features that have the last value."""
    shape = NetworkSettings(
        kind="segment", segment_length=length, short_windows=short_windows, inputs=context, units=(units,),
        horizon=horizon, quantiles=quantiles,
    )  # fmt: skip
    made = SegmentNetwork(shape, seed)
    randomise(made, seed, 0.5)
    return made


@cache
def encoder_decoder(
    *,
    attention: AttentionKind = "none",
    features: FeatureSettings = FEATURES,
    cell: CellKind = "gru",
    units: int = 5,
    horizon: int = 4,
    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9),
    context: int = CONTEXT,
) -> EncoderDecoder:
    """The same of an encoder and a decoder."""
    shape = NetworkSettings(
        kind="encoder-decoder", short_windows="masked", attention=attention, calendar=features.calendar,
        features=len(features.input_names), recents=features.recents, inputs=context, cell=cell, units=(units,),
        horizon=horizon, quantiles=quantiles,
    )  # fmt: skip
    made = EncoderDecoder(shape, 0)
    randomise(made, 0, 0.5)
    return made


@cache
def code_network(
    *,
    labels: tuple[str, ...] = (),
    codes: tuple[str, ...] = ("up", "flat", "down"),
    units: tuple[int, ...] = (6, 5),
    horizon: int = 4,
    cell: CellKind = "gru",
    seed: int = 0,
) -> CodeNetwork:
    """The same for codes: what comes next of them, or which of the `labels` it is."""
    shape = NetworkSettings(
        task="classify" if labels else "symbols",
        vocabulary=codes,
        labels=labels,
        inputs=1,
        cell=cell,
        units=units,
        horizon=1 if labels else horizon,
        quantiles=(0.5,),
    )
    made = CodeNetwork(shape, seed)
    randomise(made, seed, 0.7)
    return made


@cache
def path_network(
    *,
    units: tuple[int, ...] = (6, 5),
    horizon: int = 5,
    features: FeatureSettings = FEATURES,
    cell: CellKind = "gru",
    seed: int = 0,
) -> PathNetwork:
    """The same for sampled paths of values, among six bins."""
    shape = NetworkSettings(
        task="paths",
        bins=(-4.0, -1.5, -0.5, 0.0, 0.5, 1.5, 4.0),
        seasons=features.seasons,
        inputs=len(features.input_names),
        recents=features.recents,
        cell=cell,
        units=units,
        horizon=horizon,
        quantiles=(0.1, 0.5, 0.9),
    )
    made = PathNetwork(shape, seed)
    randomise(made, seed, 0.5)
    return made


def randomise(made: AnyNetwork, seed: int, spread: float) -> None:
    draw = np.random.default_rng(seed)
    for weight in named_weights(made).values():
        weight.assign(draw.normal(0, spread, tuple(weight.shape)).astype(np.float32))


@cache
def compiled(made: AnyNetwork) -> ServingEngine:
    """The one engine whose compiled functions all pipelines of `made` share."""
    return make_engine(made)


def with_inputs_of(made: Network, features: FeatureSettings) -> Network:
    """The network like `made` that takes `features`."""
    of = made.settings
    return network(units=of.units, horizon=of.horizon, features=features, cell=of.cell, aggregate=of.aggregate)


def share_compiled(engine: ServingEngine, made: AnyNetwork) -> None:
    """Give `engine` the compiled functions of every other one of `made`."""
    functions = {"_step", "_advance", "_head", "_call"}
    vars(engine).update({name: made for name, made in vars(compiled(made)).items() if name in functions})


def features_of(made: AnyNetwork) -> FeatureSettings:
    if isinstance(made, CodeNetwork):
        return CODED
    return WINDOWED if isinstance(made, SegmentNetwork) else FEATURES


def manifest(made: AnyNetwork, *, features: FeatureSettings | None = None, **changes: Any) -> Manifest:
    features = features or features_of(made)
    content: dict[str, Any] = {"name": "test", "version": "1", "step_ms": 1_000, "bar": None, "training": {}}
    content |= {"context_length": CONTEXT, "features": features, "network": made.settings}
    content |= {"kind": made.settings.message_kind}
    return Manifest(**(content | changes))


def pipeline(
    settings: Settings | None = None,
    made: AnyNetwork | None = None,
    *,
    features: FeatureSettings | None = None,
    **changes: Any,
) -> Pipeline:
    """A pipeline without any state; compiling is shared with every other one of the same network."""
    settings = settings or Settings()
    made = made or network(features=features or FEATURES)
    of_stream = {"step_ms": settings.stream.step, "bar": settings.stream.bar}
    line = Pipeline(settings, manifest(made, features=features, **(of_stream | changes)), made)
    share_compiled(line.inference.engine, made)
    return line


def records_of(ticks: Iterable[Tick], first_offset: int = 0) -> list[Row]:
    """One record a tick; offsets count up in each partition."""
    made, offsets = [], {}
    for tick in ticks:
        offset = offsets[tick.partition] = offsets.get(tick.partition, first_offset - 1) + 1
        time_ms = START_MS + round(tick.step * 1_000)
        content = json.dumps({"series": tick.series, "ts": time_ms, "value": tick.value}).encode()
        made.append(Row(content, tick.partition, offset, tick.series.encode(), timestamp_ms=time_ms))
    return made


def batch(records: Sequence[Row]) -> RecordBatch:
    """`records` as one poll brings them: grouped by partition."""
    ordered = sorted(records, key=lambda row: row.partition)
    return RecordBatch(
        topic="ticks",
        partition=np.array([row.partition for row in ordered], np.int64),
        offset=np.array([row.offset for row in ordered], np.int64),
        timestamp_ms=np.array([row.timestamp_ms for row in ordered], np.int64),
        key=[row.key for row in ordered],
        value=[row.value for row in ordered],
        headers=[row.headers for row in ordered],
        silent=np.array([row.silent for row in ordered], bool),
    )


def polls(records: Sequence[Row], cuts: Iterable[int]) -> list[RecordBatch]:
    """`records` as polls that end at `cuts`."""
    inside = sorted({cut for cut in cuts if 0 < cut < len(records)})
    return [batch(records[low:high]) for low, high in pairwise([0, *inside, len(records)])]


def run(line: Pipeline, records: Sequence[Row], cuts: Iterable[int] = ()) -> list[Output]:
    return [line.process(poll) for poll in polls(records, cuts)]


def published(outputs: Iterable[Output], topic: str = "forecasts") -> list[dict[str, Any]]:
    """Every published forecast, parsed, with its series' scale beside it."""
    found = []
    for output in outputs:
        messages = [message for message in output.messages if message.topic == topic]
        for message, scale in zip(messages, output.forecasts.scale.tolist(), strict=True):
            found.append(json.loads(message.value or b"") | {"scale": scale})
    return found


def by_source(forecasts: Iterable[dict[str, Any]]) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Forecasts under series, partition, offset, index and origin."""
    table: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for forecast in forecasts:
        source = forecast["source"]
        key = (forecast["series"], source["partition"], source["offset"], source["index"], forecast["origin"])
        table.setdefault(key, []).append(forecast)
    return table


def assert_equal(left: Sequence[dict[str, Any]], right: Sequence[dict[str, Any]]) -> None:
    """Hold two lists of forecasts equal, numbers within |a − b| ≤ 1e-5 · max(1, |value|, scale)."""
    assert [_names(forecast) for forecast in left] == [_names(forecast) for forecast in right]
    for one, other in zip(left, right, strict=True):
        for column in ("point", "quantiles"):
            a, b = _numbers(one[column]), _numbers(other[column])
            tolerance = 1e-5 * np.maximum(max(1.0, one["scale"]), np.abs(a))
            assert (np.abs(a - b) <= tolerance).all(), (one, other)


def _names(forecast: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in forecast.items() if name not in {"point", "quantiles", "scale"}}


def _numbers(column: Any) -> np.ndarray:
    return np.array(list(column.values()) if isinstance(column, dict) else column, np.float64)
