"""The live view of the demo: everything on one screen, or one line now and then where there is none."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from forecaster.config import format_duration
from forecaster.demo.plot import DIM, INTERVAL, MIDDLE, plot
from forecaster.records import Float

HEADER_LINES = 6
PANEL_LINES = 4  # of a series, beside its plot: the frame, the numbers, the axis
FEWEST_ROWS, MOST_ROWS = 2, 9
AXIS = 7  # characters for the numbers left of a plot
AHEAD = (1, 4, 12, 24, 48)  # steps that are shown as numbers too


@dataclass(frozen=True, slots=True)
class SeriesView:
    """One series: its newest forecast `[horizon, levels]` and the values up to the forecast's origin."""

    name: str
    origin_ms: int
    actual: Float
    quantiles: Float


@dataclass(frozen=True, slots=True)
class Frame:
    """All that the view shows. `errors` are mean absolute errors so far, the model's first."""

    model: str
    phase: str
    step_ms: int
    unit: str
    elapsed_s: float
    total_s: float | None
    progress: float
    ticks_per_second: float
    lag_records: float
    p50_s: float | None
    p99_s: float | None
    forecasts: int
    scale: tuple[float, float]
    metrics: str
    kafka: str
    topics: str
    errors: dict[str, float] = field(default_factory=dict)
    coverage: float | None = None
    series: tuple[SeriesView, ...] = ()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Fill the screen, or take what the plots need where there is no end to it."""
        height = options.height or console.height
        rows = (height - HEADER_LINES) // max(1, len(self.series)) - PANEL_LINES
        rows = min(MOST_ROWS, max(FEWEST_ROWS, rows))
        yield Group(_header(self), *(_panel(series, self, options.max_width, rows) for series in self.series))


def plain_line(frame: Frame) -> str:
    """The frame as one line, for a log."""
    first = frame.series[0] if frame.series else None
    parts = [
        f"{frame.elapsed_s:3.0f} s",
        f"{frame.forecasts:,} forecasts",
        f"{frame.ticks_per_second:.0f} ticks/s",
        f"lag {frame.lag_records:.0f}",
        f"p50 {seconds(frame.p50_s)}",
        f"p99 {seconds(frame.p99_s)}",
    ]
    if first is not None:
        low, middle, high = _step_ahead(first, 1)
        ahead = f"{first.actual[-1]:,.0f} → {middle:,.0f} [{low:,.0f}, {high:,.0f}] {frame.unit}"
        parts.append(f"{first.name} {clock(first.origin_ms)}: {ahead}")
    return " | ".join(parts)


def seconds(value: float | None) -> str:
    """A latency as a person reads it."""
    if value is None:
        return "none yet"
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"


def clock(time_ms: int) -> str:
    """Event time, such as "Mon 26 Jun 14:30"."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%a %d %b %H:%M")


def _header(frame: Frame) -> RenderableType:
    title = Text.assemble(
        ("forecaster", "bold bright_cyan"), "  electricity demand of England and Wales, half-hourly, replayed", end=""
    )
    head = Table.grid(expand=True, padding=(0, 1))
    head.add_column(no_wrap=True, overflow="ellipsis")
    head.add_column(justify="right", no_wrap=True)
    head.add_row(title, Text(frame.model, DIM))

    time = Table.grid(expand=True, padding=(0, 1))
    time.add_column(no_wrap=True)
    time.add_column(ratio=1)
    time.add_column(justify="right", no_wrap=True)
    newest = clock(max(series.origin_ms for series in frame.series)) if frame.series else ""
    left = f"{frame.elapsed_s:.0f} s" if frame.total_s is None else f"{frame.elapsed_s:.0f} of {frame.total_s:.0f} s"
    bar = ProgressBar(total=1.0, completed=min(1.0, frame.progress), complete_style="cyan", finished_style="cyan")
    time.add_row(_pair(frame.phase, newest), bar, left)

    return Group(head, time, _numbers(frame), _errors(frame), _places(frame), Text(""))


