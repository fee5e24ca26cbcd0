"""A small plot of dots: what a series did, and its forecast with the interval around it."""

import numpy as np
from rich.text import Text

from forecaster.records import Bool, Float

BLANK = 0x2800  # the Braille patterns: 2 × 4 dots a character, one bit each
BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
NOW = "┊"
ACTUAL, MIDDLE, INTERVAL, DIM = "bright_white", "bold bright_cyan", "blue", "bright_black"


def plot(actual: Float, quantiles: Float, columns: int, rows: int, low: float, high: float) -> list[Text]:
    """`rows` lines of `columns` characters, on a scale from `low` to `high`.

    Left of the line `NOW` is `actual` `[n]`, right of it the first, middle and last column of
    `quantiles` `[horizon, levels]`; both on the same scale of time.
    """
    steps = len(actual) + len(quantiles)
    right = max(1, (columns - 1) * len(quantiles) // steps)
    left = columns - 1 - right
    past = _line(_heights(actual, left, rows, low, high), rows)
    edges = [_heights(quantiles[:, level], right, rows, low, high) for level in (0, quantiles.shape[1] // 2, -1)]
    middle, interval = _line(edges[1], rows), _between(edges[0], edges[2], rows)
    return [
        Text.assemble(
            (_characters(past)[row], ACTUAL), (NOW, DIM), *_layered(middle, interval, row), no_wrap=True, end=""
        )
        for row in range(rows)
    ]


def _heights(values: Float, columns: int, rows: int, low: float, high: float) -> Float:
    """The height in dots, 0 at the bottom, of every dot of `columns` characters."""
    at = np.interp(np.linspace(0, len(values) - 1, 2 * columns), np.arange(len(values)), values)
    share = (at - low) / (high - low) if high > low else np.full(len(at), 0.5)
    heights: Float = np.clip(np.rint(share * (4 * rows - 1)), 0, 4 * rows - 1)
    return heights


def _line(height: Float, rows: int) -> Bool:
    """Dots `[4 * rows, n]`, top first, of a line without holes."""
    before = np.concatenate([height[:1], height[:-1]])
    step = np.sign(height - before)
    return _filled(np.where(step == 0, height, before + step), height, rows)


def _between(low: Float, high: Float, rows: int) -> Bool:
    """Every second column of the area between two lines: lighter than a line, whatever its slope."""
    area = _filled(low, high, rows)
    area[:, 1::2] = False
    return area


def _filled(one: Float, other: Float, rows: int) -> Bool:
    height = np.arange(4 * rows)[::-1, None]
    inside: Bool = (height >= np.minimum(one, other)) & (height <= np.maximum(one, other))
    return inside


def _characters(dots: Bool) -> list[str]:
    """Dots `[4 * rows, 2 * columns]` as a line of characters per row."""
    cells = dots.reshape(len(dots) // 4, 4, -1, 2)
    codes = BLANK + (cells * BITS[:, None, :]).sum(axis=(1, 3))
    return ["".join(map(chr, row)) for row in codes.tolist()]


def _layered(middle: Bool, interval: Bool, row: int) -> list[tuple[str, str]]:
    """Row `row` of both: where the middle passes through a character, it gives the colour."""
    line, area = _characters(middle)[row], _characters(middle | interval)[row]
    return [(cell, INTERVAL if drawn == chr(BLANK) else MIDDLE) for drawn, cell in zip(line, area, strict=True)]
