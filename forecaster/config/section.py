"""What all groups of settings have in common."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, field_validator


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*")
    @classmethod
    def _openable(cls, value: Any) -> Any:
        if isinstance(value, Path) and "\0" in str(value):  # Python raises no OSError for it
            raise ValueError("no path has a NUL in it")
        return value
