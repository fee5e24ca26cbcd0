"""Which features a model's series have, and how they follow the values."""

from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from forecaster.aggregates import aggregated
from forecaster.calendar.clock import Clock
from forecaster.config import Aggregate, format_duration
from forecaster.features.covariates import CovariateSettings
from forecaster.records import Float

LAST = 1.0  # span of the level that is the last known value

Span = Annotated[float, Field(ge=1, allow_inf_nan=False)]  # a rate above 1 would swing past its target


class FeatureSettings(BaseModel):
    """What the features are made of; spans and seasons are counted in steps, the seasons' phases read on `clock`.

    Without one the stream is always open and the phases are those of UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seasons: tuple[PositiveInt, ...] = ()
    level_spans: Annotated[tuple[Span, ...], Field(min_length=1)]
    residual_spans: tuple[Span, ...] = ()
    scale_span: Span
    volatility_spans: tuple[Span, ...] = ()
    profile_rate: Annotated[float, Field(ge=1e-4, le=1)] = 0.05
    recent_rates: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    first_scale: PositiveFloat = 0.01  # of the first value's size, until errors have been seen
    transform: Literal["none", "log"] = "none"
    covariates: CovariateSettings = CovariateSettings()
    clock: Clock | None = None

    @model_validator(mode="after")
    def _seasons_of_its_clock(self) -> "FeatureSettings":
        if self.clock is not None and self.clock.seasons != self.seasons:
            raise ValueError("seasons are not as long as the cycles of its clock")
        return self

    @classmethod
    def derive(
        cls, seasons: tuple[int, ...], context_length: int, transform: Literal["none", "log"] = "none"
    ) -> "FeatureSettings":
        """Defaults: spans in seasons, or where there is none the last value and quarters of quarters of the context."""
        if seasons:
            day = seasons[0]
            return cls(
                transform=transform,
                seasons=seasons,
                level_spans=(7 * day, 14 * day, 30 * day),
                residual_spans=tuple(max(1.0, part * day) for part in (1 / 8, 1 / 2, 1, 3)),
                scale_span=7 * day,
                recent_rates=(0.15, 0.4),
            )
        spans = (1.0, *sorted(context_length / 4**n for n in range(8) if context_length / 4**n >= 2))
        return cls(
            transform=transform,
            level_spans=spans,
            scale_span=max(2.0, float(context_length)),
            volatility_spans=tuple(max(2.0, context_length * part) for part in (1 / 64, 1 / 8)),
        )

    def transformed(self, values: Float) -> Float:
        """What the features are made of: `values`, or their logarithms; NaN where a value has none."""
        if self.transform == "none":
            return values
        return np.log(np.where(values > 0, values, np.nan))

    def restored(self, transformed: Float) -> Float:
        """The inverse of `transformed`."""
        with np.errstate(over="ignore"):  # a value that is not finite is refused where it would be published
            return transformed if self.transform == "none" else np.exp(transformed)

    def aggregated(self, transformed: Float, aggregate: Aggregate | None) -> Float:
        """`transformed` steps `[n, horizon, …]` as the transformed aggregate of their values `[n, 1, …]`."""
        if aggregate is None:
            return transformed
        return self.transformed(aggregated(self.restored(transformed), aggregate))

    def moved(self, transformed: Float, moves: np.ndarray, aggregate: Aggregate | None) -> np.ndarray:
        """By how much that aggregate moves where its steps do by each of `moves` `[n, horizon, k]`: `[n, 1, k]`."""
        if aggregate is None:
            return moves
        after = self.aggregated(transformed[..., None] + moves, aggregate)
        return after - self.aggregated(transformed, aggregate)[..., None]

    def season_names(self, step_ms: int | None) -> list[str]:
        """How long each season is by the clock on the wall."""
        cycles = self.seasons if self.clock is None else self.clock.cycles
        return [format_duration(steps * (step_ms or 1)) for steps in cycles]

    @property
    def longest_span(self) -> float:
        """Steps after which nothing older than them matters much."""
        return max(*self.level_spans, self.scale_span, *self.residual_spans, *self.volatility_spans)

    @property
    def recents(self) -> int:
        """How many recent profiles each horizon step is shown."""
        return len(self.seasons) * len(self.recent_rates)

    @property
    def calendar(self) -> int:
        """How many calendar terms a step has."""
        return 4 * len(self.seasons)

    @property
    def input_names(self) -> tuple[str, ...]:
        """The network's inputs, in order."""
        return (
            "residual",
            *(f"residual_mean_{span:g}" for span in self.residual_spans),
            *(f"level_{self.level_spans[0]:g}_minus_{span:g}" for span in self.level_spans[1:]),
            "innovation",
            *(f"log_scale_{span:g}_to_{self.scale_span:g}" for span in self.volatility_spans),
            "missing",
            "inverse_root_seen",
            *(f"{wave}{k}_{season}" for season in self.seasons for k in (1, 2) for wave in ("sin", "cos")),
            *self.covariates.input_names,
        )
