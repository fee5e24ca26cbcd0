"""Ten thousand records that no producer should send: none crashes the line, and none is lost."""

import json
import random
import time
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from builders import FLAT, START_MS, Row, batch, network, pipeline, polls
from hostile import FAR_MS, Corpus, hostile_records, pool, well_formed
from jsonschema import Draft202012Validator

from forecaster.config import Settings

SCHEMA = json.loads(Path(__file__).parents[1].joinpath("docs/forecast.schema.json").read_text("utf-8"))
REASONS = {"empty", "not_utf8", "not_json", "too_deep", "missing_field", "wrong_type", "not_finite", "bad_time"}
REASONS |= {"no_series", "bad_series", "future", "not_finite_forecast"}


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


@pytest.mark.parametrize(
    ("stream", "state"),
    [
        ({}, {}),
        ({"allowed_lateness": "2s", "late_restart": 3}, {"max_series": 20, "idle_ttl": "10min"}),
        ({"bar": "mean", "step": "10s"}, {"max_series": 5}),
        ({"step": "tick"}, {"idle_ttl": "5s", "max_series": 30}),
    ],
)
@pytest.mark.parametrize("record_ms", [START_MS, FAR_MS - 3_600_001])
def test_of_every_hostile_record_becomes_what_its_reading_foretells(stream, state, record_ms):
    setup = Settings(stream=stream, state=state)
    line = pipeline(setup, network(features=FLAT), features=FLAT)
    outcomes, letters, told = Counter(), [], list(hostile_records(7, 20_000))
    for low in range(0, len(told), 5_000):
        part = [(n, told[n]) for n in range(low, low + 5_000)]
        output = line.process(batch([Row(r.value, n % 3, n, r.key, (), record_ms) for n, r in part]))
        outcomes += output.outcomes
        letters += [int(source.rpartition("/")[2]) for source in dead_letters(output)]
    held = 0 if setup.stream.bar else len(line.windows.event_time.held)
    assert outcomes.total() + held == sum(record.ticks for record in told)
    assert outcomes["rejected"] >= sum(record.future for record in told) > 0
    assert sorted(letters) == [n for n, record in enumerate(told) if record.dead_letter]
    assert all(record.ticks or record.dead_letter for record in told)


def test_hostile_records_are_the_same_for_a_seed_of_all_kinds_and_made_fast():
    assert list(hostile_records(3, 12_345)) == list(hostile_records(3, 12_345))
    assert list(hostile_records(3, 500)) != list(hostile_records(4, 500))
    kinds = Counter((record.ticks > 1, record.dead_letter) for record in hostile_records(3, 50_000))
    assert min(kinds[many, bad] for many in (False, True) for bad in (False, True)) > 500
    pool()
    began = time.perf_counter()
    size = sum(len(record.value or b"") for record in islice(hostile_records(3, 200_000), 200_000))
    assert time.perf_counter() - began < 4.0
    assert size / 200_000 < 400
