"""Settings from a TOML file and FORECASTER_… environment variables."""

import os
import re
import tomllib
from pathlib import Path

from pydantic import ValidationError
from pydantic_settings import SettingsError

from forecaster.config.settings import Settings
from forecaster.errors import ConfigError


def load_settings(path: Path | None) -> Settings:
    """Settings from the TOML file at `path` and the environment, which wins.

    Raises `ConfigError` with one line that names the file and the setting at fault.
    """
    place = str(path) if path else "environment"
    try:
        tree = tomllib.loads(path.read_text("utf-8")) if path else {}
    except OSError as error:
        raise ConfigError(f"{place}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{place}: not valid TOML: {error}") from error
    for key in tree.keys() - Settings.model_fields.keys():  # some would be arguments of pydantic-settings itself
        raise ConfigError(f"{place}: {_one_line(key)}: unknown setting")
    _check_environment()
    try:
        return Settings(**tree)
    except ValidationError as error:
        raise ConfigError(f"{place}: {_first_fault(error)}") from None
    except SettingsError as error:
        section = re.findall(r'field "(\w+)"', str(error))[0]
        raise ConfigError(f"environment: {section}: a list or section in a variable must be JSON") from None


def _check_environment() -> None:
    """Refuse a variable of a section that does not exist; one without a section may be Kubernetes' own."""
    for name in os.environ:
        section, nested, _ = name.lower().removeprefix("forecaster_").partition("__")
        if name.lower().startswith("forecaster_") and nested and section not in Settings.model_fields:
            raise ConfigError(f"environment: {_one_line(name)}: unknown setting")


def _one_line(key: str) -> str:
    """`key` with line ends and other control characters escaped."""
    return repr(key)[1:-1]


def _first_fault(error: ValidationError) -> str:
    """The first fault of `error` as `section.setting: what is wrong`, and how many more there are."""
    faults = error.errors(include_url=False, include_input=False)
    setting = _one_line(".".join(str(part) for part in faults[0]["loc"])) or "settings"
    text = faults[0]["msg"].removeprefix("Value error, ")
    if faults[0]["type"] == "extra_forbidden":
        text = "unknown setting"
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return f"{setting}: {text}{more}"
