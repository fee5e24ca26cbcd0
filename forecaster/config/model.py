"""The model: what is trained, how, and what a bundle is held against."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from forecaster.config.durations import PositiveDuration
from forecaster.config.section import Section


def _ordered_quantiles(levels: tuple[float, ...]) -> tuple[float, ...]:
    if 0.5 not in levels:
        raise ValueError("must contain 0.5, which is the published point")
    if list(levels) != sorted(set(levels)):
        raise ValueError("must ascend without repeats")
    return levels


def check_segments(segment_length: int, context_length: int, horizon: int) -> None:
    """Raise `ValueError` where `segment_length` does not cut both a window and a horizon into whole segments."""
    if context_length % segment_length or horizon % segment_length:
        raise ValueError(
            f"segment_length: {segment_length} must divide the context_length, {context_length}, "
            f"and the horizon, {horizon}"
        )


NetworkKind = Literal["carried", "segment", "encoder-decoder"]
ShortWindows = Literal["masked", "filled"]
AttentionKind = Literal["none", "dot", "additive"]
Task = Literal["forecast", "symbols", "classify", "paths"]
CODED: frozenset[Task] = frozenset(("symbols", "classify"))  # tasks whose values are codes
CellKind = Literal["gru", "lstm"]
Aggregate = Literal["mean", "min", "max", "last"]
Precision = Literal["float32", "bfloat16", "float16"]
Level = Annotated[float, Field(gt=0, lt=1)]
Quantiles = Annotated[tuple[Level, ...], AfterValidator(_ordered_quantiles)]
Units = Annotated[tuple[Annotated[int, Field(ge=1, le=4096)], ...], Field(min_length=1, max_length=8)]


class SamplingSettings(Section):
    """How continuations are drawn from the distribution of each step; `top_k` and `top_p` keep its likeliest part."""

    paths: Annotated[int, Field(ge=1, le=1_000)] = 16
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    top_k: Annotated[int | None, Field(ge=1)] = None
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class ModelSettings(Section):
    """The bundle to serve; the rest is what `train` builds (and `run` holds a bundle against)."""

    bundle: Path | None = None
    public_key: Path | None = None
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = "gru"
    task: Task = "forecast"
    horizon: Annotated[int, Field(ge=1, le=10_000)] = 24
    aggregate: Aggregate | None = None
    quantiles: Quantiles = (0.1, 0.5, 0.9)
    context_length: Annotated[int, Field(ge=2, le=1_000_000)] = 336
    seasons: tuple[PositiveDuration, ...] | None = None
    transform: Literal["none", "log"] = "none"
    network: NetworkKind = "carried"
    segment_length: Annotated[int | None, Field(ge=1)] = None
    short_windows: ShortWindows = "masked"
    attention: AttentionKind = "none"
    cell: CellKind = "gru"
    units: Units = (64,)
    precision: Precision = "float32"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    vocabulary_limit: Annotated[int, Field(ge=1, le=65_536)] = 4_096
    sampling: SamplingSettings = SamplingSettings()

    @property
    def coded(self) -> bool:
        """Whether the values of ticks are codes rather than numbers."""
        return self.task in CODED

    @model_validator(mode="after")
    def _tasks(self) -> "ModelSettings":
        if self.task != "forecast" and self.network != "carried":
            raise ValueError(f'network: task = "{self.task}" has a carried network')
        if self.task != "forecast" and self.aggregate is not None:
            raise ValueError(f'aggregate: task = "{self.task}" has none: it is of task = "forecast"')
        if self.task == "paths" and self.cell != "gru":
            raise ValueError('cell: task = "paths" has "gru"')
        if self.task == "paths" and self.horizon < 2:
            raise ValueError('horizon: task = "paths" draws steps that depend on each other: two at least')
        if self.task == "classify" and "horizon" in self.model_fields_set:
            raise ValueError('horizon: task = "classify" tells what is, not steps ahead')
        if self.coded and self.transform != "none":
            raise ValueError(f'transform: the values of task = "{self.task}" are codes, which have no logarithm')
        if self.coded and self.seasons:
            raise ValueError(f'seasons: the values of task = "{self.task}" are codes, which have no profile')
        return self

    @model_validator(mode="after")
    def _windowed(self) -> "ModelSettings":
        if self.network != "carried":
            self._check_over_windows()
        if self.network == "encoder-decoder":
            if self.short_windows != "masked":
                raise ValueError('short_windows: network = "encoder-decoder" knows only "masked"')
        elif self.attention != "none":
            raise ValueError('attention: only network = "encoder-decoder" has it')
        return self

    def _check_over_windows(self) -> None:
        network = f'network = "{self.network}"'
        if len(self.units) > 1:
            raise ValueError(f"units: {network} has one GRU layer, not {len(self.units)}")
        if self.aggregate is not None:
            raise ValueError(f"aggregate: {network} forecasts every step of the horizon")
        if self.cell != "gru":
            raise ValueError(f'cell: {network} has a GRU, not "{self.cell}"')

    @model_validator(mode="after")
    def _segments(self) -> "ModelSettings":
        if self.network != "segment":
            if self.segment_length is not None:
                raise ValueError('segment_length: only network = "segment" has segments')
            return self
        check_segments(self.segment_length or 1, self.context_length, self.horizon)
        return self


class TrainingSettings(Section):
    """How `train` splits by time and fits."""

    train_fraction: Level = 0.7
    validation_fraction: Level = 0.15
    epochs: Annotated[int, Field(ge=1)] = 20
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    patience: Annotated[int, Field(ge=1)] = 4
    batch_size: Annotated[int, Field(ge=1)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    sizes: tuple[Units, ...] = ()
    caution: Annotated[float, Field(ge=0, le=10)] = 2.0
    teacher_forcing: Annotated[float, Field(ge=0, le=1)] = 0.5
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0

    @model_validator(mode="after")
    def _fractions(self) -> "TrainingSettings":
        if self.train_fraction + self.validation_fraction > 1:
            raise ValueError("train_fraction and validation_fraction must not exceed 1 together")
        return self
