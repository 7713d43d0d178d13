"""The page of the prompt-following benchmark: tables, contact sheets, and every miss beside what it was taken for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from modalities.training.corpora.concepts import BACKGROUNDS, CONCEPTS, STYLES
from modalities.training.corpora.nearest_sprite import composite

LANGUAGES = {
    "en": "English",
    "fr": "French",
    "es": "Spanish",
    "de": "German",
    "it": "Italian",
    "pt": "Portuguese",
    "ja": "Japanese",
    "zh": "Chinese",
    "ru": "Russian",
    "ar": "Arabic",
    "emoji": "emoji",
}
HIT, MISS, FRAME = (60, 160, 75), (214, 40, 40), 3
COLUMNS = 8
TABLE_HEAD = (
    "| prompts | number | concept | background | count | two or three asked | style asked | all at once |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)


def to_bytes(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures `[N, 3, H, W]` in 0..1 to bytes `[N, H, W, 3]`."""
    return (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def write_page(results: dict[str, Any], pictures: Tensor, sprites: NDArray[np.uint8], docs: Path, source: Path) -> None:
    """Write docs/prompt_following.md and docs/pictures/prompt_following/."""
    folder = docs / "pictures" / "prompt_following"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    rows, shown = results["outcomes"], to_bytes(pictures)
    for name in results["languages"]:
        chosen = [i for i, row in enumerate(rows) if row["language"] == name]
        sheet([shown[i] for i in chosen], [rows[i]["concept_hit"] for i in chosen]).save(
            folder / f"{name}.webp", quality=85, method=6
        )
    misses = [i for i, row in enumerate(rows) if not row["concept_hit"]]
    for i in misses:
        strip(rows[i], shown[i], sprites).save(folder / f"{rows[i]['id']}.webp", quality=85, method=6)
    text = "\n".join([_head(results, source), _tables(results), _sheets(results), _misses(rows, misses)])
    (docs / "prompt_following.md").write_text(text, encoding="utf-8")


def write_sheet(results: dict[str, Any], pictures: Tensor, path: Path) -> None:
    """One picture of every fourth prompt, as `sheet` shows them."""
    some = pictures[::4]
    hits = [row["concept_hit"] for row in results["outcomes"][::4]]
    sheet(to_bytes(some), hits).save(path, quality=85, method=6)


def sheet(pictures: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], hits: Sequence[bool]) -> Image.Image:
    """Pictures side by side, framed green for a hit and red for a miss."""
    side = pictures[0].shape[0] + 2 * FRAME
    lines = -(-len(pictures) // COLUMNS)
    canvas = Image.new("RGB", (COLUMNS * side, lines * side), (255, 255, 255))
    for i, (picture, hit) in enumerate(zip(pictures, hits, strict=True)):
        cell = Image.new("RGB", (side, side), HIT if hit else MISS)
        cell.paste(Image.fromarray(picture), (FRAME, FRAME))
        canvas.paste(cell, (i % COLUMNS * side, i // COLUMNS * side))
    return canvas


def strip(row: dict[str, Any], picture: NDArray[np.uint8], sprites: NDArray[np.uint8]) -> Image.Image:
    """The sample, the nearest sprite on the colour that was found, and what was asked."""
    nearest = composite(
        sprites[CONCEPTS.index(row["shown"]), STYLES.index(row["shown_style"])],
        BACKGROUNDS[row["shown_background"]],
        row["shown_count"],
    )
    asked = composite(
        sprites[CONCEPTS.index(row["asked"]), 0],
        BACKGROUNDS[row["asked_background"] or "white"],
        row["asked_count"],
    )
    gap = np.full((picture.shape[0], 4, 3), 255, dtype=np.uint8)
    return Image.fromarray(np.concatenate([picture, gap, nearest, gap, asked], axis=1))


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _line(name: str, row: dict[str, Any]) -> str:
    shares = " | ".join(_percent(row[key]) for key in ("concept", "background", "count", "several", "style", "all"))
    return f"| {name} | {row['prompts']} | {shares} |"


def _head(results: dict[str, Any], source: Path) -> str:
    options = results["options"]
    overall, limits = results["overall"], results["thresholds"]
    return f"""# Prompt following of the built-in image model

Written by `python benchmarks/prompt_following.py`; the numbers are in `benchmarks/results/{source.name}`. Do
not edit.

{overall["prompts"]} prompts ask for one of {len(CONCEPTS)} things, on one of {len(BACKGROUNDS)} background
colours, some two or three times or in a style. They are `benchmarks/prompts/following.csv`; none is a training
caption, and their sentences are built otherwise. Each prompt gets one picture, from a seed that follows from
its id: nothing was chosen by hand.

A picture **shows** the training sprite (any thing, either style) whose composite on the picture's own
background colour is nearest pixel by pixel, over sizes, shifts and the layouts of one, two and three.
**Concept**: it is the thing that was asked. **Background**: the median colour of the border is nearest, in CIE
Lab, to the colour that was asked.

**{_percent(overall["concept"])} of the prompts show the thing asked for** (wanted: {limits["concept"]:.0%};
luck with the same pictures: {_percent(results["luck"])}), and {_percent(overall["background"])} have the
background asked for (wanted: {limits["background"]:.0%}).

Model `{results["model"]}`, weights `{results["weights"][:12]}`, {options["sampler"]} with {options["steps"]}
steps, schedule {options["schedule"]}, guidance {options["guidance"]["scale"]:g}, {results["type"]};
{results["seconds"]:.0f} s of processor time for all.
"""


def _tables(results: dict[str, Any]) -> str:
    lines = [_line(LANGUAGES.get(name, name), row) for name, row in results["languages"].items()]
    lines.append(_line("**all**", results["overall"]))
    understood = results["text_alone"]
    alone = ", ".join(
        f"{LANGUAGES.get(name, name)} {_percent(hit)}" for name, hit in understood.items() if name != "overall"
    )
    return f"""## By language

{TABLE_HEAD}{chr(10).join(lines)}

The text encoder by itself, asked for the nearest of {len(CONCEPTS) * len(BACKGROUNDS)} English captions, finds the
thing in {_percent(understood["overall"])} of the prompts ({alone}).

The measure itself, on scenes that are composed exactly as each prompt asks:

{TABLE_HEAD}{_line("composed scenes", results["composed"])}
{_line("the same through the codec", results["codec"])}
"""


def _sheets(results: dict[str, Any]) -> str:
    parts = ["## Every picture", "", "In the order of the prompt file; green: the thing asked for, red: another.", ""]
    for name in results["languages"]:
        parts += [f"{LANGUAGES.get(name, name)}:", "", f"![{name}](pictures/prompt_following/{name}.webp)", ""]
    return "\n".join(parts)


def _misses(rows: Sequence[dict[str, Any]], misses: Sequence[int]) -> str:
    if not misses:
        return "## Confusions\n\nNone.\n"
    parts = [
        "## Confusions",
        "",
        f"All {len(misses)} pictures that show another thing: the sample, its nearest sprite, what was asked.",
        "",
        "| prompt | asked | taken for | sample, nearest, asked |",
        "| --- | :-: | :-: | --- |",
    ]
    for i in misses:
        row = rows[i]
        words = row["text"].replace("|", "\\|")
        picture = f"![{row['id']}](pictures/prompt_following/{row['id']}.webp)"
        parts.append(f"| {words} | {row['asked']} | {row['shown']} | {picture} |")
    return "\n".join(parts) + "\n"
