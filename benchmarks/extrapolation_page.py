"""The page of the extrapolation benchmark: one table and one grid per size, and what follows from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from following_page import to_bytes
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

SHOWN = 6
"""Prompts in a grid."""
MARGIN = 180
"""Width of the names beside a grid, in pixels."""


def write_page(
    results: dict[str, Any],
    native: Tensor,
    shown: Mapping[str, Mapping[str, Tensor]],
    docs: Path,
    source: Path,
) -> None:
    """Write docs/extrapolation.md and docs/pictures/extrapolation/."""
    folder = docs / "pictures" / "extrapolation"
    folder.mkdir(parents=True, exist_ok=True)
    chosen = list(range(min(SHOWN, len(results["prompts"]))))
    for size, rows in shown.items():
        grid(native, rows, chosen).save(folder / f"{size}.webp", quality=80, method=6)
    parts = [_head(results, source)]
    for size, table in results["sizes"].items():
        area = _area(results, size)
        parts += [f"## {size}, {area:.2g} times the trained area", "", _table(table), "", _advice(table), ""]
        parts += [f"![every way at {size}](pictures/extrapolation/{size}.webp)", ""]
    parts.append(_meaning())
    (docs / "extrapolation.md").write_text("\n".join(parts), encoding="utf-8")


def grid(native: Tensor, rows: Mapping[str, Tensor], chosen: list[int]) -> Image.Image:
    """One line per way with its name, one column per prompt; the native pictures come first, at their own size."""
    height, width = next(iter(rows.values())).shape[2:]
    gap = 2
    canvas = Image.new("RGB", (MARGIN + len(chosen) * (width + gap), (len(rows) + 1) * (height + gap)), (255, 255, 255))
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(12)
    for line, (name, pictures) in enumerate({"native": native, **rows}.items()):
        top = line * (height + gap)
        words = name.replace(", ", ",\n")
        draw.multiline_text((4, top + height // 2 - 12), words, fill=(20, 20, 20), font=font)
        for column, picture in enumerate(to_bytes(pictures[chosen])):
            left = MARGIN + column * (width + gap)
            inset = ((width - picture.shape[1]) // 2, (height - picture.shape[0]) // 2)
            canvas.paste(Image.fromarray(np.ascontiguousarray(picture)), (left + inset[0], top + inset[1]))
    return canvas


def _area(results: dict[str, Any], size: str) -> float:
    rows, columns = (int(n) for n in size.split("x"))
    return rows * columns / (results["native"][0] * results["native"][1])


def _table(table: Mapping[str, Mapping[str, float]]) -> str:
    lines = [
        "| way | follows | repeated | coverage | detail | s a picture |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {row['follows']:.0%} | {row['repeated']:.0%} | {row['coverage']:.2f} | {row['detail']:.2f} "
        f"| {row['seconds']:.1f} |"
        for name, row in table.items()
    ]
    return "\n".join(lines)


def score(row: Mapping[str, float]) -> tuple[float, float, float]:
    """The order of ways: what follows and is not repeated, then a coverage near that of the native picture."""
    return (round(row["follows"] - row["repeated"], 4), -abs(row["coverage"] - 1), row["detail"])


def _advice(table: Mapping[str, Mapping[str, float]]) -> str:
    made = {name: row for name, row in table.items() if row["seconds"] > 0}
    noise = {name: row for name, row in made.items() if "strength" not in name}
    earlier = {name: row for name, row in made.items() if "strength" in name}
    words = [_best("From noise", noise)]
    if earlier:
        words.append(_best("From the native result", earlier))
    return " ".join(words)


def _best(start: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    best = max(rows, key=lambda name: score(rows[name]))
    return f"{start}, **{best}** is best: follows {rows[best]['follows']:.0%}, repeated {rows[best]['repeated']:.0%}."


def _head(results: dict[str, Any], source: Path) -> str:
    rows, columns = results["native"]
    total = len(results["prompts"])
    return f"""# Resolution extrapolation with the built-in image model

Written by `python benchmarks/extrapolation.py`; the numbers are in `benchmarks/results/{source.name}`. Do not
edit.

The built-in model was trained at {rows} x {columns} and nothing else. Of {results["tried"]} prompts made at that
size, {total} whose picture shows what was asked are made larger, in every way that the `extrapolate` step knows.

- **follows**: averaged down to {rows} x {columns}, the large picture still shows the thing asked for (nearest
  training sprite).
- **repeated**: pictures with more separate objects than the native one, the typical fault of larger sizes.
- **coverage**: how much of the picture the object fills, relative to the native picture; 1 is the same
  composition.
- **detail**: mean absolute Laplacian, relative to the native picture enlarged; above 1, detail was added (or
  noise).

Sampler {results["sampler"]}, {results["steps"]} steps, guidance {results["guidance"]:g}. "strength 0.6" starts
from the native latents, enlarged and re-noised to t = 0.4. Seconds are processor time. "Best" below each table
means: most pictures that follow, less those that repeat; then coverage nearest to 1, then detail.
"""


def _meaning() -> str:
    return """## What the ways do, and which to choose

Rotary positions tell the model how far apart two tokens are, in waves of many lengths. At a larger size the
distances go beyond what training has shown. **none** leaves them so, and the model sees several pictures' worth
of room, which it likes to fill with several objects. **position-interpolation** squeezes all distances into the
trained range: one object, well placed, but neighbours look closer than they ever were. **ntk-aware** stretches
slow waves, which place things, and leaves fast ones, which draw them. **frequency-aware** interpolates exactly up
to the wave that spans the trained picture. **time-aware** starts near interpolation, while the layout forms out
of noise, and ends as NTK, while detail is drawn; **watershed** is the same idea as one switch, at t = 0.3.

All but interpolation leave the fastest wave as it is: one turn in 2 pi tokens, whatever the base. In a model
with 64 tokens a side that wave draws detail. The built-in model has 8 tokens a side, so the fastest wave turns
about once over the whole picture and is the one that places things; left alone, it places them twice. So from
noise the table speaks for interpolation here, and says little about large models: the authors of Lumina-Next
found time-aware best on theirs, and their released code uses the watershed.

From an earlier result the layout is given, so the method matters less and strength more: low strength keeps the
native picture and sharpens it, high strength draws it anew and may repeat it. *Proportional attention* keeps
attention as peaked as in training when there are more tokens. *Context drop* pools keys and values, most at
t = 0: it trades detail for time, and pays where attention is the larger part of the work, which it is not in a
model this small.

To choose, with the built-in model: for the native picture in large, make the native one first and extrapolate
from it with position-interpolation at low strength; from noise, take position-interpolation too. In every case
compare with "enlarged (no model)": a way is worth its time when it follows as well and has more detail.

A panorama is another matter: interpolation stretches one object over it, and the methods that keep the fastest
wave fill it with two. Which of the two is wanted is a question of taste, not of the table.
"""
