"""Draw the pictures of docs/performance.md from a saved result. Run it in the peers' environment.

.venv-peers/bin/python -m benchmarks.plot RESULT     the last line of RESULT is the JSON object of `make bench`
"""

import json
import re
import sys
from pathlib import Path

import matplotlib.pyplot as plt

from benchmarks.report import ROOT

PICTURES = ROOT / "docs" / "pictures"
Figures = dict[str, float]


def along(figures: Figures, pattern: str) -> tuple[list[float], list[float]]:
    """What the one number in names of `pattern` was, in ascending order, and the figure for each."""
    found = sorted(
        (float(match[1]), figure) for name, figure in figures.items() if (match := re.fullmatch(pattern, name))
    )
    return [at for at, _ in found], [figure for _, figure in found]


def spoken(name: str) -> str:
    """The name of a figure, without its scenario, as one says it."""
    return name.partition(".")[2].replace(".", " ").replace("_", " ")


def throughput(axes: plt.Axes, figures: Figures) -> None:
    names = [name for name in figures if re.fullmatch(r"throughput\..*_per_s", name)]
    bars = axes.barh([spoken(name.removesuffix("_per_s")) for name in names],
                     [figures[name] for name in names])  # fmt: skip
    axes.bar_label(bars, fmt="{:,.0f}")
    axes.set(xlabel="records a second", title="Throughput, beside an echo of the same bytes")


def latency(axes: plt.Axes, figures: Figures) -> None:
    kinds = sorted({name.rsplit(".", 2)[0] for name in figures if name.startswith("latency.")})
    for number, kind in enumerate(kinds):
        for level, style in ((50, "-"), (99, "--")):
            at, found = along(figures, rf"{re.escape(kind)}\.(\d+)\.p{level}_ms")
            axes.plot(at, found, style, marker="o", color=f"C{number}", label=spoken(f"{kind}.p{level}"))
    axes.set(xscale="log", yscale="log", xlabel="ticks a second", ylabel="ms", title="From tick to forecast")
    named(axes, at)
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.legend(fontsize="x-small", loc="upper left", bbox_to_anchor=(1.02, 1.0))


def cost(axes: plt.Axes, figures: Figures, of: str, base: float) -> None:
    """What a forecast takes, over what one of the base took in the same rounds."""
    at, over = along(figures, rf"sweep\.{of}_(\d+)\.over_base")
    points = sorted([(base, 1.0), *((where, 1 / ratio) for where, ratio in zip(at, over, strict=True))])
    axes.plot(*zip(*points, strict=True), marker="o")
    axes.set(xscale="log", xlabel=of, ylabel=f"cost of a forecast, {of} {base:,.0f} = 1", title=f"Cost over {of}")
    axes.set_ylim(0, 1.15 * max(height for _, height in points))
    named(axes, [where for where, _ in points])


def named(axes: plt.Axes, places: list[float]) -> None:
    """Mark what was measured on a logarithmic axis, and nothing else."""
    axes.set_xticks(places, [f"{place:,.0f}" for place in places])
    axes.xaxis.minorticks_off()


DRAWN = {
    "throughput": throughput,
    "latency": latency,
    "context": lambda axes, figures: cost(axes, figures, "context", 64),
    "horizon": lambda axes, figures: cost(axes, figures, "horizon", 16),
    "series": lambda axes, figures: cost(axes, figures, "series", 10_000),
}


def main() -> None:
    figures = json.loads(Path(sys.argv[1]).read_text().splitlines()[-1])["figures"]
    plt.rcParams |= {
        "svg.fonttype": "none",
        "svg.hashsalt": "forecaster",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    PICTURES.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        if not any(figure.startswith((f"{name}.", f"sweep.{name}_")) for figure in figures):
            continue  # the result has nothing of it
        picture, axes = plt.subplots(figsize=(7, 3.5), layout="constrained")
        draw(axes, figures)
        picture.savefig(PICTURES / f"{name}.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
