"""What has been seen of the stream so far, and the screen or the log that shows it."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from rich.console import Console
from rich.live import Live

from forecaster.config import Settings
from forecaster.demo.electricity import STEP_MS, UNIT, WEEK, Weeks
from forecaster.demo.summary import Scorer
from forecaster.demo.telemetry import Rate, Scrape, percentile, since
from forecaster.demo.view import Frame, SeriesView, plain_line
from forecaster.formats.forecast_json import Forecasts

SHOWN = 96  # values before the origin
LINE_SECONDS = 5.0  # between lines where there is no terminal


class Show:
    """Keeps the newest forecast of each series, scores those of the unseen week, and makes frames."""

    def __init__(self, weeks: Weeks, settings: Settings, scorer: Scorer, address: str, total_s: float | None) -> None:
        self._weeks, self._scorer, self._total_s = weeks, scorer, total_s
        self._places = (
            f"{address}/metrics",
            settings.kafka.bootstrap_servers,
            f"{settings.topics.input} → {settings.topics.output}",
        )
        self._newest: dict[str, SeriesView] = {}
        self._before = Scrape(0.0, 0.0, ())
        self._rate = Rate()
        thousands = weeks.values / 1_000
        self._scale = float(np.floor(thousands.min())) * 1_000, float(np.ceil(thousands.max())) * 1_000
        self._start = 0.0
        self.unseen = 0

    def begin(self, now: float, scrape: Scrape) -> None:
        """The stream of the unseen week starts: latencies and rates count from here."""
        self._start, self._before = now, scrape
        self._rate.update(now, scrape.ticks)

    def take(self, forecasts: Forecasts) -> None:
        """Note forecasts that were read back."""
        weeks = self._weeks
        unseen_ms = weeks.start_ms + weeks.unseen_from * STEP_MS
        self._scorer.add(forecasts.take(forecasts.origin_ms < weeks.end_ms), unseen_ms)  # not what comes again
        self.unseen += int((forecasts.origin_ms >= unseen_ms).sum())
        names = np.array(forecasts.series)
        for name in dict.fromkeys(forecasts.series):
            rows = np.flatnonzero(names == name)
            row = rows[np.argmax(forecasts.origin_ms[rows])]
            origin_ms = int(forecasts.origin_ms[row])
            actual = weeks.until(name, origin_ms, SHOWN)
            self._newest[name] = SeriesView(name, origin_ms, actual, forecasts.quantiles[row])

    def frame(self, now: float, scrape: Scrape, model: str, forecasts: int, sent: int) -> Frame:
        """What is known now; `sent` ticks of the unseen week are in the input topic."""
        scores = self._scorer.scores()
        latency = since(scrape.latency, self._before.latency)
        lap, done = divmod(sent / len(self._weeks.names), WEEK)
        metrics, kafka, topics = self._places
        return Frame(
            model=model,
            phase="week 4, unseen in training" if lap == 0 or self._total_s else f"week 4 again, time {lap + 1:.0f}",
            step_ms=STEP_MS,
            unit=UNIT,
            elapsed_s=now - self._start,
            total_s=self._total_s,
            progress=1.0 if lap and self._total_s else done / WEEK,
            ticks_per_second=self._rate.update(now, scrape.ticks),
            lag_records=scrape.lag_records,
            p50_s=percentile(latency, 0.5),
            p99_s=percentile(latency, 0.99),
            forecasts=forecasts,
            scale=self._scale,
            metrics=metrics,
            kafka=kafka,
            topics=topics,
            errors={score.name: score.mean_absolute_error for score in scores if score.name != "last value"},
            coverage=scores[0].coverage if scores else None,
            series=tuple(self._newest[name] for name in self._weeks.names if name in self._newest),
        )


class Screen:
    """Shows frames: on the whole terminal, or as a line now and then where there is none."""

    def __init__(self, console: Console, live: Live | None) -> None:
        self._console, self._live = console, live
        self._shown = -LINE_SECONDS

    def show(self, frame: Frame) -> None:
        """Show `frame`, the newest."""
        if self._live is not None:
            self._live.update(frame, refresh=True)
        elif frame.series and frame.elapsed_s - self._shown >= LINE_SECONDS:
            self._shown = frame.elapsed_s
            self._console.print(plain_line(frame), soft_wrap=True)


@contextmanager
def screen(console: Console) -> Iterator[Screen]:
    """The terminal for the length of the block, if there is one."""
    if not console.is_terminal or console.is_dumb_terminal:
        yield Screen(console, None)
        return
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        yield Screen(console, live)
