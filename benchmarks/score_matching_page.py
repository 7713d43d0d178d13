"""docs/score_matching.md: what the objectives learned and what they cost, with a plot, and what follows."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curves import Panel, draw
from dated_parts import dates

Rows = Mapping[str, Mapping[str, float]]
DENOISING, OURS, PLAIN = "denoising", "LCSS", "LCSS, plain"


def write_page(result: dict[str, Any], docs: Path, source: Path) -> None:
    """Write docs/score_matching.md and docs/pictures/score_matching.svg from the parts that the result holds."""
    parts = result["parts"]
    sections = [_head(result, source)]
    if "dimension" in parts:
        draw(panels(parts["dimension"]["rows"]), docs / "pictures" / "score_matching.svg")
        sections.append("![Divergence and time as dimension grows](pictures/score_matching.svg)\n")
    for name, section in (
        ("mixture", _mixture),
        ("times", _times),
        ("dimension", _dimension),
        ("pictures", _pictures),
        ("generators", _generators),
    ):
        if name in parts:
            sections.append(section(parts[name]))
    (docs / "score_matching.md").write_text("\n".join(sections), encoding="utf-8")


def panels(rows: Mapping[str, Rows]) -> list[Panel]:
    """Divergence and time a step against dimension."""
    names = list(next(iter(rows.values())))

    def lines(key: str) -> dict[str, list[tuple[float, float]]]:
        return {name: [(float(d), row[name][key]) for d, row in rows.items()] for name in names}

    return [
        Panel(title="what is learned", x="dimension", y="relative Fisher divergence", lines=lines("divergence")),
        Panel(title="what it costs", x="dimension", y="milliseconds a step", lines=lines("milliseconds")),
    ]


def _head(result: dict[str, Any], source: Path) -> str:
    machine = next(iter(result["parts"].values()))["machine"]
    return f"""# Score matching, measured

Made by `python benchmarks/score_matching.py` on {dates(result["parts"])} ({machine["processor"]}, one thread, torch
{machine["torch"]}); all numbers are in `benchmarks/results/{source.name}`. The losses are those of
`modalities/training/score_matching.py`; which names a training file takes is said in
[training.md](training.md#objectives).

In every table the same network starts from the same weights and sees the same data and noise, with every objective
for as many steps. *Divergence* is E w |S − s|² over E w |s|² at new samples, s the exact score of the noised density
and w its variance: 0 is perfect, 1 is a network that puts out nothing. Times are CPU time of a whole step (forward,
backward, Adam), the least of all steps, taken in turn.

*LCSS* evaluates the network at both signs of its perturbation, r = 0.3; *plain* is one evaluation with r = 1. Both
learn the score of the noise level that they are labelled with, because x carries less noise of its own.
"""


def table(rows: Rows, measure: str, title: str) -> str:
    """One row for an objective: the measure, time a step, and both over those of denoising score matching."""
    base = rows[DENOISING]
    lines = [
        f"| objective | {title} | over denoising | ms a step | over denoising |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        found, spent = row[measure], row["milliseconds"]
        lines.append(
            f"| {name} | {found:.4f} | {found / base[measure]:.2f} | {spent:.2f} | {spent / base['milliseconds']:.2f} |"
        )
    return "\n".join(lines) + "\n"


def reading(rows: Rows, measure: str) -> str:
    """What the table says of LCSS against its rivals; errors within a fifth of each other count as equal."""
    said = []
    for name in (OURS, PLAIN):
        ours = rows[name]
        words = []
        for rival in rows:
            if rival in (OURS, PLAIN):
                continue
            share = ours[measure] / rows[rival][measure]
            what = "as good as" if 0.8 <= share <= 1.25 else "better than" if share < 0.8 else "worse than"
            speed = rows[rival]["milliseconds"] / ours["milliseconds"]
            words.append(f"{what} {rival} at {speed:.1f} times its speed")
        said.append(f"{name} is {', '.join(words)}.")
    return textwrap.fill(" ".join(said), 120)


def _mixture(part: dict[str, Any]) -> str:
    return f"""## A mixture in two dimensions, one level of noise

Six modes of deviation 0.25 on a ring, noise 0.1, three layers of 128, {part["steps"]:,} steps of 512 samples, one seed.

{table(part["rows"], "divergence", "divergence")}
{reading(part["rows"], "divergence")}
"""


def _times(part: dict[str, Any]) -> str:
    return f"""## The same mixture at all levels

VE noise from 4 to 0.05, uniform in the logarithm, {part["steps"]:,} steps.

{table(part["rows"], "divergence", "divergence")}
{reading(part["rows"], "divergence")}
"""


def _dimension(part: dict[str, Any]) -> str:
    names = list(next(iter(part["rows"].values())))
    lines = ["| dimension | " + " | ".join(names) + " |", "| ---: |" + " ---: |" * len(names)]
    for dimension, rows in part["rows"].items():
        cells = [f"{rows[name]['divergence']:.3f}, {rows[name]['milliseconds']:.1f} ms" for name in names]
        lines.append(f"| {dimension} | " + " | ".join(cells) + " |")
    most = list(part["rows"].values())[-1]
    return f"""## As dimension grows

Four modes of deviation 0.5 at distance 2.5 from the middle, noise 0.5, three layers as wide as the data (128 to 512),
{part["steps"]:,} steps of 128 samples.

{chr(10).join(lines)}

In {list(part["rows"])[-1]} dimensions:

{reading(most, "divergence")}
"""


def _pictures(part: dict[str, Any]) -> str:
    return f"""## Pictures of 64 x 64

Sprites on plain backgrounds, five convolutions of 32 channels, VE noise from 4 to 0.05, {part["steps"]:,} steps of 4
pictures. *Noise error* is the mean square error of the noise prediction on 64 held-out pictures, the same noise for
all; 1 is a network that puts out nothing. It is the divergence and something that no network can change.

{table(part["rows"], "noise_error", "noise error")}
{reading(part["rows"], "noise_error")}
"""


def _generators(part: dict[str, Any]) -> str:
    lines = [
        "| `objective` | steps | CPU seconds | velocity error | near noise | middle | near data | sliced distance |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in part["rows"].items():
        errors = " | ".join(f"{row[key]:.3f}" for key in ("error", "near_noise", "middle", "near_data", "distance"))
        lines.append(f"| `{name}` | {row['steps']} | {row['cpu_seconds']:.0f} | {errors} |")
    order = sorted(part["rows"], key=lambda name: part["rows"][name]["distance"])
    return f"""## A tiny image model with every objective

Made by `python benchmarks/objectives_on_images.py`: `parhelion train` on `workflows/train/image_tiny.yaml` with each
`objective`, a Next-DiT of {part["parameters"]:,} parameters on the latents of {part["scenes"]:,} sprites of 64 x 64,
batches of {part["batch"]}. Every objective has the same budget of {part["budget"]:,} evaluations of the network on a
batch (`sliced` counts as two: it is differentiated twice). *Velocity error* is the mean square error of the velocity
on latents that were not trained on, over uniform times and in three parts of them: t below 0.2, between, and above
0.8. *Sliced distance* is the Wasserstein-1 distance of drawn latents' tokens to those of the corpus, {part["drawn"]}
pictures without guidance.

{chr(10).join(lines)}

![What each objective draws](pictures/objectives.png)

Rows from the top: {", ".join(part["rows"])}. Nearest to the corpus first: {", ".join(order)}. The models are far from
trained; what is compared is how far each objective comes on the same small budget.
"""
