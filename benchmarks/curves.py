"""Plots of the pages: panels of named curves, drawn by matplotlib; the same numbers give the same SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

Points = Sequence[tuple[float, float]]
COLOURS = ("#c33c3c", "#3b6fb5", "#5aa9a3", "#8a63b8", "#c98a2b", "#6f6f6f", "#2c8a4b", "#222222", "#d17fb0", "#9aa83a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One diagram with logarithmic axes. lines: name -> points. level: a dashed line across, with its name."""

    title: str
    x: str
    y: str
    lines: Mapping[str, Points]
    level: tuple[str, float] | None = None


def draw(panels: Sequence[Panel], path: Path, columns: int = 2) -> None:
    """Draw the panels in rows of `columns`; a name has the same colour in all of them."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    mpl.rcParams.update({"svg.hashsalt": path.stem, "svg.fonttype": "none", "font.size": 9})
    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    colour = {name: COLOURS[number % len(COLOURS)] for number, name in enumerate(names)}
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4.6 * columns, 3.5 * rows), squeeze=False)
    for number, axis in enumerate(axes.flat):
        if number >= len(panels):
            axis.set_axis_off()
            continue
        panel = panels[number]
        for name, points in panel.lines.items():
            xs, ys = zip(*sorted(points), strict=True)
            axis.plot(xs, ys, marker="o", markersize=3.5, linewidth=1.6, color=colour[name], label=name)
        if panel.level is not None:
            axis.axhline(panel.level[1], color="#555", linestyle="--", linewidth=1, label=panel.level[0])
        axis.set(xscale="log", yscale="log", title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axis.set_xticks(_spread([x for points in panel.lines.values() for x, _ in points]))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.grid(visible=True, which="major", color="#e4e4e4", linewidth=0.8)
        axis.set_axisbelow(True)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
        axis.legend(fontsize=7, frameon=False)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)


def _spread(values: Sequence[float]) -> list[float]:
    """Powers of two, or of four where there are many, that cover the values."""
    ticks, tick = [], 1.0
    while tick <= max(values) * 1.01:
        if tick >= min(values) * 0.99:
            ticks.append(tick)
        tick *= 2
    return ticks[::2] if len(ticks) > 8 else ticks
