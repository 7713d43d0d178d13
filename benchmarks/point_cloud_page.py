"""The page of the point-cloud benchmark: what prompts become, how often they are followed, and what density does.

python benchmarks/point_cloud_page.py     # the text of docs/point_cloud.md again, from the newest result
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from orchestrator.exporters.point_render import View, render

LANGUAGES = {
    "en": "English",
    "fr": "French",
    "es": "Spanish",
    "de": "German",
    "it": "Italian",
    "pt": "Portuguese",
    "ru": "Russian",
    "ja": "Japanese",
    "zh": "Chinese",
    "ar": "Arabic",
}
SIDE, COLUMNS, FRAME = 144, 10, 3
HIT, MISS = (60, 160, 75), (214, 40, 40)


def picture(cloud: Tensor, side: int = SIDE) -> NDArray[np.uint8]:
    """A cloud `[6, N]` as the exporter `still` draws it, smaller."""
    values = cloud.double().numpy()
    return render(values[:3].T, np.clip(values[3:].T / 2 + 0.5, 0, 1), View(side=side))


def sheet(pictures: Sequence[NDArray[np.uint8]], columns: int, frames: Sequence[bool] | None = None) -> Image.Image:
    """Pictures in a grid; framed green where a flag is set and red where it is not."""
    side = pictures[0].shape[0] + 2 * FRAME
    whole = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side), (244, 245, 247))
    for i, pixels in enumerate(pictures):
        place = (i % columns * side, i // columns * side)
        if frames is not None:
            whole.paste(HIT if frames[i] else MISS, (*place, place[0] + side, place[1] + side))
        whole.paste(Image.fromarray(pixels), (place[0] + FRAME, place[1] + FRAME))
    return whole


def for_density(outcomes: Sequence[Mapping[str, Any]]) -> list[int]:
    """The prompts that are made at other densities too: some of those whose noun is right, spread over the list."""
    return [i for i, outcome in enumerate(outcomes) if outcome["noun_hit"]][:: max(1, len(outcomes) // 12)][:8]


def write_pictures(
    results: Mapping[str, Any], clouds: Tensor, shown: Mapping[tuple[str, int, str], Tensor], docs: Path
) -> None:
    """Write docs/pictures/point_cloud/. shown: (prompt id, points, method) -> cloud."""
    folder = docs / "pictures" / "point_cloud"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    rows = results["outcomes"]
    hits = [row["noun_hit"] and row["colour_hit"] is not False for row in rows]
    save(sheet([picture(cloud) for cloud in clouds], COLUMNS, hits), folder / "prompts.webp")
    sizes, methods, largest = _tried(results)
    prompts, best = [str(row["id"]) for row in _pictured(results)], results["default_method"]
    dense = [shown.get((name, points, "none" if points == 256 else best)) for name in prompts for points in sizes]
    blank = np.full((220, 220, 3), 244, dtype=np.uint8)
    cells = [blank if cloud is None else picture(cloud, 220) for cloud in dense]
    save(sheet(cells, len(sizes)), folder / "densities.webp")
    everyone = [picture(shown[(prompts[0], largest, name)], 220) for name in methods]
    save(sheet(everyone, len(methods)), folder / "methods.webp")


def write_text(results: Mapping[str, Any], docs: Path, source: Path) -> None:
    """Write docs/point_cloud.md; everything in it comes from the results."""
    parts = [_head(results, source), _following(results), _misses(results["outcomes"]), _density(results)]
    (docs / "point_cloud.md").write_text("\n".join(parts), encoding="utf-8")


def _tried(results: Mapping[str, Any]) -> tuple[list[int], list[str], int]:
    """Numbers of points, methods, and the most points that every method was tried at."""
    rows = results["density"]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    sizes = [256, *dict.fromkeys(row["points"] for row in rows)]
    return sizes, methods, max(points for points in sizes if len(_methods_at(rows, points)) == len(methods))


def _methods_at(rows: Sequence[Mapping[str, Any]], points: int) -> list[str]:
    return [row["method"] for row in rows if row["points"] == points]


def _pictured(results: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The three prompts whose clouds are shown at every density."""
    outcomes = results["outcomes"]
    return [outcomes[i] for i in for_density(outcomes)[:3]]


def save(whole: Image.Image, path: Path) -> None:
    """Write a sheet small enough for a repository."""
    whole.save(path, quality=82, method=6)


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _head(results: Mapping[str, Any], source: Path) -> str:
    options, scores = results["options"], results["scores"]
    return f"""# Point clouds: what the built-in model makes of prompts, and density

Written by `python benchmarks/point_cloud_following.py`; every number is in `benchmarks/results/{source.name}`.
Model `{results["model"]}`, 256 points, {options["steps"]} steps, guidance {options["guidance"]:g};
{results["seconds_per_cloud"]:.2f} s of wall time a cloud, here and below, on the machine named there; where other
programs keep that busy, the times say little about speed.

The noun is right for **{_percent(scores["noun"])}** of {scores["prompts"]} prompts in ten languages, the colour for
**{_percent(scores["colour"])}** of those that ask for one. No prompt is a training caption (`tests/benchmarks` holds
that). Below, every prompt in the order of `benchmarks/prompts/shapes.csv`; green: noun and colour right.

![Every prompt](pictures/point_cloud/prompts.webp)
"""


