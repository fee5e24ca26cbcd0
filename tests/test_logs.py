"""What the log says, one line for each event, and what it says of what it does not."""

import io
import json
import logging

import pytest

from forecaster.config import LogSettings
from forecaster.telemetry.log_limit import LimitedHandler
from forecaster.telemetry.logs import JsonFormatter, TextFormatter, configure_logging
from forecaster.testing import FakeClock


class Written:
    """A logger of its own whose lines the test reads."""

    def __init__(self, per_minute: int = 3, formatter: logging.Formatter | None = None) -> None:
        self.clock, self._stream = FakeClock(0.0), io.StringIO()
        self.handler = LimitedHandler(self._stream, per_minute, self.clock)
        self.handler.setFormatter(formatter or JsonFormatter())
        self._logger = logging.Logger("forecaster")  # noqa: LOG001  # without handlers of others
        self._logger.addHandler(self.handler)

    def say(self, event: str, times: int = 1, level: int = logging.WARNING, **fields: object) -> None:
        for _ in range(times):
            self._logger.log(level, event, extra={"fields": {"n": 1, **fields}})

    def text(self) -> str:
        return self._stream.getvalue()

    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.text().splitlines()]

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines()]


def test_a_line_has_its_time_in_utc_its_level_its_event_and_its_fields() -> None:
    written = Written(formatter=JsonFormatter(worker=2))
    written.say("broker_failure", error="gone\nfor good")
    (line,) = written.lines()
    assert line.pop("time").endswith("Z")
    assert line == {"level": "warning", "event": "broker_failure", "worker": 2, "n": 1, "error": "gone\nfor good"}


def test_a_burst_of_one_reason_is_cut_and_its_rest_counted_once() -> None:
    written = Written(per_minute=3)
    written.say("checkpoint_refused", 50, reason="corrupt")
    assert written.events() == ["checkpoint_refused"] * 3
    assert [line.get("more_withheld") for line in written.lines()] == [None, None, "within this minute"]
    written.clock.advance(60)
    written.say("stopped", level=logging.INFO)
    assert written.events()[3:] == ["warnings_withheld", "stopped"]
    assert (written.lines()[3]["of"], written.lines()[3]["count"]) == ("checkpoint_refused", 47)
    written.clock.advance(61)
    written.say("stopped", level=logging.INFO)
    assert written.events().count("warnings_withheld") == 1


def test_of_a_minute_that_had_no_more_than_are_allowed_nothing_is_told() -> None:
    written = Written(per_minute=3)
    written.say("broker_failure", 3)
    written.handler.close()
    assert written.events() == ["broker_failure"] * 3


def test_every_minute_has_its_own_allowance_and_every_line_is_written_or_counted() -> None:
    written = Written(per_minute=3)
    for _ in range(100):
        written.say("broker_failure")
        written.clock.advance(7)
    written.handler.close()
    told = sum(line["count"] for line in written.lines() if line["event"] == "warnings_withheld")
    assert written.events().count("broker_failure") + told == 100
    assert told == 100 - 3 * 11 - 1  # nine a minute come


def test_another_reason_of_the_same_event_has_an_allowance_of_its_own() -> None:
    written = Written(per_minute=2)
    written.say("checkpoint_refused", 5, reason="corrupt")
    written.say("checkpoint_refused", 1, reason="missing")
    assert [line["reason"] for line in written.lines()] == ["corrupt", "corrupt", "missing"]


@pytest.mark.parametrize("level", [logging.ERROR, logging.CRITICAL, logging.INFO])
def test_errors_and_what_is_no_warning_are_never_withheld(level: int) -> None:
    written = Written(per_minute=1)
    written.say("checkpoint_too_large", 40, level)
    assert len(written.lines()) == 40


def test_what_is_withheld_at_the_end_is_told_at_the_end() -> None:
    written = Written(per_minute=1)
    written.say("broker_failure", 9)
    written.handler.close()
    assert written.lines()[-1]["count"] == 8


def test_a_librarys_warnings_of_one_place_are_one_reason_whatever_they_say() -> None:
    written = Written(per_minute=2)
    for n in range(30):
        written._logger.warning("connection %s lost", n)
    assert len(written.lines()) == 2


def test_a_clock_that_is_set_back_begins_a_new_minute() -> None:
    written = Written(per_minute=1)
    written.say("broker_failure", 3)
    written.clock.advance(-3600)
    written.say("broker_failure")
    assert [line.get("count") for line in written.lines()] == [None, 2, None]


def test_as_text_a_line_is_one_line_that_names_every_field() -> None:
    written = Written(formatter=TextFormatter(worker=1))
    written.say("broker_failure", error='no "leader"\nfor\u2028ticks', retry_seconds=0.5)
    moment, _, rest = written.text().partition(" ")
    assert moment.endswith("Z")
    expected = 'WARNING broker_failure worker=1 n=1 error="no \\"leader\\"\\nfor\\u2028ticks" retry_seconds=0.5\n'
    assert rest == expected


def test_a_message_of_another_library_cannot_pretend_to_be_a_line_of_ours() -> None:
    written = Written(formatter=TextFormatter())
    written.say("lost\n2026-01-01T00:00:00.000Z INFO    stopped")
    assert len(written.text().splitlines()) == 1


@pytest.mark.parametrize(("form", "first"), [("json", "{"), ("text", "2")])
def test_the_setting_decides_how_the_log_reads(capsys, form, first) -> None:
    before = logging.root.handlers[:]
    logging.root.handlers.clear()
    try:
        configure_logging(LogSettings(format=form))
        logging.getLogger("forecaster").warning("hello")
    finally:
        logging.root.handlers[:] = before
    assert capsys.readouterr().err.startswith(first)
