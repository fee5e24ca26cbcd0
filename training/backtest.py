"""`forecaster backtest`: every forecast that serving would publish, charged beside naive rivals of the same origin.

The recording goes through the windows, features and engine that serve, state carried from its first
tick to its last. Each observation is an origin (stride 1), and each step whose actual is known counts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from forecaster.aggregates import aggregated, completed_after, trailing
from forecaster.bundle.manifest import Manifest
from forecaster.config import Settings
from forecaster.engines.tile import Emitted
from forecaster.errors import ConfigError
from forecaster.features.running import Features
from forecaster.inference import Inference
from forecaster.networks.kinds import AnyNetwork, make_engine
from forecaster.networks.spec import NetworkSettings
from forecaster.recording import Recording
from forecaster.recording.known_ahead import KnownAhead
from forecaster.records import Float, Int
from forecaster.windows import Block
from training.baselines import WEIGHTED, Rival, best_half_life, residual_quantiles, rivals
from training.metrics import crossings, naive_scale
from training.observed import Observed, observe
from training.origins import Choice, deviations, origin_range
from training.tally import Charges, Tally

CHUNK_NUMBERS = 8_000_000  # forecast at a time: bounds the memory


class NothingToScoreError(ConfigError):
    """No origin that was asked for has a known actual."""


@dataclass(slots=True)
class Results:
    """What came out: a tally by forecaster, the model first; `origin_ms` are each series' scored origins."""

    observed: Observed
    start_ms: int
    tallies: dict[str, Tally]
    origin_ms: list[list[Int]]
    crossings: int = 0
    not_finite: int = 0

    @property
    def series(self) -> list[str]:
        """Names, in the order of the tallies."""
        return self.observed.series

    @property
    def origins(self) -> int:
        """How many forecasts were scored."""
        return sum(len(part) for parts in self.origin_ms for part in parts)


@dataclass(frozen=True, slots=True)
class Part:
    """The model's forecasts from `n` consecutive origins of a series, what came after, and the losses by name.

    `quantiles` are `[n, outputs, levels]`; `actual` and each loss `[n, outputs]`, NaN where it is not known.
    """

    series: str
    origin_ms: Int
    quantiles: Float
    actual: Float
    losses: dict[str, Float]


@dataclass(frozen=True, slots=True)
class _Stretch:
    """Rows [first, first + length) of the block: one run of a series.

    `completed` are what forecasts are of, at the rounds that complete it; they go on for a horizon behind the run.
    """

    slot: int
    first: int
    completed: Float
    rivals: dict[str, Rival]
    half_life: int | None
    charges: Charges