def _following(results: Mapping[str, Any]) -> str:
    scores, oracle, luck = results["scores"], results["oracle"], results["luck"]
    lines = ["## Prompts followed", "", "| | prompts | noun | colour | both |", "| --- | ---: | ---: | ---: | ---: |"]
    everything = [("**all**", scores), *((LANGUAGES[k], row) for k, row in results["languages"].items())]
    lines += [
        f"| {name} | {row['prompts']} | {_percent(row['noun'])} | {_percent(row['colour'])} | {_percent(row['both'])} |"
        for name, row in everything
    ]
    for name, row in (("training shapes, other surface points", oracle), ("compared with other prompts", luck)):
        lines.append(f"| *{name}* | | {_percent(row['noun'])} | {_percent(row['colour'])} | |")
    return "\n".join(
        [
            *lines,
            "",
            f"A cloud shows the noun of the nearest of {results['references']} training shapes by Chamfer distance",
            "(mean distance to the nearest point of the other set, both directions averaged). It has a colour when a",
            "third of its points are nearest to it among the ten that can be asked for: the stand of a lamp and the",
            "wheels of a car are not in the asked one. The last two rows say what the measure gives a perfect model,",
            "and luck.",
            "",
        ]
    )


def _misses(rows: Sequence[Mapping[str, Any]]) -> str:
    missed = [row for row in rows if not row["noun_hit"] or row["colour_hit"] is False]
    lines = ["## What went wrong", "", "| prompt | asked | nearest shape | colour |", "| --- | --- | --- | --- |"]
    for row in missed:
        colour = {None: "not asked", True: "right", False: "wrong"}[row["colour_hit"]]
        lines.append(f"| {row['text']} | {row['colour'] or ''} {row['noun']} | {row['found']} | {colour} |")
    return "\n".join([*lines, ""])


def _density(results: Mapping[str, Any]) -> str:
    sizes, methods, largest = _tried(results)
    lines = [
        "## Density",
        "",
        "The model was trained at 256 points. More of them lie nearer to one another, so the methods rescale the waves",
        "of the coordinates' Fourier embedding (`modalities/generators/nextdit/fourier.py`); position interpolation",
        "gives the trained waves and is the same as none. Chamfer is measured against the 256-point cloud of the same",
        "prompt: two draws of one prompt differ even at equal density, so it never becomes 0. *To training* is the",
        "distance to the nearest training shape of the asked noun.",
        "",
        "| points | method | prompts | steps | Chamfer | to training | noun kept | colour kept | s a cloud |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {row['points']} | {row['method']} | {row['prompts']} | {row['steps']} | {row['chamfer']:.3f} "
        f"| {row['to_training']:.3f} | {_percent(row['noun'])} | {_percent(row['colour'])} | {row['seconds']:g} |"
        for row in results["density"]
    ]
    shown = ", ".join(f'"{row["text"]}"' for row in _pictured(results))
    return "\n".join(
        [
            *lines,
            "",
            fill(
                f"The model's default is `{results['default_method']}`. {_kept(results['density'], methods, largest)}",
                120,
            ),
            "",
            f"Left to right {', '.join(str(size) for size in sizes)} points; from above: {shown}.",
            "",
            "![Three prompts at every density](pictures/point_cloud/densities.webp)",
            "",
            f"{largest} points by {', '.join(f'`{name}`' for name in methods)}:",
            "",
            "![One prompt, every method](pictures/point_cloud/methods.webp)",
            "",
        ]
    )


def _kept(rows: Sequence[Mapping[str, Any]], methods: Sequence[str], largest: int) -> str:
    """How many clouds kept their noun by each method, where all were tried, and where not all were."""
    whole = [row for row in rows if row["points"] <= largest]
    clouds = sum(row["prompts"] for row in whole if row["method"] == methods[0])
    kept = {name: round(sum(r["noun"] * r["prompts"] for r in whole if r["method"] == name)) for name in methods}
    told = ", ".join(f"{number} by `{name}`" for name, number in kept.items())
    rest = {row["points"]: _methods_at(rows, row["points"]) for row in rows if row["points"] > largest}
    alone = "".join(f" {n:,} points were made by {' and '.join(f'`{m}`' for m in by)} alone." for n, by in rest.items())
    start = f"Up to {largest:,} points the noun was kept in so many of {clouds} clouds"
    return f"{start}: {told}; so few settle nothing.{alone}"


def main() -> None:
    """Write the text of the page again."""
    root = Path(__file__).resolve().parent.parent
    source = max((root / "benchmarks" / "results").glob("point_cloud_following-*.json"))
    write_text(json.loads(source.read_text(encoding="utf-8")), root / "docs", source)


if __name__ == "__main__":
    main()
