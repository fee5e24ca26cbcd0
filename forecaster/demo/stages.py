"""The demo once its model is there: history, the unseen week, the summary."""

import time
from collections.abc import Callable
from contextlib import suppress

from rich.console import Console

from forecaster.config import Settings
from forecaster.demo.electricity import WEEK, WEEKS, load_weeks
from forecaster.demo.processes import Broker, Daemon
from forecaster.demo.show import Show
from forecaster.demo.stream import Feed, Reader
from forecaster.demo.summary import Scorer, print_summary
from forecaster.demo.view import Frame, plain_line
from forecaster.errors import ForecasterError
from forecaster.kafka.python_connect import check_topics
from forecaster.recording import Recording
from forecaster.web.telemetry import scrape

FOREVER_SECONDS = 60.0  # for one week of a stream without an end
PATIENCE_SECONDS = 60.0  # for forecasts of ticks that are in the input topic
REFRESH_SECONDS = 0.25
LINE_SECONDS = 5.0
LAG_SECONDS = 3.0
POLL_MS = 100

MakeScorer = Callable[[Recording, Settings], Scorer]


def tell(console: Console, text: str, began: float | None = None) -> None:
    """A stage is done; `began` is when it began, in seconds of `time.monotonic`."""
    took = "" if began is None else f" [dim]({time.monotonic() - began:.0f} s)[/dim]"
    console.print(f"[green]✓[/green] {text}{took}", soft_wrap=True)


class Stages:
    """What streams, and what looks at it."""

    def __init__(
        self, console: Console, settings: Settings, broker: Broker, daemon: Daemon, make_scorer: MakeScorer
    ) -> None:
        self._console, self._settings, self._broker, self._daemon = console, settings, broker, daemon
        self._weeks = load_weeks()
        self._scorer = make_scorer(self._weeks.recording(0, WEEKS * WEEK), settings)

    def run(self, seconds: float | None) -> None:
        """Stream for `seconds` (None: without an end) and sum up. Raises `ForecasterError` when anything dies."""
        settings, weeks = self._settings, self._weeks
        check_topics(settings, "forecaster-demo", time.monotonic() + settings.kafka.startup_timeout / 1000)
        rate = WEEK * len(weeks.names) / (seconds or FOREVER_SECONDS)
        with Feed(weeks, settings, rate, repeat=seconds is None) as feed, Reader(settings) as reader:
            began = time.monotonic()
            with self._console.status("the daemon loads TensorFlow, compiles the model and joins the group"):
                address = self._daemon.wait_until_ready(self._broker.check)
            tell(self._console, f"the daemon is ready; its metrics are at {address}/metrics", began)
            self._console.print(f"  [bold]the live page is at {self._daemon.page()}[/bold]", soft_wrap=True)
            show = Show(weeks, self._scorer)
            self._catch_up(feed, reader, show, address)
            frame = self._stream(feed, reader, show, address)
        print_summary(self._console, frame, self._scorer, show.unseen)

    def _catch_up(self, feed: Feed, reader: Reader, show: Show, address: str) -> None:
        """Read the forecasts of the history, which the daemon makes as fast as it can."""
        began = time.monotonic()
        with self._console.status("the daemon forecasts the history"):
            while reader.count < feed.history:
                self._read(feed, reader, show, began)
            deadline = time.monotonic() + LAG_SECONDS  # the daemon tells its lag once a second
            while scrape(address).lag_records and time.monotonic() < deadline:
                time.sleep(REFRESH_SECONDS)
        tell(self._console, f"{reader.count:,} forecasts of the history are in the output topic", began)

    def _stream(self, feed: Feed, reader: Reader, show: Show, address: str) -> Frame:
        """Stream the unseen week and tell of it; Ctrl-C cuts it short. Returns the last frame."""
        latest = scrape(address)
        start = told = ended = time.monotonic()
        show.begin(start, latest)
        feed.open()

        def frame() -> Frame:
            nonlocal latest
            with suppress(ForecasterError):  # busy; if it has died, the next look at it says so
                latest = scrape(address)
            return show.frame(time.monotonic(), latest, reader.model, reader.count)

        with suppress(KeyboardInterrupt):
            while not (feed.finished and reader.count >= feed.sent):
                self._read(feed, reader, show, ended)
                now = time.monotonic()
                ended = ended if feed.finished else now
                if now - told >= LINE_SECONDS:
                    told = now
                    self._console.print(plain_line(frame()), soft_wrap=True)
        return frame()

    def _read(self, feed: Feed, reader: Reader, show: Show, since: float) -> None:
        """Read forecasts for a moment. Raises `ForecasterError` when the missing ones do not come, or anything died."""
        self._daemon.check()
        self._broker.check()
        show.take(reader.poll(POLL_MS))
        if not feed.finished and not feed.idle:
            return
        if time.monotonic() - since > PATIENCE_SECONDS:
            missing = feed.sent - reader.count
            raise ForecasterError(f"{missing} forecasts did not come within {PATIENCE_SECONDS:.0f} s")
