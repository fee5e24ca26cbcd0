"""From recorded ticks to the rows that training works on, and what is known of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from forecaster.config import Settings
from forecaster.recording import Fingerprint, Recording
from training.bad_series import without_bad
from training.data import Scratch, Sequences, Split, sequences, split_by_time
from training.left_out import LeftOut

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Source:
    """Ticks in parts, what messages call them, and whether series that nothing can be learnt from are skipped."""

    parts: Iterable[Recording]
    name: str = "the input"
    skip_bad_series: bool = False


@dataclass(frozen=True, slots=True)
class Prepared:
    """Observations, where their time is cut, and what the manifest says of the data."""

    data: Sequences
    split: Split
    facts: dict[str, Any]


def prepare(source: Source, settings: Settings, scratch: Scratch, say: Say) -> Prepared:
    """Read all of `source`; `say` gets a line about each kind of tick and each series left out.

    Raises `ConfigError` for what is wrong with the data.
    """
    training, left_out, fingerprint = settings.training, LeftOut(), Fingerprint()
    data = sequences(fingerprint.passing(source.parts), settings, scratch, left_out)
    for line in left_out.lines():
        say(line)
    data, skipped = without_bad(data, settings.model.horizon, source.name, skip=source.skip_bad_series)
    for name, fault in skipped.items():
        say(f"series {name!r} left out: {fault}")
    split = split_by_time(data, training.train_fraction, training.validation_fraction)
    facts = {
        "data_sha256": fingerprint.hexdigest(),
        "ticks": fingerprint.ticks,
        "series": fingerprint.series,
        "skipped": skipped,
        "train_end_ms": split.train_end_ms,
        "validation_end_ms": split.validation_end_ms,
    }
    return Prepared(data, split, facts)
