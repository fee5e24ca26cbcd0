"""Lets kafka-python read records whose header keys are no UTF-8, and any other client through it.

kafka-python 3.0 raises in the middle of the fetched batch, and the partition never moves on: one such
record would silence it for good. Header keys mean nothing here, so they are read with the bytes that
are no UTF-8 written as escapes.
"""

import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from functools import wraps
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError
from kafka.record.default_records import DefaultRecordBatch


class _Escaping(bytes):
    """Bytes whose slices decode whatever they hold."""

    def __getitem__(self, key: Any) -> Any:
        part = super().__getitem__(key)
        return part if isinstance(part, int) else _Escaping(part)

    def decode(self, encoding: str = "utf-8", _: str = "strict") -> str:
        return super().decode(encoding, "backslashreplace")


def _reading_any_header(read: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(read)
    def read_any(batch: Any, *arguments: Any) -> Any:
        start = batch._pos  # noqa: SLF001
        try:
            return read(batch, *arguments)
        except UnicodeDecodeError:
            whole, batch._buffer, batch._pos = batch._buffer, _Escaping(batch._buffer), start  # noqa: SLF001
            try:
                return read(batch, *arguments)
            finally:
                batch._buffer = whole  # noqa: SLF001

    return read_any


def headers_of(
    options: Mapping[str, Any], part: TopicPartition, offsets: Collection[int], timeout_ms: int
) -> dict[int, list[tuple[str, bytes]]]:
    """The headers of the records at `offsets`; `options` make a consumer outside of the group.

    Raises `KafkaError` when the broker does not answer in time.
    """
    deadline = time.monotonic() + timeout_ms / 1_000
    found: dict[int, list[tuple[str, bytes]]] = {}
    with closing(KafkaConsumer(**{**options, "bootstrap_timeout_ms": timeout_ms})) as consumer:
        consumer.assign([part])
        consumer.seek(part, min(offsets))
        while not found.keys() >= set(offsets):
            if time.monotonic() > deadline:
                raise KafkaTimeoutError(f"no answer within {timeout_ms} ms")
            for row in consumer.poll(timeout_ms=100).get(part, []):
                found[row.offset] = [(name, value or b"") for name, value in row.headers]
    return found


def read_any_header() -> None:
    """Change kafka-python's reader; a second call changes nothing more."""
    read = DefaultRecordBatch._read_msg  # noqa: SLF001
    if not hasattr(read, "__wrapped__"):
        DefaultRecordBatch._read_msg = _reading_any_header(read)  # noqa: SLF001
