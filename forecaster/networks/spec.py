"""What describes a network: enough to build it, checked without TensorFlow."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt, model_validator

from forecaster.config import (
    CODED,
    Aggregate,
    AttentionKind,
    CellKind,
    NetworkKind,
    Quantiles,
    Settings,
    ShortWindows,
    Task,
    check_segments,
)
from forecaster.errors import ConfigError

MOST_CODE = 256  # characters

CodeText = Annotated[str, Field(min_length=1, max_length=MOST_CODE)]
MessageKind = Literal["forecast", "class", "symbols", "paths", "multivariate"]
KINDS: dict[Task, MessageKind] = {"forecast": "forecast", "classify": "class", "symbols": "symbols", "paths": "paths"}


class NetworkSettings(BaseModel):
    """Shape of the network. `quantiles` ascend and contain 0.5.

    A "carried" network takes `inputs` features of one observation, and of each horizon step `recents` and `known`
    numbers of its covariates, a "segment" network a window of `inputs` observations, in segments of
    `segment_length`. What a window is short of is padding, which is masked, or was filled by the bundles that knew no
    other. An "encoder-decoder" takes such a window with `calendar` terms of each step, of the horizon too, and of the
    newest observation the `features` and `recents` that a carried network takes. One for codes knows those of its
    `vocabulary` and takes the id of one, and tells `labels` apart or the code that comes next. One for paths draws
    scaled values between the edges of `bins`, which ascend, and knows the calendar of `seasons`. With an `aggregate`
    of the horizon that is all that is forecast, and `recents` and `known` are of it. Of multivariate series a carried
    network knows the `channels`, and takes the number of one as the last of its `inputs`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: NetworkKind = "carried"
    task: Task = "forecast"
    segment_length: PositiveInt | None = None
    short_windows: ShortWindows = "filled"
    attention: AttentionKind = "none"
    calendar: NonNegativeInt = 0
    features: NonNegativeInt = 0
    vocabulary: tuple[CodeText, ...] = ()
    labels: tuple[CodeText, ...] = ()
    bins: tuple[float, ...] = ()
    seasons: tuple[PositiveInt, ...] = ()
    channels: tuple[CodeText, ...] = ()
    inputs: PositiveInt
    recents: NonNegativeInt = 0
    known: NonNegativeInt = 0
    cell: CellKind = "gru"
    units: tuple[PositiveInt, ...] = Field(min_length=1)
    horizon: PositiveInt
    aggregate: Aggregate | None = None
    quantiles: Quantiles
    dropout: float = Field(default=0.0, ge=0, lt=1)

    @property
    def coded(self) -> bool:
        """Whether the values it takes are codes."""
        return self.task in CODED

    @property
    def message_kind(self) -> MessageKind:
        """Of the messages that its forecasts make."""
        return "multivariate" if self.channels else KINDS[self.task]

    @model_validator(mode="after")
    def _fits_its_task(self) -> "NetworkSettings":
        if self.kind != "carried" and self.task != "forecast":
            raise ValueError(f'kind: task = "{self.task}" has a carried network')
        if self.task != "forecast" and self.aggregate is not None:
            raise ValueError(f'aggregate: task = "{self.task}" has none')
        if self.channels and (self.task, self.kind) != ("forecast", "carried"):
            raise ValueError("channels: a carried network that forecasts has them")
        if len(self.channels) == 1 or len(set(self.channels)) != len(self.channels):
            raise ValueError("channels: different ones, two at least where there are any")
        if self.coded != bool(self.vocabulary) or len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("vocabulary: different codes, where the values are codes")
        if (self.task == "classify") != (len(self.labels) > 1) or len(set(self.labels)) != len(self.labels):
            raise ValueError("labels: two different ones at least, where they are to be told apart")
        if (self.task == "paths") != (len(self.bins) > 2) or list(self.bins) != sorted(set(self.bins)):
            raise ValueError("bins: ascending edges, where paths are drawn between them")
        return self

    @model_validator(mode="after")
    def _whole_segments(self) -> "NetworkSettings":
        if (self.kind == "segment") != (self.segment_length is not None):
            raise ValueError("segment_length belongs to a segment network, which has one")
        if self.segment_length is not None:
            check_segments(self.segment_length, self.inputs, self.horizon)
        return self

    @model_validator(mode="after")
    def _over_windows(self) -> "NetworkSettings":
        if self.kind != "encoder-decoder" and (self.attention != "none" or self.calendar or self.features):
            raise ValueError("attention, calendar and features belong to an encoder-decoder")
        if self.kind == "carried":
            return self
        if self.kind == "encoder-decoder" and self.short_windows != "masked":
            raise ValueError("short_windows: an encoder-decoder masks them")
        if len(self.units) > 1:
            raise ValueError(f"units: a network of kind {self.kind} has one recurrent layer")
        if self.kind == "segment" and self.cell != "gru":
            raise ValueError(f"cell: a network of kind {self.kind} has a GRU")
        if self.aggregate is not None:
            raise ValueError(f"aggregate: a network of kind {self.kind} forecasts every step of the horizon")
        return self

    @property
    def ahead(self) -> int:
        """Numbers that each output is shown of its step."""
        return self.recents + self.known

    @property
    def outputs(self) -> int:
        """Numbers forecast at each quantile: one a step of the horizon, or their aggregate alone."""
        return 1 if self.aggregate else self.horizon

    def check_served(self, settings: Settings) -> None:
        """Raise `ConfigError` where `settings` ask for a precision that the network cannot be served at."""
        of = f'task = "{self.task}"' if self.task != "forecast" else f'a network of kind "{self.kind}"'
        if (self.coded or self.kind != "carried") and settings.state.window_type != "float32":
            raise ConfigError(f"state.window_type: {of} computes with what its windows hold: they must be float32")
        if (self.task != "forecast" or self.kind != "carried") and settings.model.precision != "float32":
            raise ConfigError(f"model.precision: {of} is served at float32, not {settings.model.precision}")