@dataclass(slots=True)
class _Backtest:
    manifest: Manifest
    block: Block
    origin_ms: Int
    start_ms: int
    end_ms: int
    deviation: Float
    paths: int
    known: KnownAhead | None
    tick: Int

    def part(self, rows: slice) -> Block:
        """`rows` of the block, with what their ticks would have told of covariates."""
        block, known = self.block, self.known
        part = Block(block.slot[rows], block.index[rows], block.value[rows], block.trigger[rows], block.fresh[rows])
        if known is None:
            return part
        tick = self.tick[rows]
        return replace(part, covariates=np.where(tick[:, None] >= 0, known.rows(tick), np.nan))

    def stretch(self, first: int, length: int) -> _Stretch:
        """The run that begins at row `first`, with its rivals and what its losses are measured in."""
        block, network, features = self.block, self.manifest.network, self.manifest.features
        slot, values = int(block.slot[first]), block.value[first : first + length]
        state = Features(features)
        state.grow(1)
        step = state.advance(np.zeros(1, np.int64), block.index[first : first + 1], values[None])
        start = int(np.searchsorted(self.origin_ms[first : first + length], self.start_ms))
        seasons = dict(zip(features.season_names(self.manifest.step_ms), features.seasons, strict=True))
        charges = Charges(network.quantiles, self._naive(slot), float(self.deviation[slot]))
        whole = np.concatenate([values, self._behind(first + length, network.horizon)])
        completed = trailing(whole, network.horizon, network.aggregate)
        made = {
            name: _of_horizon(rival, network)
            for name, rival in rivals(step, values, seasons, start, network.horizon).items()
        }
        return _Stretch(slot, first, completed, made, self._half_life(made, completed[:length], start), charges)

    def _half_life(self, made: dict[str, Rival], completed: Float, start: int) -> int | None:
        """That of the rival with weighted quantiles, where there is one."""
        network = self.manifest.network
        ahead = completed_after(network.horizon, network.aggregate)
        levels = np.array(network.quantiles)
        return best_half_life(made[WEIGHTED], completed, start, levels, ahead) if WEIGHTED in made else None

    def _behind(self, row: int, horizon: int) -> Float:
        """Values of the `horizon` steps after the run that ends before `row`, from the series' later runs."""
        block, values = self.block, np.full(horizon, np.nan)
        end = int(np.searchsorted(block.slot, block.slot[row - 1], "right"))
        later = slice(row, min(end, row + horizon))
        ahead = np.arange(1, later.stop - row + 1)
        if self.manifest.step_ms is not None:
            ahead = block.index[later] - block.index[row - 1]
        near = (ahead >= 1) & (ahead <= horizon)  # a clock that was set back goes over the same steps again
        values[ahead[near] - 1] = block.value[later][near]
        return values

    def _naive(self, slot: int) -> float:
        """What MASE divides by: from before the first origin, or from everything where nothing lies before it."""
        season = (*self.manifest.features.seasons, 1)[0]
        rows = slice(*np.searchsorted(self.block.slot, [slot, slot + 1]))
        values, past = self.block.value[rows], self.origin_ms[rows] < self.start_ms
        restarts = np.repeat(np.flatnonzero(self.block.fresh[rows]), season)  # no difference reaches over one
        before = naive_scale(np.insert(np.where(past, values, np.nan), restarts, np.nan), season)
        return before if np.isfinite(before) else naive_scale(np.insert(values, restarts, np.nan), season)

    def chunks(self) -> Iterator[tuple[int, int]]:
        """Consecutive rows [low, high) of the block that hold a bounded number of forecasts."""
        network = self.manifest.network
        most = max(1, CHUNK_NUMBERS // (network.outputs * max(self.paths, len(network.quantiles))))
        taken = self.scored() if self.known is None else np.ones(len(self.block), bool)  # each row has a list ahead
        before = np.concatenate([[0], np.cumsum(taken)])
        low = 0
        while low < len(self.block):
            high = int(np.searchsorted(before, before[low] + most, "right")) - 1
            yield low, high
            low = high

    def scored(self) -> np.ndarray:
        """Rows of the block that are origins: every observation but those filled into gaps, as in serving."""
        return (self.block.trigger >= 0) & (self.origin_ms >= self.start_ms) & (self.origin_ms < self.end_ms)


def _of_horizon(rival: Rival, network: NetworkSettings) -> Rival:
    """`rival` as it forecasts what the model does: every step, or their aggregate."""
    return lambda origin: aggregated(rival(origin), network.aggregate)


def unwatched(_part: Part) -> None:
    """Look at nothing."""


def backtest(
    recording: Recording,
    settings: Settings,
    manifest: Manifest,
    network: AnyNetwork,
    choice: Choice,
    watch: Callable[[Part], None] = unwatched,
) -> Results:
    """Score the model of `manifest` and `network`; `watch` sees its forecasts as they pass.

    Raises `NothingToScoreError` where `choice` leaves no origin with a known actual.
    """
    log, channels = manifest.features.transform == "log", manifest.network.channels
    observed = observe(recording, settings.stream, manifest.context_length, log=log, channels=channels)
    windows, block, origin_ms = observed.windows, observed.block, observed.origin_ms
    start_ms, end_ms = origin_range(block, windows.grid, manifest, choice)
    deviation = deviations(block, windows.grid, choice.normalise_rows, len(observed.series))
    paths = settings.model.sampling.paths if manifest.network.task == "paths" else 0
    known = KnownAhead(recording, settings) if settings.input.covariates else None
    work = _Backtest(manifest, block, origin_ms, start_ms, end_ms, deviation, paths, known, observed.tick)
    results = Results(observed, start_ms, {}, [[] for _ in observed.series])
    for stretch, emitted in _forecasts(work, Inference(manifest.features, make_engine(network), windows), results):
        actual, losses = _score(stretch, emitted, manifest, results)
        watch(Part(results.series[stretch.slot], origin_ms[emitted.row], emitted.quantiles, actual, losses))
        results.origin_ms[stretch.slot].append(origin_ms[emitted.row])
    if not results.tallies or not results.tallies["model"].pairs().any():
        raise NothingToScoreError("--start, --rows: no origin in what is chosen has a known actual after it")
    return results


def _forecasts(work: _Backtest, inference: Inference, results: Results) -> Iterator[tuple[_Stretch, Emitted]]:
    """The forecasts of all origins, a part of one run at a time, in the order of series and time."""
    block, emit = work.block, work.scored()
    first, length = block.runs()
    stretch: _Stretch | None = None
    for low, high in work.chunks():
        emitted = inference.run(work.part(slice(low, high)), emit[low:high])
        emitted = emitted.take(np.argsort(emitted.row))
        finite = emitted.finite()
        results.not_finite += int((~finite & (emitted.seen > 0)).sum())
        emitted = emitted.take(finite & (emitted.seen > 0))  # before the first value there is nothing to forecast from
        emitted = replace(emitted, row=emitted.row + low)
        run = np.searchsorted(first, emitted.row, "right") - 1
        for one in np.unique(run).tolist():
            if stretch is None or stretch.first != first[one]:
                stretch = work.stretch(int(first[one]), int(length[one]))
            yield stretch, emitted.take(run == one)


def _score(stretch: _Stretch, emitted: Emitted, manifest: Manifest, results: Results) -> tuple[Float, dict[str, Float]]:
    """Charge the model and every rival for the forecasts `emitted` from origins of one run.

    Returns the actuals and the model's losses.
    """
    network, levels = manifest.network, manifest.network.quantiles
    origin = emitted.row - stretch.first
    ahead = completed_after(network.horizon, network.aggregate)
    actual = stretch.completed[origin[:, None] + ahead]
    completed = stretch.completed[: len(stretch.completed) - network.horizon]
    results.crossings += crossings(emitted.quantiles)

    def charge(name: str, point: Float, quantiles: Float) -> dict[str, Float]:
        tally = results.tallies.setdefault(name, Tally(len(results.series), network.outputs))
        losses = stretch.charges.losses(actual, point, quantiles)
        tally.add(stretch.slot, losses)
        return losses

    of_model = charge("model", emitted.quantiles[..., levels.index(0.5)], emitted.quantiles)
    for name, rival in stretch.rivals.items():
        half_life = stretch.half_life if name == WEIGHTED else None
        quantiles = residual_quantiles(rival, completed, origin, np.array(levels), ahead, half_life)
        charge(name, rival(origin), quantiles)
    return actual, of_model
