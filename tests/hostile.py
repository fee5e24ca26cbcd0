"""Records that no producer should send, and what must become of each: a reading that knows nothing of the decoder.

`hostile_records` gives as many as a stream needs, fast, from a pool of prepared ones.
"""

import json
import random
import re
import string
from collections.abc import Iterator
from datetime import datetime
from functools import cache
from typing import NamedTuple

import numpy as np
from builders import START_MS, Row

POOL = 4_096
HEAVY_BYTES = 4_096
HEAVY_IN = 5_000  # one record of so many is a heavy one: ten million stay a few gigabytes
FAR_MS = START_MS + 20 * 365 * 86_400_000  # further than any record's time: `future`, wherever it is produced
ODD = [
    *("null", "true", "false", "0", "-0", "-0.0", "1e999", "-1e999", "1e38", "3.5e38", "-3.5e38", "1e-320", "1e-400"),
    *(
        "NaN",
        "Infinity",
        "-Infinity",
        "nan",
        "0x10",
        "1_000",
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "'1'",
        '""',
        '"1"',
        '"NaN"',
    ),
    *("9" * 5_000, "-" + "9" * 5_000, "9" * 19, "9" * 20, "9" * 400, "1" + "0" * 30, "0." + "3" * 3_000),
    *("[]", "{}", "[1]", '{"a":1}', "[" * 600 + "]" * 600, "[" * 50_000, '{"a":' * 50_000, "[[[[1]]]]"),
    *(
        '"\\ud800"',
        '"\\udc00\\ud800"',
        '"\\u0000"',
        '"\\u001f\\u007f\\u2028"',
        '"\\ud83d\\ude00"',
        '"' + "x" * 3_000 + '"',
    ),
    *('"' + "é" * 512 + '"', '"' + "é" * 513 + '"', '"' + "x" * 1_024 + '"', '"' + "x" * 1_025 + '"', '"%s%d%(x)b"'),
    *(str(START_MS), f"{START_MS}.5", f'"{START_MS}"', "-1", "253402300799999", "253402300800000", "1e15", "1.7e12"),
    *('"2024-05-01T08:00:00Z"', '"2024-05-01T08:00:00"', '"2024-05-01"', '"0001-01-01T00:00:00+23:59"', '"yesterday"'),
    *('"9999-12-31T23:59:59.9999999-12:00"', '"2024-05-01T08:00:60Z"', '"2024-05-01t08:00:00.123456789+05:30"'),
]
KEYS = [None, b"", b"k", b"\xff\xfe", b"k" * 1_024, b"k" * 1_025, "é".encode(), b"\x00", b"%s"]


class Corpus:
    """Records drawn at random from one seed; every draw is a mutation of a tick, or plain noise."""

    def __init__(self, seed):
        self.draw = random.Random(seed)

    def record(self, offset):
        makers = [
            self.tick,
            self.odd_field,
            self.spliced,
            self.noise,
            self.array,
            self.encoded,
            self.repeated,
            self.extra,
        ]
        value = self.draw.choice([*makers, self.tick, self.odd_field])()
        headers = [(), (("h", b"\xff"),), (("a", b""), ("a", b"2"))]
        time_ms = self.draw.choice([START_MS, START_MS, START_MS, -1, 0])
        return Row(value, self.draw.randrange(3), offset, self.draw.choice(KEYS), self.draw.choice(headers), time_ms)

    def tick(self):
        step = self.draw.choice([self.draw.randrange(3_000), self.draw.randrange(50)])
        number = self.draw.choice(
            [self.draw.gauss(0, 1), self.draw.uniform(-1, 1) * 10.0 ** self.draw.randint(-45, 38)]
        )
        name = json.dumps(f"s{self.draw.randrange(40)}")
        return b'{"series":%b,"ts":%d,"value":%b}' % (name.encode(), START_MS + step * 1_000, repr(number).encode())

    def odd_field(self):
        fields = {"series": '"a"', "ts": str(START_MS), "value": "1.5"}
        for name in self.draw.sample(sorted(fields), self.draw.choice([1, 1, 2, 3])):
            fields[name] = self.draw.choice(ODD)
            if self.draw.random() < 0.15:
                del fields[name]
        return self.object(fields.items())

    def object(self, pairs):
        return ("{" + ",".join(f'"{name}":{text}' for name, text in pairs) + "}").encode()

    def spliced(self):
        text = bytearray(self.tick())
        for _ in range(self.draw.randint(1, 4)):
            at = self.draw.randrange(len(text) + 1)
            junk = self.draw.choice([b"", bytes([self.draw.randrange(256)]), b'"', b"}", b",", b"\\", b"[", b"\x00"])
            text[at : at + self.draw.randrange(3)] = junk
        return bytes(text)

    def noise(self):
        pool = [
            self.draw.randbytes(self.draw.randrange(80)),
            b"",
            None,
            b" ",
            b"{}",
            b"[]",
            b"[{}]",
            b"\x00\x00\x00\x00\x01ab",
        ]
        letters = "".join(self.draw.choices(string.printable, k=20)).encode()
        return self.draw.choice([*pool, letters, self.draw.choice(ODD).encode(), b"42", b"weather,place=x t=1 1"])

    def array(self):
        items = [
            self.draw.choice([self.tick, self.tick, self.tick, self.odd_field])() for _ in range(self.draw.randrange(6))
        ]
        if self.draw.random() < 0.3:
            items.insert(self.draw.randrange(len(items) + 1), self.draw.choice(ODD).encode())
        return b"[" + b",".join(items) + b"]"

    def encoded(self):
        codec = self.draw.choice(["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp037"])
        return self.tick().decode().encode(codec)

    def repeated(self):
        names = self.draw.choices(["series", "ts", "value", "x"], k=4)
        plain = {"series": '"a"', "ts": str(START_MS), "value": "1", "x": "1"}
        return self.object(
            [*plain.items(), *((name, self.draw.choice([plain[name], self.draw.choice(ODD)])) for name in names)]
        )

    def extra(self):
        junk = self.draw.choice([text for text in ODD if len(text) < 1_000])
        return self.tick()[:-1] + b',"more":' + junk.encode() + b"}"


