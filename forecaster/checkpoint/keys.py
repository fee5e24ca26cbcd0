"""Keys of the state topic: whose checkpoint a record belongs to, and which part of it it is."""

import re
from typing import NamedTuple

PART = re.compile(rb"m[01]|[fd][01]/(0|[1-9]\d{0,8})")


class StateRecord(NamedTuple):
    """A record for the state topic about an input partition; a `value` None deletes."""

    partition: int
    key: bytes
    value: bytes | None


class InUse(NamedTuple):
    """What the state topic holds of a partition: the generations that the next checkpoint must leave alone.

    `records` are the parts of all generations that have a value, such as `f0/3`.
    """

    sequence: int = 0
    manifest: int = 1
    full: int = 1
    delta: int = 1
    records: frozenset[str] = frozenset()


def prefix(group: str, partition: int) -> bytes:
    """What the keys of all records about `partition` start with."""
    return f"{group}/{partition}/".encode()
