"""What has been seen of the stream so far."""

from forecaster.demo.electricity import STEP_MS, UNIT, Weeks
from forecaster.demo.summary import Scorer
from forecaster.demo.view import Frame, Newest
from forecaster.formats.forecast_json import Forecasts
from forecaster.web.telemetry import Rate, Scrape, percentile, since


class Show:
    """Keeps the newest forecast, scores those of the unseen week, and makes frames."""

    def __init__(self, weeks: Weeks, scorer: Scorer) -> None:
        self._weeks, self._scorer = weeks, scorer
        self._newest: Newest | None = None
        self._before = Scrape(0.0, 0.0, ())
        self._rate = Rate()
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
        if not len(forecasts):
            return
        name, origin_ms = forecasts.series[-1], int(forecasts.origin_ms[-1])
        ahead = forecasts.quantiles[-1, 0]
        low, middle, high = float(ahead[0]), float(ahead[len(ahead) // 2]), float(ahead[-1])
        self._newest = Newest(name, origin_ms, float(weeks.until(name, origin_ms, 1)[-1]), low, middle, high)

    def frame(self, now: float, scrape: Scrape, model: str, forecasts: int) -> Frame:
        """What is known now."""
        latency = since(scrape.latency, self._before.latency)
        return Frame(
            model=model,
            unit=UNIT,
            elapsed_s=now - self._start,
            ticks_per_second=self._rate.update(now, scrape.ticks),
            lag_records=scrape.lag_records,
            p50_s=percentile(latency, 0.5),
            p99_s=percentile(latency, 0.99),
            forecasts=forecasts,
            newest=self._newest,
        )
