"""JSON ticks: one object a record, or an array of them, with configurable field paths."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np

from forecaster.config.stream import PER_MS, InputSettings
from forecaster.formats.channel_values import ChannelValues
from forecaster.formats.json_covariates import CovariateFields, overflows_float32
from forecaster.records import Fault, Float, Int, RecordBatch, TickBatch
from forecaster.vocabulary import CodeBook, Vocabulary

MOST_SERIES_BYTES = 1024
END_OF_TIME_MS = 253_402_300_800_000  # the year 10000, where RFC 3339 ends


class JsonTickDecoder:
    """Decodes records to ticks; what is malformed becomes a `Fault` of its record.

    With `codes` the values are codes, texts or whole numbers, and `TickBatch.value` holds the ids that it gives
    them; a `CodeBook` takes the label in `settings.label_field` besides, where one is named. With `settings.channels`
    they are `[n, channels]`. Known covariates tell of the tick's own step and of `horizon` steps ahead.
    Reason codes: `empty`, `not_utf8`, `not_json`, `too_deep`, `missing_field`, `wrong_type`,
    `not_finite`, `bad_time`, `bad_code`, `bad_covariate`, `no_series`, `bad_series`.
    """

    def __init__(
        self, settings: InputSettings, codes: Vocabulary | CodeBook | None = None, horizon: int | None = None
    ) -> None:
        text = settings.value_format == "numeric_string" and codes is None
        value_type = str | int | None if codes is not None else str | None if text else float | None
        self._channels = ChannelValues(settings.channels, value_type) if settings.channels else None
        if self._channels is not None:
            value_type = self._channels.kind
        paths = {
            settings.series_field: (str | None, {"default": None}),
            settings.time_field: (int | float | datetime, {}),
            settings.value_field: (value_type, {}),
        }
        if isinstance(codes, CodeBook) and settings.label_field is not None:
            paths[settings.label_field] = (str | int | None, {"default": None})
        covariates = CovariateFields(settings, horizon)
        fields = paths | covariates.paths
        tick, getters = _tick_type(fields)
        get = dict(zip(fields, getters, strict=True))
        self._series, self._time, self._value, *labels = map(get.__getitem__, paths)
        self._covariates = partial(covariates.rows, list(map(get.__getitem__, covariates.paths)))
        self._label = labels[0] if labels else None
        self._codes = codes
        self._one = msgspec.json.Decoder(tick).decode
        self._any = msgspec.json.Decoder(tick | list[msgspec.Raw]).decode
        self._per_ms = PER_MS[settings.time_unit]
        self._to_float = _parse_number if text else None

    def decode(self, batch: RecordBatch) -> TickBatch:
        """All well-formed ticks of `batch` in record order, and the faults, one a record."""
        found = _Found()
        ticks, record, index, faults = found.ticks, found.record, found.index, found.faults
        decode, check_utf8 = self._any, not b"".join(filter(None, batch.value)).isascii()
        for row, value in enumerate(batch.value):
            try:
                if check_utf8:
                    (value or b"").decode()
                tick = decode(value)  # type: ignore[arg-type]  # None is a TypeError: an empty record
            except (msgspec.DecodeError, TypeError, UnicodeDecodeError, RecursionError) as error:
                faults[row] = Fault(row, *_reason(value, error))
                continue
            if type(tick) is list:
                self._decode_array(row, tick, found)
            else:
                ticks.append(tick)
                record.append(row)
                index.append(0)
        return self._columns(batch, found)

    def _decode_array(self, row: int, items: list[Any], found: "_Found") -> None:
        for index, item in enumerate(items):
            try:
                found.ticks.append(self._one(item))
            except (msgspec.DecodeError, RecursionError) as error:
                reason, text = _reason(item, error)
                found.faults.setdefault(row, Fault(row, reason, f"tick {index}: {text}"))
                continue
            found.record.append(row)
            found.index.append(index)

    def _columns(self, batch: RecordBatch, found: "_Found") -> TickBatch:
        problem: dict[int, tuple[str, str]] = {}
        series = self._series_names(batch, found, problem)
        time_ms = self._times(list(map(self._time, found.ticks)), problem)
        value = self._values(found.ticks, problem)
        covariates = self._covariates(found.ticks, problem)
        good = np.ones(len(found.ticks), bool)
        for n, (reason, text) in sorted(problem.items()):
            good[n] = False
            row = found.record[n]
            found.faults.setdefault(row, Fault(row, reason, f"tick {found.index[n]}: {text}"))
        record, index = np.array(found.record, np.int64), np.array(found.index, np.int64)
        ticks = TickBatch(series, time_ms, value, record, index, covariates, list(found.faults.values()))
        return ticks.take(good) if problem else ticks

    def _series_names(self, batch: RecordBatch, found: "_Found", problem: dict[int, tuple[str, str]]) -> list[str]:
        names = list(map(self._series, found.ticks))
        if None in names:
            for n in [n for n, name in enumerate(names) if name is None]:
                names[n] = _key_text(batch.key[found.record[n]], n, problem)
        length = np.fromiter(map(len, names), np.int64, len(names))
        for n in np.flatnonzero((length == 0) | (length > MOST_SERIES_BYTES // 4)).tolist():
            _check_length(names[n], n, problem)
        return names

    def _times(self, times: list[Any], problem: dict[int, tuple[str, str]]) -> Int:
        try:
            if set(map(type, times)) <= {int} and self._per_ms >= 1:
                # the nearest millisecond, as for every other form; what overflows becomes negative: no time
                time_ms = (np.array(times, np.int64) + int(self._per_ms) // 2) // int(self._per_ms)
            else:
                time_ms = self._times_one_by_one(times)
        except OverflowError:
            time_ms = self._times_one_by_one(times)
        for n in np.flatnonzero((time_ms < 0) | (time_ms >= END_OF_TIME_MS)).tolist():
            problem[n] = "bad_time", f"{times[n]!s:.40} is no time between 1970 and 9999 with a zone"
        return time_ms

    def _times_one_by_one(self, times: list[Any]) -> Int:
        """Milliseconds of each; −1 for what is no time."""

        def one(time: Any) -> int:
            if isinstance(time, datetime):
                return -1 if time.tzinfo is None else round(time.timestamp() * 1000)
            milliseconds = time / self._per_ms if isinstance(time, float) else _exact_ms(time, self._per_ms)
            return round(milliseconds) if 0 <= milliseconds < END_OF_TIME_MS else -1

        return np.array([one(time) for time in times], np.int64)

    def _values(self, ticks: list[Any], problem: dict[int, tuple[str, str]]) -> Float:
        values = list(map(self._value, ticks))
        if self._channels is not None:
            return self._numbers_of(self._channels, values, problem)
        if self._codes is not None:
            return self._ids(self._codes, ticks, values, problem)
        if self._to_float is not None:
            values = [self._to_float(text, n, problem) for n, text in enumerate(values)]
        value = np.array(values, np.float64)
        for n in np.flatnonzero(overflows_float32(value)).tolist():
            problem.setdefault(n, ("not_finite", f"{value[n]:g} does not fit a float32"))
        return value

    def _numbers_of(self, channels: ChannelValues, values: list[Any], problem: dict[int, tuple[str, str]]) -> Float:
        """Numbers `[n, channels]`; what is wrong with one is a problem of its tick."""
        flat, width, wrong = channels.flat(values), len(channels.channels), dict[int, tuple[str, str]]()
        if self._to_float is not None:
            flat = [self._to_float(text, place, wrong) for place, text in enumerate(flat)]
        value = np.array(flat, np.float64)
        for place in np.flatnonzero(overflows_float32(value)).tolist():
            wrong.setdefault(place, ("not_finite", f"{value[place]:g} does not fit a float32"))
        for place, (reason, text) in wrong.items():
            problem.setdefault(place // width, (reason, f"{channels.channels[place % width]}: {text}"))
        return value.reshape(-1, width)

    def _ids(
        self, codes: Vocabulary | CodeBook, ticks: list[Any], values: list[Any], problem: dict[int, tuple[str, str]]
    ) -> Float:
        for n in [n for n, value in enumerate(values) if value == ""]:
            problem.setdefault(n, ("bad_code", "a code has one character at least"))
            values[n] = None
        if isinstance(codes, Vocabulary):
            return codes.ids(values)
        return codes.ids(values, None if self._label is None else list(map(self._label, ticks)))


@dataclass(slots=True)
class _Found:
    """Ticks as msgspec gives them, the row and the place of each, and the first fault of each row."""

    ticks: list[Any] = field(default_factory=list)
    record: list[int] = field(default_factory=list)
    index: list[int] = field(default_factory=list)
    faults: dict[int, Fault] = field(default_factory=dict)


def _tick_type(paths: dict[str, tuple[Any, Any]]) -> tuple[Any, list[Callable[[Any], Any]]]:
    """A msgspec type with a nested struct per path segment, and a getter for each path.

    A segment may be absent where everything below it may.
    """
    tree: dict[str, Any] = {}
    for path, leaf in paths.items():
        *parents, last = path.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = leaf

    def struct(node: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        children = [struct(child) if isinstance(child, dict) else child for child in node.values()]
        fields: list[tuple[str, Any, Any]] = [
            (f"f{number}", kind, msgspec.field(name=name, **default))
            for number, (name, (kind, default)) in enumerate(zip(node, children, strict=True))
        ]
        made = msgspec.defstruct("Tick", fields, kw_only=True)
        return made, {"default_factory": made} if all(default for _, default in children) else {}

    def getter(path: str) -> Callable[[Any], Any]:
        node, names = tree, []
        for segment in path.split("."):
            names.append(f"f{list(node).index(segment)}")
            node = node[segment]
        return attrgetter(".".join(names))

    return struct(tree)[0], [getter(path) for path in paths]


def _reason(value: object, error: Exception) -> tuple[str, str]:
    """The bounded reason code and a text for what a decoder raised."""
    text = str(error)[:200]
    if not value:
        return "empty", "the record has no value"
    if isinstance(error, UnicodeDecodeError):
        return "not_utf8", text
    if isinstance(error, RecursionError):
        return "too_deep", text
    if not isinstance(error, msgspec.ValidationError):
        return "not_json", text
    if "missing required field" in text:
        return "missing_field", text
    return ("not_finite" if "out of range" in text else "wrong_type"), text


def _key_text(key: bytes | None, n: int, problem: dict[int, tuple[str, str]]) -> str:
    """The record's key as series id, for a tick that names none."""
    try:
        name = (key or b"").decode()
    except UnicodeDecodeError:
        name = ""
    if not name:
        problem.setdefault(n, ("no_series", "no series, and the key is no text"))
    else:
        _check_length(name, n, problem)
    return name


def _check_length(name: str, n: int, problem: dict[int, tuple[str, str]]) -> None:
    size = len(name.encode())
    if not 0 < size <= MOST_SERIES_BYTES:
        problem.setdefault(n, ("bad_series", f"a series id has 1 to {MOST_SERIES_BYTES} bytes, not {size}"))


def _parse_number(text: str | None, n: int, problem: dict[int, tuple[str, str]]) -> float | None:
    if text is None:
        return None
    try:
        number = float(text)
    except ValueError:
        number = np.nan
    if np.isnan(number) or "_" in text or not text.isascii():
        problem.setdefault(n, ("wrong_type", f"{text[:40]!r} is no number"))
        return None
    return number


def _exact_ms(time: int, per_ms: float) -> int:
    return (time + int(per_ms) // 2) // int(per_ms) if per_ms >= 1 else time * round(1 / per_ms)