def well_formed(text, key):
    """What the record holds as a list of "is this tick good", or None where two readings are defensible.

    Written against the design with Python's own parser, not with the decoder's.
    """
    repeated = []

    def pairs(items):
        names = [name for name, _ in items]
        repeated.extend(name for name in names if names.count(name) > 1)
        return dict(items)

    def refuse(_):
        raise ValueError

    try:
        tree = json.loads(text.decode("utf-8"), object_pairs_hook=pairs, parse_constant=refuse, parse_int=Whole)
    except RecursionError:
        return None
    except ValueError:
        return [False]
    if repeated or re.search(rb"\\ud[89a-f]", text):
        return None
    return [good_tick(item, key) for item in tree] if isinstance(tree, list) else [good_tick(tree, key)]


class Whole(float):
    """A JSON number without fraction: read as a float, so that no length of digits is too long."""

    def __new__(cls, text):
        return super().__new__(cls, text)


def good_tick(item, key):
    return isinstance(item, dict) and good_series(item.get("series"), key) and good_time(item) and good_value(item)


def good_series(name, key):
    if name is None:
        try:
            name = (key or b"").decode()
        except UnicodeDecodeError:
            return False
    return isinstance(name, str) and 1 <= len(name.encode()) <= 1_024


def good_time(item):
    return time_ms(item) is not None


def time_ms(item):
    """Epoch milliseconds of a tick, None where it has none."""
    time = item.get("ts")
    if isinstance(time, str):
        parsed = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", time)
        try:
            time = datetime.fromisoformat(f"{parsed[1]}T{parsed[2]}{parsed[4].upper()}").timestamp() * 1_000
        except (TypeError, ValueError):
            return None
    return time if isinstance(time, float) and 0 <= time < 253_402_300_800_000 else None


def good_value(item):
    if "value" not in item:
        return False
    value = item["value"]
    with np.errstate(over="ignore"):
        return value is None or (isinstance(value, float) and bool(np.isfinite(np.float32(value))))


class Hostile(NamedTuple):
    """One record, the number of well-formed `ticks` in it, and whether it has to be dead-lettered.

    Every tick ends in exactly one outcome; `future` of them as `rejected`, with the record a dead letter.
    """

    key: bytes | None
    value: bytes | None
    ticks: int
    future: int
    dead_letter: bool


def hostile_records(seed: int, count: int) -> Iterator[Hostile]:
    """`count` records drawn with `seed`; it holds for records whose time is `START_MS` or up to 20 years later."""
    light, heavy = pool()
    draw = random.Random(seed)
    for low in range(0, count, HEAVY_IN):
        some = draw.choices(light, k=min(HEAVY_IN, count - low))
        some[draw.randrange(len(some))] = draw.choice(heavy)
        yield from some


@cache
def pool() -> tuple[list[Hostile], list[Hostile]]:
    """Light and heavy records, the same ones in every process; those that can be read in two ways are left out."""
    corpus, light, heavy = Corpus(20_261_125), [], []
    while len(light) < POOL:
        row = corpus.record(0)
        good = well_formed(row.value, row.key) if row.value else [False]
        if good is not None and good != []:
            told = Hostile(row.key, row.value, sum(good), ahead(row.value, row.key), not all(good))
            told = told._replace(dead_letter=told.dead_letter or told.future > 0)
            (light if len(row.value or b"") < HEAVY_BYTES else heavy).append(told)
    return light, heavy


def ahead(text, key):
    """How many good ticks of the record are later than `FAR_MS`."""
    tree = json.loads(text, parse_int=Whole) if any(well_formed(text, key) if text else []) else []
    items = tree if isinstance(tree, list) else [tree]
    return sum(good_tick(item, key) and time_ms(item) > FAR_MS for item in items)
