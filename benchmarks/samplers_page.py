"""The page of the sampler benchmark: what was measured, and a plot of it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

COLOURS = ("#3b6fb5", "#5aa9a3", "#8a63b8", "#c98a2b", "#8d8d8d", "#c33c3c")
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 420, 64, 52, 16, 236
EVALUATIONS, DISTANCES = (4, 600), (0.003, 0.1)


def write_page(result: dict[str, Any], docs: Path, source: Path) -> None:
    """Write docs/samplers.md and docs/pictures/samplers.svg."""
    (docs / "pictures" / "samplers.svg").write_text(plot(result), encoding="utf-8")
    text = "\n".join([_head(result, source), _table(result), _image(result), _reading()])
    (docs / "samplers.md").write_text(text, encoding="utf-8")


def plot(result: dict[str, Any]) -> str:
    """Distance against evaluations, both in logarithms, one line a sampler."""
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">']
    parts.append(f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>')
    for n in (4, 8, 16, 32, 64, 128, 256, 512):
        parts.append(_line(_at(n, DISTANCES[0]), _at(n, DISTANCES[1]), "#e4e4e4"))
        parts.append(_text(_at(n, DISTANCES[0]), str(n), dy=18, anchor="middle"))
    for d in (0.003, 0.01, 0.03, 0.1):
        parts.append(_line(_at(EVALUATIONS[0], d), _at(EVALUATIONS[1], d), "#e4e4e4"))
        parts.append(_text(_at(EVALUATIONS[0], d), f"{d:g}", dx=-8, dy=4, anchor="end"))
    floor = max(result["floor"], DISTANCES[0])
    parts.append(_line(_at(EVALUATIONS[0], floor), _at(EVALUATIONS[1], floor), "#555", dashed=True))
    parts.append(_text(_at(EVALUATIONS[0], floor), "true samples", dx=6, dy=-5, anchor="start"))
    for number, (name, settings) in enumerate(result["mixture"].items()):
        points = sorted((row["evaluations"], row["distance"]) for row in settings.values())
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (_at(*point) for point in points))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{COLOURS[number]}" stroke-width="2.2"/>')
        for x, y in (_at(*point) for point in points):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.4" fill="{COLOURS[number]}"/>')
        key = (WIDTH - RIGHT + 22.0, TOP + 16.0 + 24 * number)
        parts.append(f'<circle cx="{key[0]}" cy="{key[1] - 4}" r="5" fill="{COLOURS[number]}"/>')
        parts.append(_text(key, name, dx=12, anchor="start"))
    parts.append(_text((LEFT + (WIDTH - LEFT - RIGHT) / 2, HEIGHT - 12.0), "evaluations of the network, a sample"))
    parts.append(f'<g transform="translate(16 {TOP + (HEIGHT - TOP - BOTTOM) / 2}) rotate(-90)">')
    return "\n".join([*parts, _text((0.0, 0.0), "sliced Wasserstein-1 distance"), "</g>", "</svg>", ""])


def _at(evaluations: float, distance: float) -> tuple[float, float]:
    def share(value: float, ends: tuple[float, float]) -> float:
        return math.log(min(max(value, ends[0]), ends[1]) / ends[0]) / math.log(ends[1] / ends[0])

    x = LEFT + share(evaluations, EVALUATIONS) * (WIDTH - LEFT - RIGHT)
    return x, HEIGHT - BOTTOM - share(distance, DISTANCES) * (HEIGHT - TOP - BOTTOM)


def _line(start: tuple[float, float], end: tuple[float, float], colour: str, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    ends = f'x1="{start[0]:.1f}" y1="{start[1]:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"'
    return f'<line {ends} stroke="{colour}"{dash}/>'


def _text(at: tuple[float, float], text: str, dx: float = 0, dy: float = 0, anchor: str = "middle") -> str:
    place = f'x="{at[0] + dx:.1f}" y="{at[1] + dy:.1f}" text-anchor="{anchor}"'
    return f'<text {place} font-size="13" fill="#333">{escape(text)}</text>'


def _head(result: dict[str, Any], source: Path) -> str:
    return f"""# Samplers, measured

Made by `python benchmarks/poisson_midpoint.py` on {result["date"]} ({result["machine"]}); all numbers are in
`benchmarks/results/{source.name}`. The data are a mixture of six modes on a ring whose velocity is known exactly, so
what is seen here is the sampler alone. {result["samples"]:,} samples; seeds: {result["seeds"]}; uniform grids.

![Distance against evaluations](pictures/samplers.svg)

Distance: sliced Wasserstein-1 to the exact projections; true samples have {result["floor"]:.4f}. Width: variance about
the nearest mode over the true one, of samples within four deviations of it. Outside: share of the others (0.0003 is
right).
"""


def _table(result: dict[str, Any]) -> str:
    lines = [
        "| sampler | setting | evaluations | distance | width | outside |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, settings in result["mixture"].items():
        for setting, row in settings.items():
            numbers = f"{row['evaluations']:.1f} | {row['distance']:.4f} | {row['width']:.3f} | {row['outside']:.4f}"
            lines.append(f"| {name} | {setting} | {numbers} |")
    return "\n".join(lines) + "\n"


def _image(result: dict[str, Any]) -> str:
    if "image" not in result:
        return ""
    lines = ["## The built-in image model", "", "| sampler | evaluations | prompts followed |", "| --- | ---: | ---: |"]
    lines += [f"| {row['sampler']} | {row['evaluations']} | {row['followed']:.1%} |" for row in result["image"]]
    return "\n".join(lines) + "\n"


def _reading() -> str:
    return """## Which to take

* With an exact velocity, solvers of second order for the probability flow do as well for as many evaluations or better:
  compare the rows at about 30. What this mixture cannot show is a learned velocity, whose mistakes noise forgets.
* Against the other samplers of the stochastic equation it is more exact for as many evaluations: most of all against
  the chain whose small steps it takes, less against Euler-Maruyama. Take it where noise in the sampling is wanted.
* A block that is too long for the curvature throws single samples far off: see the column *outside* at 4. Guidance
  makes the velocity steeper and so asks for more steps. A K beyond 16 or 32 buys little.

In a workflow: `sampler: poisson-midpoint`, or `sampler: {name: poisson-midpoint, k: 32}` with `steps: 20`, which costs
about 40 evaluations, twice that with guidance; `parhelion plan` shows the number.
"""
