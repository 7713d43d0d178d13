"""The page of the video benchmark: tables, every clip as a moving picture, and what each extrapolation method makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from following_page import HIT, LANGUAGES, MISS
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

HALF_HIT = (245, 180, 30)
"""Frame of a clip of which only the direction or only the object is right."""
FRAME, COLUMNS, SHOWN = 2, 12, 4
HEAD = (
    "| clips | number | direction | object | both | least change | largest median | largest change |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)
METHOD_HEAD = (
    "| method | direction | object | first half | second half | speed | way | jump | objects |\n"
    "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n"
)


def to_bytes(clips: Tensor) -> NDArray[np.uint8]:
    """Clips `[N, 3, F, H, W]` in 0..1 to bytes `[N, F, H, W, 3]`."""
    return (clips * 255).round().to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous().numpy()


def write_page(results: dict[str, Any], clips: Tensor, others: Mapping[str, Tensor], docs: Path, source: Path) -> None:
    """Write docs/video.md and docs/pictures/video/."""
    folder = docs / "pictures" / "video"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.webp"):
        old.unlink()
    rows, shown = results["outcomes"], to_bytes(clips)
    colours = [(MISS, HALF_HIT, HIT)[row["object_hit"] + row["direction_hit"]] for row in rows]
    save_moving(folder / "following.webp", wall(shown, colours), results["rate"])
    first = [
        next(i for i, row in enumerate(rows) if row["asked_direction"] == d) for d in ("left", "right", "up", "down")
    ]
    save(folder / "frames.webp", strips([shown[i] for i in first]))
    for name in ("longer", "larger"):
        methods = {key.split(" ", 1)[1]: to_bytes(value) for key, value in others.items() if key.startswith(f"{name} ")}
        if methods:
            number = min(SHOWN, len(next(iter(methods.values()))))
            picks = [i * len(next(iter(methods.values()))) // number for i in range(number)]
            save(folder / f"{name}.webp", strips([value[i] for i in picks[:2] for value in methods.values()]))
            grid = [value[i] for value in methods.values() for i in picks]
            save_moving(
                folder / f"{name}-moving.webp", wall(grid, [(255, 255, 255)] * len(grid), number), results["rate"]
            )
    parts = [_head(results, source), _tables(results), _pictures(rows), _extrapolation(results), _misses(rows)]
    (docs / "video.md").write_text("\n".join(parts), encoding="utf-8")


def wall(clips: Sequence[NDArray[np.uint8]], colours: Sequence[tuple[int, int, int]], columns: int = COLUMNS) -> Any:
    """Clips `[F, H, W, 3]` side by side in frames of colours: one clip `[F, rows, columns, 3]`."""
    frames, height, width = clips[0].shape[:3]
    tall, wide = height + 2 * FRAME, width + 2 * FRAME
    lines = -(-len(clips) // columns)
    canvas = np.full((frames, lines * tall, columns * wide, 3), 255, dtype=np.uint8)
    for i, (clip, colour) in enumerate(zip(clips, colours, strict=True)):
        top, left = i // columns * tall, i % columns * wide
        canvas[:, top : top + tall, left : left + wide] = colour
        canvas[:, top + FRAME : top + FRAME + height, left + FRAME : left + FRAME + width] = clip
    return canvas


def strips(clips: Sequence[NDArray[np.uint8]]) -> Image.Image:
    """One row for each clip, its frames side by side."""
    return Image.fromarray(np.concatenate([np.concatenate(list(clip), axis=1) for clip in clips]))


def save(path: Path, picture: Image.Image) -> None:
    """Write a picture as WebP."""
    picture.save(path, quality=80, method=6)


def save_moving(path: Path, clip: NDArray[np.uint8], rate: float) -> None:
    """Write a clip `[F, H, W, 3]` as an animated WebP."""
    frames = [Image.fromarray(frame) for frame in clip]
    frames[0].save(
        path, save_all=True, append_images=frames[1:], duration=round(1000 / rate), loop=0, quality=75, method=6
    )


def _percent(value: float) -> str:
    return f"{value:.1%}"


def _line(name: str, row: Mapping[str, Any]) -> str:
    shares = " | ".join(_percent(row[key]) for key in ("direction", "object", "both"))
    changes = " | ".join(f"{row[key]:.2f}" for key in ("least_change", "largest_median", "largest_change"))
    return f"| {name} | {row['prompts']} | {shares} | {changes} |"


def _head(results: dict[str, Any], source: Path) -> str:
    options, overall, limits, luck = results["options"], results["overall"], results["thresholds"], results["luck"]
    return f"""# What the built-in video model makes

