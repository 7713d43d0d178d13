"""The page of the multi-view benchmark: tables, every turn as a moving picture, and more and larger views.

python benchmarks/multi_view_page.py     # the text of docs/multi_view.md again, from the newest result
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

from following_page import HIT, LANGUAGES, MISS
from torch import Tensor
from video_page import save, save_moving, strips, to_bytes, wall

from modalities.multi_view import MULTI_VIEW

DEFAULT = MULTI_VIEW.defaults.extrapolation.method
COLUMNS, SHOWN, RATE = 10, 6, 4.0
"""Turns in a row of the wall, rows of strips, and views a second."""


def write_page(results: Mapping[str, Any], turns: Tensor, made: Mapping[str, Tensor], docs: Path, source: Path) -> None:
    """Write docs/multi_view.md and docs/pictures/multi_view/. made: turns of other sizes by `size method`."""
    folder = docs / "pictures" / "multi_view"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    shown, rows = to_bytes(turns), results["outcomes"]
    colours = [HIT if row["noun_hit"] and row["colour_hit"] is not False else MISS for row in rows]
    save_moving(folder / "following.webp", wall(shown, colours, COLUMNS), RATE)
    save(folder / "views.webp", strips([shown[i] for i in range(0, len(shown), len(shown) // SHOWN)][:SHOWN]))
    for name in ("more", "larger"):
        pictures = [to_bytes(value[:1])[0] for key, value in made.items() if key.startswith(f"{name} ")]
        if pictures:
            save(folder / f"{name}.webp", strips(pictures))
    write_text(results, docs, source)


def write_text(results: Mapping[str, Any], docs: Path, source: Path) -> None:
    """Write docs/multi_view.md; everything in it comes from the results."""
    parts = [_head(results, source), _tables(results), _extrapolation(results), _misses(results["outcomes"])]
    (docs / "multi_view.md").write_text("\n".join(part for part in parts if part), encoding="utf-8")


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"


def _head(results: Mapping[str, Any], source: Path) -> str:
    options, overall, luck = results["options"], results["overall"], results["luck"]
    return f"""# Multi-view: one thing from all around

Written by `python benchmarks/multi_view_following.py --extrapolate`; every number is in
`benchmarks/results/{source.name}`. Do not edit.

Model `{results["model"]}`, weights `{results["weights"][:12]}`: 8 views of 64 x 64, 45 degrees apart and 20 degrees
from above, {options["sampler"]} with {options["steps"]} steps, guidance {options["guidance"]["scale"]:g};
{results["seconds_per_turn"]:.2f} s of processor time a turn.

The noun is right for **{_percent(overall["noun"])}** of {overall["prompts"]} prompts in ten languages (luck with the
same turns: {_percent(luck["noun"])}), the colour for **{_percent(overall["colour"])}** of those that ask for one
(luck: {_percent(luck["colour"])}). The prompts are those of the [point clouds](point_cloud.md), which learn from the
same things; none is a training caption. Below, every one in the order of `benchmarks/prompts/shapes.csv`; green: noun
and colour right.

![Every turn, moving](pictures/multi_view/following.webp)

Some of them, view by view:

![Turns, view by view](pictures/multi_view/views.webp)
"""


def _tables(results: Mapping[str, Any]) -> str:
    rows = [_line("**all**", results["overall"])]
    rows += [_line(LANGUAGES.get(name, name), row) for name, row in results["languages"].items()]
    rows += [_line("*objects of the corpus*", results["real"]), _line("*the same through the codec*", results["codec"])]
    return f"""## Prompts followed

| | prompts | noun | colour | both | single views | sides in order |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{chr(10).join(rows)}

