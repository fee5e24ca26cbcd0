"""From recorded ticks to the rows that training works on, and what is known of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from forecaster.config import Settings
from forecaster.recording import Fingerprint, Recording
from forecaster.recording.ticks import recoded
from forecaster.vocabulary import CodeBook
from training.bad_series import without_bad
from training.codes import Lexicon, learnt_codes
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
    """Observations, where their time is cut, and what the manifest says of the data; codes as `lexicon` reads them."""

    data: Sequences
    split: Split
    facts: dict[str, Any]
    lexicon: Lexicon | None = None


def prepare(source: Source, settings: Settings, scratch: Scratch, say: Say) -> Prepared:
    """Read all of `source`; `say` gets a line about each kind of tick and each series left out.

    Raises `ConfigError` for what is wrong with the data.
    """
    training, model, left_out, fingerprint, book = (
        settings.training,
        settings.model,
        LeftOut(),
        Fingerprint(),
        CodeBook(),
    )
    data = sequences(fingerprint.passing(recoded(source.parts, book)), settings, scratch, left_out)
    for line in left_out.lines():
        say(line)
    horizon = 1 if model.coded else model.horizon
    data, skipped = without_bad(data, horizon, source.name, skip=source.skip_bad_series, coded=model.coded)
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
    lexicon = learnt_codes(book, data, split.train_end_ms, model) if model.coded else None
    return Prepared(data, split, facts, lexicon)
