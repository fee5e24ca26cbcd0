"""The colours of the charts, each for a light page; the page's script puts the dark one in its place."""

from typing import NamedTuple


class Colour(NamedTuple):
    """One meaning on a light and on a dark page, as `#rrggbb`."""

    light: str
    dark: str


INK = Colour("#1f2933", "#e4e7eb")
MUTED = Colour("#66727f", "#9aa5b1")
GRID = Colour("#e3e7ec", "#2c343e")
MODEL = Colour("#0b5fcc", "#6cb0ff")
ACTUAL = Colour("#14181d", "#f0f2f5")
GAP = Colour("#c2410c", "#fb923c")
NOMINAL = Colour("#8a94a0", "#8a94a1")
GOOD = Colour("#15803d", "#4ade80")
VALIDATION = Colour("#b45309", "#fbbf24")
BANDS = (Colour("#d5e5fa", "#1b3f66"), Colour("#b3d1f7", "#235a92"), Colour("#8fbcf3", "#3278c0"))
RIVALS = (
    Colour("#9a6700", "#d4a72c"),
    Colour("#15803c", "#4ade81"),
    Colour("#9d174d", "#f472b6"),
    Colour("#6d28d9", "#a78bfa"),
    Colour("#0f766e", "#2dd4bf"),
    Colour("#b45308", "#fdba74"),
    Colour("#57534e", "#a8a29e"),
)

ALL = (INK, MUTED, GRID, MODEL, ACTUAL, GAP, NOMINAL, GOOD, VALIDATION, *BANDS, *RIVALS)
DARK = {colour.light: colour.dark for colour in ALL}