Written by `python benchmarks/video_following.py --extrapolate`; the numbers are in
`benchmarks/results/{source.name}`. Do not edit.

{overall["prompts"]} prompts in {len(results["languages"])} languages ask for one thing that goes left, right, up or
down. They are `benchmarks/prompts/video_following.csv`; none is a training caption, and their sentences are built
otherwise. Each gets one clip of 12 frames of 64 x 64 at {results["rate"]:g} frames a second, from a seed that follows
from its id: nothing was chosen by hand.

**Direction**: the least-squares slope of the object's centroid, where the object is what differs from the border's
median colour. **Object**: squares cut around it from five frames are nearest, pixel by pixel, to the sprite that was
asked, out of everything in the corpus. Nothing of the prompt goes into either.

**{_percent(overall["direction"])} of the clips go the asked way** (wanted: {limits["direction"]:.0%}; luck with the
same clips: {_percent(luck["direction"])}), and **{_percent(overall["object"])} show the asked thing** (wanted:
{limits["object"]:.0%}; luck: {_percent(luck["object"])}).

Model `{results["model"]}`, weights `{results["weights"][:12]}`, {options["sampler"]} with {options["steps"]} steps,
schedule {options["schedule"]}, guidance {options["guidance"]["scale"]:g}, {results["type"]};
{results["seconds_per_clip"]:.2f} s of processor time a clip.
"""


def _tables(results: dict[str, Any]) -> str:
    lines = [_line(LANGUAGES.get(name, name), row) for name, row in results["languages"].items()]
    lines.append(_line("**all**", results["overall"]))
    return f"""## By language

Changes are mean absolute differences between two frames in a row, of 255: the least of all clips, the largest median of
a clip (wanted: less than at a cut), and the largest of all, which shows where single frames flicker. At a
cut from one real clip to another on the same background, 19 of 20 times at least {results["cut"]:.2f} changes.

{HEAD}{chr(10).join(lines)}

The measure itself, on real clips of the corpus that do exactly what each prompt asks:

{HEAD}{_line("real clips", results["real"])}
{_line("the same through the codec", results["codec"])}
"""


def _pictures(rows: Sequence[Mapping[str, Any]]) -> str:
    return f"""## Every clip

All {len(rows)} clips in the order of the prompt file. Green: direction and object are right; orange: one of them; red:
neither.

![all clips, moving](pictures/video/following.webp)

The first clip of each direction, frame by frame:

![four clips, frame by frame](pictures/video/frames.webp)
"""


def _extrapolation(results: dict[str, Any]) -> str:
    found = results.get("extrapolation")
    if found is None:
        return ""
    native = _method("native", found["native"]["none"])
    names = {"longer": "Twice the frames: 24 x 64 x 64", "larger": "Four times the pixels: 12 x 128 x 128"}
    parts = [
        "## Longer and larger than trained\n",
        f"{len(found['prompts'])} prompts that the model follows at its own size, with the same seed each time. Speed,",
        "way and jump are in pixels of 64: pixels a frame along the asked way, from end to end, and largest step of",
        "the centroid between two frames. First and second half: clips that show the asked thing there. Objects:",
        "separate ones a frame.\n",
    ]
    for name, title in names.items():
        lines = [_method(method, row) for method, row in found[name].items()]
        parts += [f"### {title}\n", METHOD_HEAD + native + "\n" + "\n".join(lines) + "\n"]
        parts += [f"Rows: {', '.join(found[name])}.\n", f"![{title}](pictures/video/{name}-moving.webp)\n"]
        parts += [
            f"Two of them frame by frame, the methods in the same order:\n\n![frames](pictures/video/{name}.webp)\n"
        ]
    return "\n".join(parts)


def _method(name: str, row: Mapping[str, float]) -> str:
    shares = [_percent(row[key]) for key in ("direction", "object", "object_first_half", "object_second_half")]
    numbers = [f"{row[key]:.2f}" for key in ("speed", "way", "jump", "objects")]
    return f"| {name} | {' | '.join([*shares, *numbers])} |"


def _misses(rows: Sequence[Mapping[str, Any]]) -> str:
    missed = [row for row in rows if not (row["object_hit"] and row["direction_hit"])]
    parts = ["## Misses\n", "| prompt | asked | shown |", "| --- | --- | --- |"]
    for row in missed:
        asked, shown = f"{row['asked']} {row['asked_direction']}", f"{row['shown']} {row['shown_direction']}"
        parts.append(f"| {row['text']} | {asked} | {shown} |")
    return "\n".join(parts) + "\n" if missed else "## Misses\n\nNone.\n"
