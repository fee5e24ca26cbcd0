"""Ten thousand records that no producer should send: none crashes the line, and none is lost."""

import json
import random
import re
import string
from collections import Counter
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from builders import FLAT, START_MS, Row, network, pipeline, polls
from jsonschema import Draft202012Validator

from forecaster.config import Settings

SCHEMA = json.loads(Path(__file__).parents[1].joinpath("docs/forecast.schema.json").read_text("utf-8"))
REASONS = {"empty", "not_utf8", "not_json", "too_deep", "missing_field", "wrong_type", "not_finite", "bad_time"}
REASONS |= {"no_series", "bad_series", "future", "not_finite_forecast"}
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
    time = item.get("ts")
    if isinstance(time, str):
        parsed = re.fullmatch(r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", time)
        try:
            time = datetime.fromisoformat(f"{parsed[1]}T{parsed[2]}{parsed[4].upper()}").timestamp() * 1_000
        except (TypeError, ValueError):
            return False
    return isinstance(time, float) and 0 <= time < 253_402_300_800_000


def good_value(item):
    if "value" not in item:
        return False
    value = item["value"]
    with np.errstate(over="ignore"):
        return value is None or (isinstance(value, float) and bool(np.isfinite(np.float32(value))))


@pytest.fixture(scope="module")
def processed():
    """Each poll of the corpus with what the line made of it; a warning anywhere is an error."""
    corpus = Corpus(20_261_121)
    records = [corpus.record(offset) for offset in range(10_000)]
    setup = Settings(stream={"step": "1s", "allowed_lateness": "1s", "max_future": "1h", "late_restart": 5})
    line = pipeline(setup, network(features=FLAT), features=FLAT)
    draw = random.Random(1)
    cuts = [draw.randrange(10_000) for _ in range(12)]
    return line, [(poll, line.decoder.decode(poll), line.process(poll)) for poll in polls(records, cuts)]


def dead_letters(output):
    """Dead letters of one poll by the source that their headers name."""
    table = {}
    for message in output.messages:
        if message.topic == "forecasts.dlq":
            added = dict(message.headers[-3:])
            table.setdefault(added["forecaster-source"].decode(), []).append((message, added))
    return table


def test_every_record_ends_as_ticks_with_an_outcome_or_as_one_dead_letter(processed):
    line, done = processed
    outcomes = sum((output.outcomes for _, _, output in done), Counter())
    assert outcomes.total() + len(line.windows.event_time.held) == sum(len(ticks) for _, ticks, _ in done)
    for poll, ticks, output in done:
        letters = dead_letters(output)
        assert all(len(found) == 1 for found in letters.values())
        told = {f"ticks/{poll.partition[row]}/{poll.offset[row]}" for row in output.faults}
        assert letters.keys() == told
        counts = np.bincount(ticks.record, minlength=len(poll))
        for row, value in enumerate(poll.value):
            name = f"ticks/{poll.partition[row]}/{poll.offset[row]}"
            assert counts[row] > 0 or name in letters or value.strip() == b"[]"


def test_the_decoder_takes_the_ticks_that_an_independent_reading_takes(processed):
    _, done = processed
    judged = 0
    for poll, ticks, _ in done:
        counts = np.bincount(ticks.record, minlength=len(poll))
        faulty = {fault.record for fault in ticks.faults}
        for row, value in enumerate(poll.value):
            expected = well_formed(value, poll.key[row]) if value else [False]
            if expected is None:
                continue
            judged += 1
            assert (counts[row], row in faulty) == (sum(expected), not all(expected)), value[:200]
    assert judged > 8_000


def test_a_dead_letter_is_the_record_byte_for_byte_with_a_bounded_reason(processed):
    _, done = processed
    reasons = Counter()
    for poll, _, output in done:
        letters = dead_letters(output)
        for row in output.faults:
            ((message, added),) = letters[f"ticks/{poll.partition[row]}/{poll.offset[row]}"]
            assert (message.key, message.value) == (poll.key[row], poll.value[row])
            assert tuple(message.headers[:-3]) == tuple(poll.headers[row])
            assert list(added) == ["forecaster-reason", "forecaster-error", "forecaster-source"]
            assert 0 < len(added["forecaster-error"]) <= 400
            reasons[added["forecaster-reason"].decode()] += 1
        assert sum(output.dead_letters.values()) == len(output.faults)
    assert reasons.keys() <= REASONS
    assert reasons.keys() >= REASONS - {"not_finite_forecast"}
    assert reasons == sum((output.dead_letters for _, _, output in done), Counter())


def test_every_forecast_published_keeps_the_schema(processed):
    _, done = processed
    check = Draft202012Validator(SCHEMA)
    Draft202012Validator.check_schema(SCHEMA)
    seen = 0
    for _, _, output in done:
        for message in output.messages:
            if message.topic != "forecasts":
                continue
            forecast = json.loads(message.value)
            assert next(check.iter_errors(forecast), None) is None
            assert message.key == forecast["series"].encode()
            columns = [forecast["point"], *forecast["quantiles"].values()]
            assert {len(column) for column in columns} == {forecast["horizon"]}
            assert (np.diff(np.array(columns[1:]), axis=0) >= 0).all()
            seen += 1
    assert seen > 1_000


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"series": ""},
        {"origin": 1.5},
        {"point": []},
        {"point": [None]},
        {"maturity": "done"},
        {"quantiles": {"0.1": [1.0]}},
        {"quantiles": {"0.5": [1.0], "1.5": [1.0]}},
        {"source": {"topic": "t", "partition": 0, "offset": 0}},
    ],
)
def test_the_schema_is_strict(change):
    source = {"topic": "ticks", "partition": 0, "offset": 0, "index": 0}
    fine = {"schema_version": 1, "kind": "forecast", "series": "a", "origin": 0, "step_ms": None, "horizon": 1}
    fine |= {"point": [1.0], "quantiles": {"0.5": [1.0]}, "model": "m@1", "maturity": "ready", "source": source}
    check = Draft202012Validator(SCHEMA)
    assert check.is_valid(fine)
    assert not check.is_valid(fine | change)
    assert not any(check.is_valid({k: v for k, v in fine.items() if k != name}) for name in fine)


def test_a_record_of_many_ticks_loses_only_the_bad_one():
    ticks = [f'{{"series":"s{n}","ts":{START_MS},"value":1}}' for n in range(5)]
    ticks[3] = '{"series":"s3","ts":-5,"value":1}'
    line = pipeline()
    (poll,) = polls([Row(f"[{','.join(ticks)}]".encode())], [])
    output = line.process(poll)
    forecasts = [message.key for message in output.messages if message.topic == "forecasts"]
    assert forecasts == [b"s0", b"s1", b"s2", b"s4"]
    ((message, added),) = dead_letters(output)["ticks/0/0"]
    assert added["forecaster-error"].startswith(b"tick 3: ")
    assert added["forecaster-reason"] == b"bad_time"
    assert message.value == poll.value[0]