A turn is compared, all views together and reduced to 16 x 16 pixels, with {results["references"]} references: each
thing of the corpus in its own colours and in ten others. It shows the noun of the nearest, and the colour of the
nearest that was painted. *Single views*: the part of the views that are nearest to the asked noun on their own, among
all things from the same side. *Sides in order*: of the turns whose nearest thing looks different from each side
({results["overall"]["distinct"]} of them), those that fit it better as they are than turned by one to seven views;
luck would be 13 %. The last two rows say what the measure gives a perfect model.
"""


def _line(name: str, row: Mapping[str, Any]) -> str:
    shares = " | ".join(_percent(row[key]) for key in ("noun", "colour", "both", "sides", "in_order"))
    return f"| {name} | {row['prompts']} | {shares} |"


def _extrapolation(results: Mapping[str, Any]) -> str:
    found = results.get("extrapolation")
    if found is None:
        return ""
    more = [
        f"| {name} | {_percent(row['finer_noun'])} | {row['finer_distance']:.4f} | {_percent(row['twice_noun'])} "
        f"| {row['twice_distance']:.4f} | {row['step']:.1f} | {row['seconds']:.1f} |"
        for name, row in found["more"].items()
    ]
    larger = [
        f"| {name} | {_percent(row['noun'])} | {_percent(row['colour'])} | {row['distance']:.4f} "
        f"| {row['seconds']:.1f} |"
        for name, row in found["larger"].items()
    ]
    return f"""## More and larger views than trained

{len(found["prompts"])} prompts that the model follows at its own size, with the same seed each time. Sixteen views can
be one turn in steps half as wide, or two turns. So every second view is compared with the things of the corpus
(*finer*), and so is the first half (*two turns*): the smaller distance says what a method makes. Change: mean
difference between neighbouring views, of 255.

### 16 views of 64 x 64

| method | noun, finer | distance | noun, two turns | distance | change | s a turn |
| --- | ---: | ---: | ---: | ---: | ---: | ---: |
{chr(10).join(more)}

{_turns(found["more"])}

The first prompt by each method, in the order of the table:

![16 views](pictures/multi_view/more.webp)

### 8 views of 128 x 128

| method | noun | colour | distance | s a turn |
| --- | ---: | ---: | ---: | ---: |
{chr(10).join(larger)}

{_best(found["larger"])}

![8 larger views](pictures/multi_view/larger.webp)
"""


def _turns(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Which methods make one turn of more views, and which make two, by the smaller distance."""
    finer = [f"`{name}`" for name, row in rows.items() if row["finer_distance"] < row["twice_distance"]]
    twice = [f"`{name}`" for name in rows if f"`{name}`" not in finer]
    text = f"One turn in finer steps by {', '.join(finer) or 'none'}; two turns by {', '.join(twice) or 'none'}."
    return fill(f"{text} The modality's default is `{DEFAULT}`.", 120, break_on_hyphens=False)


def _best(rows: Mapping[str, Mapping[str, float]]) -> str:
    least = min(rows, key=lambda name: rows[name]["distance"])
    text = f"Nearest to the things of the corpus is `{least}`, whose start was the native turn, enlarged."
    return text if "strength" in least else f"Nearest to the things of the corpus is `{least}`."


def _misses(rows: Sequence[Mapping[str, Any]]) -> str:
    missed = [row for row in rows if not row["noun_hit"] or row["colour_hit"] is False]
    lines = ["## What went wrong", "", "| prompt | asked | nearest | colour |", "| --- | --- | --- | --- |"]
    for row in missed:
        colour = {None: "not asked", True: "right", False: row["found_colour"]}[row["colour_hit"]]
        lines.append(f"| {row['text']} | {row['colour'] or ''} {row['noun']} | {row['found']} | {colour} |")
    return "\n".join([*lines, ""])


def main() -> None:
    """Write the text of the page again."""
    root = Path(__file__).resolve().parent.parent
    source = max((root / "benchmarks" / "results").glob("multi_view_following-*.json"))
    write_text(json.loads(source.read_text(encoding="utf-8")), root / "docs", source)


if __name__ == "__main__":
    main()
