"""A group of series as bytes and back: safetensors, arrays only.

Beside the state arrays a chunk holds the series' names, end to end, and the items that they hold open.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from forecaster.errors import UnusableStateError
from forecaster.grid import OPEN, item_type

CHUNK_BYTES = 384 * 1024  # aimed at; names of more than `NAME_BYTES` and open items come on top
RECORD_BYTES = 512 * 1024  # never exceeded: half of what a broker takes by default
NAME_BYTES = 64
NAMES, NAME_LENGTH = "names", "name_length"
HELD_COVARIATES = "held.covariates"
COUNTS = "rounds", "seen", "late_run", "held.count"
TIMES = "newest", "watermark", "touched_ms", "held.index", "held.first_ms", "held.last_ms"

# Of each state array its kind of number, and a row's shape; of the covariates of open items too, where there are any.
Layout = dict[str, tuple[np.dtype, tuple[int, ...]]]


@dataclass(frozen=True, slots=True)
class Part:
    """State of `n` series: arrays `[n, ...]` by name, and the items they hold open, whose `slot` is a row here."""

    names: list[str]
    arrays: dict[str, np.ndarray]
    held: np.ndarray


def series_per_chunk(part: Part) -> int:
    """How many series make a chunk: at least one, however large it is."""
    each = sum(array.itemsize * math.prod(array.shape[1:]) for array in part.arrays.values())
    return max(1, CHUNK_BYTES // (each + NAME_BYTES))


def chunk_count(part: Part) -> int:
    """How many chunks `encode` gives."""
    return -(-len(part.names) // series_per_chunk(part))


def encode(part: Part) -> Iterator[bytes]:
    """The chunks of `part`, each made when it is asked for."""
    series = series_per_chunk(part)
    held = part.held[np.argsort(part.held["slot"], kind="stable")]
    for low in range(0, len(part.names), series):
        high = min(low + series, len(part.names))
        names = part.names[low:high]
        arrays = {name: np.ascontiguousarray(array[low:high]) for name, array in part.arrays.items()}
        arrays[NAMES] = np.frombuffer("".join(names).encode(), np.uint8)
        arrays[NAME_LENGTH] = np.fromiter(map(len, names), np.uint32, len(names))
        first, last = np.searchsorted(held["slot"], (low, high))
        items = held[first:last]
        arrays |= {f"held.{name}": np.ascontiguousarray(items[name]) for name in _columns(items.dtype)}
        arrays["held.slot"] -= low
        yield save(arrays)


def records(chunk: bytes) -> Iterator[bytes]:
    """`chunk` cut into what fits into a record: one piece, but for series with very long windows or profiles."""
    return (chunk[low : low + RECORD_BYTES] for low in range(0, len(chunk), RECORD_BYTES))


def held_layout(covariates: int) -> Layout:
    """What a layout has of open items with rows of so many numbers of covariates."""
    return {HELD_COVARIATES: (np.dtype(np.float64), (covariates,))} if covariates else {}


def _columns(item: np.dtype) -> list[str]:
    """What is kept of an item: between two batches it was born in none."""
    return [name for name in item.names or () if name != "born"]


def decode(chunk: bytes, layout: Layout) -> Part:
    """The series of `chunk`, whose state arrays are as `layout` says; hidden state that it does not name is left out.

    Raises `UnusableStateError` where anything is not as it must be.
    """
    try:
        arrays = load(chunk)
    except (SafetensorError, ValueError, KeyError, OverflowError, TypeError) as error:
        raise UnusableStateError("corrupt", f"a chunk is not a safetensors file: {error}") from error
    series = len(arrays[NAME_LENGTH]) if NAME_LENGTH in arrays and arrays[NAME_LENGTH].ndim else 0
    of_series = {name: kind for name, kind in layout.items() if name != HELD_COVARIATES}
    covariates = layout[HELD_COVARIATES][1][0] if HELD_COVARIATES in layout else 0
    item = item_type(covariates, layout["rounds"][1])  # of as many channels as a series has
    items = len(arrays["held.slot"]) if "held.slot" in arrays and arrays["held.slot"].ndim else 0
    wanted = {name: (dtype, (series, *shape)) for name, (dtype, shape) in of_series.items()}
    wanted |= {f"held.{name}": (item[name].base, (items, *item[name].shape)) for name in _columns(item)}
    wanted[NAME_LENGTH] = np.dtype(np.uint32), (series,)
    wanted[NAMES] = np.dtype(np.uint8), (len(arrays[NAMES]) if NAMES in arrays and arrays[NAMES].ndim else 0,)
    found = {name: array for name, array in arrays.items() if name in wanted or not name.startswith("hidden.")}
    _check(found, wanted)
    held = np.zeros(items, item)
    held["born"] = -1
    for name in _columns(item):
        held[name] = found[f"held.{name}"]
    if items and not (held["slot"].min() >= 0 and held["slot"].max() < series):
        raise UnusableStateError("corrupt", "an open item of a chunk belongs to none of its series")
    return Part(_names(found[NAMES], found[NAME_LENGTH]), {name: found[name] for name in of_series}, held)


def _check(found: dict[str, np.ndarray], wanted: Layout) -> None:
    """Raise `UnusableStateError` where kind, shape or content of an array is none that a writer writes."""
    if found.keys() != wanted.keys():
        names = ", ".join(sorted(name[:40] for name in found.keys() ^ wanted.keys())[:3])
        raise UnusableStateError("corrupt", f"a chunk has not the arrays that it must have ({names})")
    for name, (dtype, shape) in wanted.items():
        array = found[name]
        if array.dtype != dtype or array.shape != shape:
            text = f"array {name} of a chunk is {array.dtype}{list(array.shape)}, not {dtype}{list(shape)}"
            raise UnusableStateError("corrupt", text)
    bounds = dict.fromkeys(COUNTS, (0, OPEN)) | dict.fromkeys(TIMES, (-OPEN, OPEN))
    for name, (low, high) in bounds.items():
        array = found[name]
        if array.size and not (array.min() >= low and array.max() <= high):
            raise UnusableStateError("corrupt", f"array {name} of a chunk holds a number out of bounds")


def _names(text: np.ndarray, length: np.ndarray) -> list[str]:
    try:
        joined = text.tobytes().decode()
    except UnicodeDecodeError as error:
        raise UnusableStateError("corrupt", "the series of a chunk are not UTF-8") from error
    ends = np.cumsum(length, dtype=np.int64)
    if len(joined) != (int(ends[-1]) if len(ends) else 0):
        raise UnusableStateError("corrupt", "the lengths of a chunk's series are not those of their text")
    return [joined[low:high] for low, high in zip((ends - length).tolist(), ends.tolist(), strict=True)]
