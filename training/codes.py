"""Recorded codes as runs of ids, with what is to be learnt of each: the code that comes next, or a label."""

from dataclasses import dataclass

import numpy as np

from forecaster.config import ModelSettings
from forecaster.errors import ConfigError
from forecaster.networks.spec import MOST_CODE
from forecaster.records import Int
from forecaster.vocabulary import UNKNOWN, CodeBook
from training.data import Sequences

NO_LABEL = -1


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The codes and labels of a model, and of each number of a book: its `id`, and its `label`'s place or −1."""

    vocabulary: tuple[str, ...]
    labels: tuple[str, ...]
    id: Int
    label: Int

    @classmethod
    def of(cls, book: CodeBook, vocabulary: tuple[str, ...], labels: tuple[str, ...]) -> "Lexicon":
        """How a model with these codes and labels reads the numbers of `book`."""
        ids = {code: number for number, code in enumerate(vocabulary, UNKNOWN + 1)}
        places: dict[str | None, int] = {label: place for place, label in enumerate(labels)}
        of_codes = np.array([ids.get(code, UNKNOWN) for code in book.codes], np.int64)
        return cls(
            vocabulary, labels, of_codes, np.array([places.get(label, NO_LABEL) for label in book.labels], np.int64)
        )


def learnt_codes(book: CodeBook, data: Sequences, end_ms: int, model: ModelSettings) -> Lexicon:
    """The codes and labels that `data` has before `end_ms`, in the order of `book`, whose numbers its values are.

    Raises `ConfigError` for more codes than the limit, and where there are no labels to tell apart.
    """
    inside = np.concatenate([data.value[data.rows(run)][:n] for run, n in enumerate(data.before(end_ms).tolist())])
    numbers = np.unique(inside[~np.isnan(inside)].astype(np.int64)).tolist()
    codes, labels = book.codes, book.labels
    vocabulary = tuple(dict.fromkeys(codes[n] for n in numbers))
    if len(vocabulary) > model.vocabulary_limit:
        raise ConfigError(
            f"model.vocabulary_limit: the training part has {len(vocabulary)} different codes, "
            f"more than {model.vocabulary_limit}"
        )
    if model.task == "symbols" and len(vocabulary) == 1:
        raise ConfigError(f"input.value_field: {vocabulary[0][:40]!r} is the only code: there is nothing to tell apart")
    found = tuple(dict.fromkeys(label for n in numbers if (label := labels[n]) is not None))
    if model.task != "classify":
        found = ()
    elif len(found) < 2:
        text = f"only {found[0]!r}" if found else "no label"
        raise ConfigError(f"input.label_field: the training part has {text}: two labels at least are to be told apart")
    for text in (*vocabulary, *found):
        if len(text) > MOST_CODE:
            raise ConfigError(
                f"input.value_field: {text[:40]!r}… has {len(text)} characters, a code {MOST_CODE} at most"
            )
    return Lexicon.of(book, vocabulary, found)


@dataclass(frozen=True, slots=True)
class CodeRuns:
    """Runs of known codes, one after another: each one's `first` row and `length`.

    Of each row: `code` its id, `target` what is to be told at it (the place of the next code in the vocabulary, or
    of its label; −1 where there is none), and `origin_ms`. A missing code leaves the state alone: it has no row.
    """

    first: Int
    length: Int
    code: Int
    target: Int
    origin_ms: Int

    def before(self, time_ms: int) -> Int:
        """How many rows of each run lie before event time `time_ms` `[runs]`."""
        behind = np.concatenate([[0], np.cumsum(self.origin_ms < time_ms)])
        counts: Int = behind[self.first + self.length] - behind[self.first]
        return counts


def code_runs(data: Sequences, lexicon: Lexicon) -> CodeRuns:
    """The runs of `data` that have a code, as `lexicon` reads them."""
    known = [data.first[run] + np.flatnonzero(~np.isnan(data.value[data.rows(run)])) for run in range(len(data.first))]
    known = [rows for rows in known if len(rows)]
    length = np.array([len(rows) for rows in known])
    rows = np.concatenate(known)
    number = data.value[rows].astype(np.int64)
    first = np.cumsum(length) - length
    code, target = lexicon.id[number], lexicon.label[number]
    if not lexicon.labels:
        target = np.append(code[1:], UNKNOWN) - UNKNOWN - 1
        target[first + length - 1] = NO_LABEL
    return CodeRuns(first, length, code, target, data.origin_ms[rows])