def _numbers(frame: Frame) -> Text:
    return _row(
        ("ticks/s", f"{frame.ticks_per_second:.1f}"),
        ("lag", f"{frame.lag_records:.0f} records"),
        ("tick to forecast p50", seconds(frame.p50_s)),
        ("p99", seconds(frame.p99_s)),
        ("forecasts", f"{frame.forecasts:,}"),
    )


def _errors(frame: Frame) -> Text:
    if not frame.errors:
        return Text("mean absolute error: once the first actuals are in", DIM, no_wrap=True)
    names = {"model": "error: model", "seasonal naive 1w": "last week again", "seasonal naive 1d": "yesterday again"}
    ranked = sorted(frame.errors.items(), key=lambda item: (item[0] != "model", item[1]))
    pairs = [(names.get(name, name), f"{error:,.0f} {frame.unit}") for name, error in ranked]
    if frame.coverage is not None:
        pairs.insert(1, ("80 % interval covers", f"{100 * frame.coverage:.0f} %"))
    return _row(*pairs)


def _places(frame: Frame) -> Text:
    return _row(("metrics", frame.metrics), ("kafka", f"{frame.kafka} {frame.topics}"))


def _row(*pairs: tuple[str, str]) -> Text:
    row = Text("   ").join(_pair(*pair) for pair in pairs)
    row.no_wrap, row.overflow = True, "ellipsis"
    return row


def _pair(label: str, value: str) -> Text:
    return Text.assemble((f"{label} ", DIM), (value, "bold"))


def _panel(series: SeriesView, frame: Frame, width: int, rows: int) -> Panel:
    columns = max(12, width - AXIS - 4)
    low, high = frame.scale
    lines = plot(series.actual, series.quantiles, columns, rows, low, high)
    labels = [f"{high:,.0f}", *[""] * (rows - 2), f"{low:,.0f}"]
    labelled = [Text.assemble((f"{label:>{AXIS - 1}} ", DIM), line) for label, line in zip(labels, lines, strict=True)]
    title = Text.assemble((series.name, "bold"), "  ", (f"{series.actual[-1]:,.0f} {frame.unit}", "bright_white"))
    return Panel(
        Group(_forecasts(series, frame, AXIS + columns), *labelled, _axis(series, frame, columns)),
        title=title, title_align="left", box=box.ROUNDED, border_style=DIM, padding=(0, 1),
    )  # fmt: skip


def _forecasts(series: SeriesView, frame: Frame, width: int) -> Text:
    """The next forecasts as numbers, as many as fit: middle and half the width of the interval."""
    text = Text(" " * (AXIS - 2), no_wrap=True)
    for step in (step for step in AHEAD if step <= len(series.quantiles)):
        low, middle, high = _step_ahead(series, step)
        ahead = f"  +{format_duration(step * frame.step_ms)} "
        more = Text.assemble((ahead, DIM), (f"{middle:,.0f}", MIDDLE), (f" ±{(high - low) / 2:,.0f}", INTERVAL))
        if len(text) + len(more) > width:
            break
        text.append(more)
    return text


def _axis(series: SeriesView, frame: Frame, columns: int) -> Text:
    """When the plot begins, the origin of the forecast below its line, and the horizon."""
    first = clock(series.origin_ms - (len(series.actual) - 1) * frame.step_ms)
    now = clock(series.origin_ms)
    horizon = f"+{format_duration(len(series.quantiles) * frame.step_ms)}"
    line = (columns - 1) - max(1, (columns - 1) * len(series.quantiles) // (len(series.actual) + len(series.quantiles)))
    text = list(" " * (AXIS + columns))
    for label, start in ((first, AXIS), (horizon, AXIS + columns - len(horizon)), (now, AXIS + line - len(now) // 2)):
        text[start : start + len(label)] = label
    return Text("".join(text)[: AXIS + columns], DIM, no_wrap=True, overflow="crop")


def _step_ahead(series: SeriesView, step: int) -> tuple[float, float, float]:
    """First, middle and last quantile `step` steps ahead."""
    row = series.quantiles[step - 1]
    return float(row[0]), float(row[len(row) // 2]), float(row[-1])
