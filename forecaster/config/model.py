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
    """How continuations are drawn from each step's distribution ([how](models/symbols.md#how-paths-are-drawn))."""

    paths: Annotated[int, Field(ge=1, le=1_000)] = 16
    """continuations in each message"""
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """divides the logits: below 1 the likely becomes likelier"""
    top_k: Annotated[int | None, Field(ge=1)] = None
    """so many of the likeliest codes of a step can be drawn"""
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    """the fewest of the likeliest codes of a step that together reach this probability can be drawn"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """with series and origin it decides every draw"""


class ModelSettings(Section):
    """`train` builds it; `run`, `replay` and `check-config` compare it with the bundle and refuse a difference."""

    bundle: Path | None = None
    """folder that `train` wrote"""
    public_key: Path | None = None
    """PEM file of a public Ed25519 key: only a bundle that its owner has [signed](security.md#signed-bundles) is
    served (`pip install "forecaster[signing]"`)"""
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,64}$")] = "gru"
    """shown in every forecast, with the version"""
    task: Task = "forecast"
    """quantiles of the steps ahead; `"paths"` draws continuations of numbers, `"symbols"` of codes, and
    `"classify"` tells which label fits a stream of codes ([which is which](models/symbols.md)); must be the
    bundle's"""
    horizon: Annotated[int, Field(ge=1, le=10_000)] = 24
    """steps forecast"""
    aggregate: Aggregate | None = None
    """`"mean"`, `"min"`, `"max"` or `"last"`: forecast that one number of the horizon in the place of its steps
    ([when](models/recurrent.md#one-number-for-the-whole-horizon)); not for a segment network"""
    quantiles: Quantiles = (0.1, 0.5, 0.9)
    """ascending, in (0, 1), with 0.5 among them"""
    context_length: Annotated[int, Field(ge=2, le=1_000_000)] = 336
    """observations kept, and until a series is ready; also the length of a training window, and what a network over
    windows reads"""
    seasons: tuple[PositiveDuration, ...] | None = None
    """a profile is kept for each, shortest first, such as `["1d", "1w"]`; `[]` for none; if not set, `train`
    chooses among hour, day and week by the validation part"""
    transform: Literal["none", "log"] = "none"
    """or `"log"`, for values above 0 that move in proportion to their size; others are dead letters then"""
    network: NetworkKind = "carried"
    """carries its state from step to step; `"segment"` reads the last `context_length` observations for each
    forecast, in segments; `"encoder-decoder"` reads them step by step, and decodes the horizon step by step
    ([networks over windows](models/windows.md))"""
    segment_length: Annotated[int | None, Field(ge=1)] = None
    """of `network = "segment"`: divides `context_length` and `horizon`; the longest that cuts a context into ten at
    least if not set"""
    short_windows: ShortWindows = "masked"
    """of networks over windows: what a young series is short of is padding that no forecast depends on; with
    `"filled"`, of `network = "segment"` alone, it is the last value"""
    attention: AttentionKind = "none"
    """of `network = "encoder-decoder"`: `"dot"` or `"additive"` lets each step of the horizon look at all steps of
    the window"""
    cell: CellKind = "gru"
    """of the recurrent layers; or `"lstm"`, which carries twice the state; a segment network has a GRU
    ([which](models/recurrent.md))"""
    units: Units = (64,)
    """of each recurrent layer; a network over windows has one layer"""
    precision: Precision = "float32"
    """of a carried network's products in serving; `"bfloat16"` and `"float16"` are faster on GPUs made for them,
    and the start logs by how much forecasts differ"""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5
    """share of the last hidden layer left out, while training"""
    vocabulary_limit: Annotated[int, Field(ge=1, le=65_536)] = 4_096
    """different codes of the training part at most; with more, training is refused"""
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
        if self.task == "paths" and self.horizon < 2:
            raise ValueError('horizon: task = "paths" draws steps that depend on each other: two at least')
        if self.task == "classify" and self.horizon != type(self).model_fields["horizon"].default:
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
            raise ValueError(f"units: {network} has one recurrent layer, not {len(self.units)}")
        if self.aggregate is not None:
            raise ValueError(f"aggregate: {network} forecasts every step of the horizon")
        if self.network == "segment" and self.cell != "gru":
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
    """How `train` splits by time and fits ([training](training.md))."""

    train_fraction: Level = 0.7
    """of the observations in the order of time; all series are cut at the same moment"""
    validation_fraction: Level = 0.15
    """after the training part; what is left is never looked at"""
    epochs: Annotated[int, Field(ge=1)] = 20
    """passes at most, each of `steps_per_epoch` batches"""
    steps_per_epoch: Annotated[int, Field(ge=1)] = 50
    """batches of one epoch"""
    patience: Annotated[int, Field(ge=1)] = 4
    """epochs without a better validation loss, then training stops"""
    batch_size: Annotated[int, Field(ge=1)] = 32
    """windows of one batch"""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3
    """the peak of the one-cycle schedule"""
    sizes: tuple[Units, ...] = ()
    """hidden layers to choose from by validation loss, such as `[[32], [64], [64, 64]]`; if empty, `model.units`"""
    caution: Annotated[float, Field(ge=0, le=10)] = 2.0
    """standard errors of the sign by which a forecast must be surer than chance to leave level and profile; nothing
    to a segment network"""
    teacher_forcing: Annotated[float, Field(ge=0, le=1)] = 0.5
    """of an encoder-decoder: the share of the training over which feeding it the true values falls from always to
    never; after that it is fed its own points, as in serving"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """the same seed gives the same bundle on the same machine"""

    @model_validator(mode="after")
    def _fractions(self) -> "TrainingSettings":
        if self.train_fraction + self.validation_fraction > 1:
            raise ValueError("train_fraction and validation_fraction must not exceed 1 together")
        return self
