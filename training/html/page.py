"""One HTML file out of its parts: styles, the charts' data and all scripts inside, nothing loaded from elsewhere."""

import base64
import hashlib
import json
from importlib.resources import files
from typing import Any

from plotly.offline import get_plotlyjs

from training.html.colours import DARK
from training.html.markup import Markup, element, join, paragraph


def page(title: str, subtitle: str, sections: dict[str, Markup], charts: dict[str, Any]) -> str:
    """The file: a heading for each of `sections`, listed at the top, and `charts` drawn where their ids stand.

    Its policy lets a browser run the two scripts named by their hash, and load nothing.
    """
    own = files("training.html")
    data = {"dark": DARK, "figures": {name: json.loads(figure.to_json()) for name, figure in charts.items()}}
    scripts = [get_plotlyjs(), own.joinpath("page.js").read_text("utf-8")] if charts else []
    scripts = [script.replace("</script", "<\\/script") for script in scripts]
    hashes = " ".join(f"'sha256-{_sha256(script)}'" for script in scripts) or "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data: blob:; script-src {hashes}"
    names = {f"part-{n}": heading for n, heading in enumerate(sections)}
    links = [element("li", element("a", heading, href=f"#{name}")) for name, heading in names.items()]
    parts = [
        element("section", element("h2", heading), body, id=name)
        for (name, heading), body in zip(names.items(), sections.values(), strict=True)
    ]
    head = join(
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        Markup('<meta name="color-scheme" content="light dark">'),
        element("title", title),
        element("style", Markup(own.joinpath("page.css").read_text("utf-8"))),
    )
    body = join(
        element("header", element("h1", title), paragraph(subtitle)),
        element("nav", element("ol", *links), aria_label="Contents"),
        element("main", *parts),
        element("noscript", paragraph("The charts need JavaScript; all else can be read without it.")),
        element("script", _embedded(data), type="application/json", id="charts") if charts else "",
        *(element("script", Markup(script)) for script in scripts),
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{body}</body></html>\n'


def _embedded(data: object) -> Markup:
    """`data` as JSON that no HTML parser takes for anything but text."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"))


def _sha256(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
