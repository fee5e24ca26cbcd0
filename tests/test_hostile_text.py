"""No series, key or value breaks a line of the log, the metrics page or a dead letter."""

import io
import json
import logging
import subprocess
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple
from urllib.parse import quote

import orjson
import pytest
from hostile_texts import BEGIN_MS, TEXTS, tick_of
from hypothesis import given, settings
from hypothesis import strategies as st
from integration.helpers import tool
from live_page import LivePage, Stream, records
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from forecaster.config import Settings, StateSettings
from forecaster.records import Message
from forecaster.telemetry.logs import UNSAFE, JsonFormatter, TextFormatter, event, printable
from forecaster.testing import FakeClock, MemoryBroker

KEYS = [None, b"", b"\xff\xfe", b"\x00", b"k" * 2**20, b"\x1b[2J\n", "\u202e".encode()]
MOST_HEADER_BYTES = 1_200  # of what we add to a dead letter, whatever came in


class Ran(NamedTuple):
    broker: MemoryBroker
    page: str  # of metrics
    log: io.StringIO


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the process would write to standard error."""
    stream, logger = io.StringIO(), logging.getLogger("forecaster")
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield stream
    logger.removeHandler(handler)


@pytest.fixture
def hostile_run(log: io.StringIO) -> Ran:
    """A run over the whole corpus, each series in two partitions, which is a warning."""
    from test_daemon import settle, start  # noqa: PLC0415  # TensorFlow, which half of the tests need not wait for

    clock = FakeClock(BEGIN_MS / 1_000)
    broker = MemoryBroker(clock)
    broker.create_topic("ticks", 2)
    for step, text in enumerate(TEXTS):
        for partition in (0, 1):
            broker.append(Message("ticks", b"k", tick_of(text, step)), partition)
    for key in KEYS:
        broker.append(Message("ticks", key, b'{"ts":%d,"value":1}' % BEGIN_MS), 0)
        broker.append(Message("ticks", key, key), 0)
    settings = Settings(state=StateSettings(series_in_two_partitions="refuse"))
    daemon = start(broker, clock, settings)
    daemon._elsewhere._every_s = 0.0  # every batch may warn
    settle(daemon)
    return Ran(broker, generate_latest(daemon.metrics.registry).decode(), log)


def lines(log: io.StringIO) -> list[str]:
    """The lines of a log as a program splits them, and as a reader of Unicode does."""
    text = log.getvalue()
    assert text.split("\n") == [*text.splitlines(), ""]
    return text.splitlines()


def test_every_line_of_the_log_is_one_record_without_a_control_character(hostile_run: Ran) -> None:
    assert lines(hostile_run.log)
    for line in lines(hostile_run.log):
        assert UNSAFE.search(line) is None
        assert json.loads(line)["event"] != "forged"


def test_the_metrics_page_is_clean_and_names_no_series(hostile_run: Ran) -> None:
    page = hostile_run.page
    labels = {
        value for family in text_string_to_metric_families(page) for s in family.samples for value in s.labels.values()
    }
    assert not labels & set(TEXTS)
    assert "forged" not in page
    done = subprocess.run(
        [tool("promtool"), "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_dead_letters_keep_their_bytes_and_what_is_added_is_bounded(hostile_run: Ran) -> None:
    broker = hostile_run.broker
    sent = {(record.key, record.value) for record in broker.records("ticks")}
    letters = broker.records("forecasts.dlq")
    assert letters
    for letter in letters:
        assert (letter.key, letter.value) in sent
        headers = dict(letter.headers)
        assert sum(len(name) + len(value) for name, value in headers.items()) < MOST_HEADER_BYTES
        assert headers["forecaster-reason"].decode().isidentifier()
        headers["forecaster-error"].decode()


def test_every_forecast_is_json_of_the_series_that_was_sent(hostile_run: Ran) -> None:
    broker = hostile_run.broker
    names = {json.loads(record.value)["series"] for record in broker.records("forecasts")}
    assert len(names) > len(TEXTS) / 2
    assert names <= {*TEXTS, "\x00", "\x1b[2J\n", "\u202e"}


@pytest.mark.parametrize("text", [*TEXTS, "\ud800", "\udc00\ud800"])
def test_an_event_is_one_line_of_json_that_gives_the_text_back(text: str, log: io.StringIO) -> None:
    event("odd", series=text, nested=[text])
    event("odd", series=text, number=2**80)
    for line in lines(log):
        assert UNSAFE.search(line) is None
        assert json.loads(line)["series"] == text
    assert len(lines(log)) == 2


@pytest.mark.parametrize("text", [*TEXTS, "\ud800"])
def test_an_event_is_one_line_of_text_too(text: str) -> None:
    record = logging.makeLogRecord({"msg": text, "fields": {"series": text}})
    (line,) = TextFormatter().format(record).splitlines()
    assert UNSAFE.search(line) is None


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=[])))
def test_what_is_printable_is_one_line_and_inside_json_the_same_text(text: str) -> None:
    shown = printable(text)
    assert len(shown.splitlines()) <= 1
    assert shown.isprintable() or all(not UNSAFE.match(letter) for letter in shown)
    if not any("\ud800" <= letter <= "\udfff" for letter in text):
        assert json.loads(printable(orjson.dumps(text).decode())) == text


def test_the_live_page_gives_every_name_back_in_json_and_in_no_frame_of_its_own() -> None:
    with LivePage() as page:
        page.fleet.take_ticks(records([tick_of(text, 0) for text in TEXTS]), page.now_ms)
        for text in TEXTS:
            status, headers, body = page.get("/search?q=" + quote(text))
            assert (status, headers["content-type"].partition(";")[0]) == (200, "application/json")
            assert text in json.loads(body)["names"]
            assert "x-forged" not in headers
            with closing(Stream(page, "/events?name=" + quote(text))) as stream:
                (_, fleet), (event, series) = stream.next(), stream.next()
            assert (event, series["name"]) == ("series", text)
            assert "forged" not in fleet
