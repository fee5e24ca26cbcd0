"""HTML in which every string is escaped unless it is markup already."""

import html

from training.names import printable

SPACES = "\n\t\N{NO-BREAK SPACE}\N{NARROW NO-BREAK SPACE}\N{THIN SPACE}"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: str) -> str:
    """`text` as HTML, also as the pseudo-HTML that plotly takes for its labels."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text, SPACES), quote=False))


def join(*children: str) -> Markup:
    """`children`, one after another."""
    return Markup("".join(map(escaped, children)))


def element(name: str, *children: str, **attributes: str) -> Markup:
    """`<name …>children</name>`; `class_` is the attribute class."""
    pairs = (f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"' for key, value in attributes.items())
    return Markup(f"<{name}{''.join(pairs)}>{join(*children)}</{name}>")


WORDS = frozenset(("", "forecast", "series", "reason", "against"))  # titles of columns that are not numbers


def table(head: list[str], rows: list[list[str]]) -> Markup:
    """A table that scrolls sideways where it is too wide; in a column of forecasts the model stands out."""

    def cells(kind: str, row: list[str]) -> list[Markup]:
        pairs = zip(head, row, strict=True)
        return [element(kind, cell, class_="word" if title in WORDS else "number") for title, cell in pairs]

    def body_row(row: list[str]) -> Markup:
        stands_out = (head[0], row[0]) == ("forecast", "model")
        return element("tr", *cells("td", row), class_="strong" if stands_out else "plain")

    body = map(body_row, rows)
    whole = element("table", element("thead", element("tr", *cells("th", head))), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0")


def paragraph(text: str, **attributes: str) -> Markup:
    """A paragraph."""
    return element("p", text, **attributes)
