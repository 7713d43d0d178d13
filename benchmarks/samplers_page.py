"""docs/samplers.md: what the sampler benchmark measured, a plot of it, and what follows from the numbers."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from curves import Panel, draw
from dated_parts import dates

OURS, BASE, EULER_MARUYAMA = "Poisson midpoint", "its exact small step (DDPM)", "Euler-Maruyama"
SECOND_ORDER = ("midpoint, probability flow", "DPM-Solver++(2M)")
Settings = Mapping[str, Mapping[str, Mapping[str, float]]]


def write_page(result: dict[str, Any], docs: Path, source: Path) -> None:
    """Write docs/samplers.md and docs/pictures/samplers.svg from the parts that the result holds."""
    parts = result["parts"]
    draw(panels(parts), docs / "pictures" / "samplers.svg")
    sections = [_head(result, source)]
    for name, section in (
        ("flow", _flow),
        ("learned", _learned),
        ("langevin", _langevin),
        ("levels", _levels),
        ("image", _image),
    ):
        if name in parts:
            sections.append(section(parts[name]))
    (docs / "samplers.md").write_text("\n".join([*sections, _usage()]), encoding="utf-8")


def panels(parts: dict[str, Any]) -> list[Panel]:
    """Distance against evaluations, one panel for each part that has it."""
    found = []
    titles = {"flow": "flow, exact velocity", "learned": "flow, learned velocity", "levels": "DDPM, 1,000 levels"}
    for name, title in titles.items():
        if name in parts:
            found.append(_panel(title, parts[name]["settings"], parts[name]["floor"]))
    for name, settings in parts.get("langevin", {}).get("settings", {}).items():
        found.append(_panel(f"{name} Langevin dynamics", settings, parts["langevin"]["floor"]))
    return found


def _panel(title: str, settings: Settings, floor: float) -> Panel:
    lines = {
        name: [(row["evaluations"], row["distance"]) for row in rows.values()]
        for name, rows in sorted(settings.items(), key=lambda item: item[0] != OURS)
    }
    return Panel(
        title=title,
        x="evaluations a sample",
        y="sliced Wasserstein-1 distance",
        lines=lines,
        level=("true samples", floor),
    )


def _head(result: dict[str, Any], source: Path) -> str:
    machine = next(iter(result["parts"].values()))["machine"]
    return f"""# Samplers, measured

Made by `python benchmarks/poisson_midpoint.py` on {dates(result["parts"])} ({machine["processor"]}, one thread, torch
{machine["torch"]}); all numbers are in `benchmarks/results/{source.name}`. The methods are derived in
[maths.md](maths.md), section 3.

![Distance against evaluations](pictures/samplers.svg)

*Distance* is the sliced Wasserstein-1 distance of the samples to the exact target; the dashed line is what true
samples of the same number have. *Width* is the variance about the nearest mode over the true one, of samples within
four deviations; *outside* is the share of the others (0.0003 is right). Evaluations are counted.
"""


def _flow(part: dict[str, Any]) -> str:
    given, settings = part["arguments"], part["settings"]
    held = "All of them hold." if all(part["accepted"].values()) else "Not all of them hold."
    checks = "\n".join(f"* {name}: {'yes' if is_met else 'no'}" for name, is_met in part["accepted"].items())
    return f"""## A flow whose velocity is known

Six modes on a ring of radius 2.5 with deviation 0.25, {given["samples"]:,} samples, {given["seeds"]} seeds, uniform
grids. What is seen here is the sampler alone. True samples have a distance of {part["floor"]:.4f}.

{_table(settings)}
The numbers that the method has to reach here, at 16 steps and K = 32. {held}

{checks}

{flow_reading(settings)}
"""


def _table(settings: Settings) -> str:
    lines = [
        "| sampler | setting | evaluations | distance | width | outside |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for name, rows in settings.items():
        for setting, row in rows.items():
            error = row["distance_error"]
            distance = f"{row['distance']:.4f}" + (f" ± {error:.4f}" if error == error else "")
            numbers = f"{row['evaluations']:.1f} | {distance} | {row['width']:.3f} | {row['outside']:.4f}"
            lines.append(f"| {name} | {setting} | {numbers} |")
    return "\n".join(lines) + "\n"


def nearest(rows: Mapping[str, Mapping[str, float]], evaluations: float) -> Mapping[str, float]:
    """The setting whose evaluations are nearest to a number, in proportion."""
    return min(rows.values(), key=lambda row: abs(row["evaluations"] / evaluations - 1))


def compared(ours: float, theirs: float) -> str:
    """How many times as large another number is, or that they are about equal (within a tenth)."""
    if abs(ours / theirs - 1) < 0.1:
        return "about the same"
    return f"{theirs / ours:.1f} times that" if theirs > ours else f"{theirs / ours:.2f} times that"


def flow_reading(settings: Settings) -> str:
    """What the rows at about 30 evaluations say, which rivals need how many for as much, and where samples fly off."""
    ours = settings[OURS]["16 steps, K = 32"]
    count, distance = ours["evaluations"], ours["distance"]
    lines = [f"At {count:.0f} evaluations the distance of the Poisson midpoint method is {distance:.4f}:", ""]
    for name, rows in settings.items():
        if name == OURS:
            continue
        row = nearest(rows, ours["evaluations"])
        said = f"* {name}, {row['evaluations']:.0f} evaluations: {row['distance']:.4f}, "
        lines.append(said + f"{compared(ours['distance'], row['distance'])}; {_catches_up(rows, ours['distance'])}.")
    wild = [f"{name} at {s}" for name, rows in settings.items() for s, row in rows.items() if row["outside"] > 0.005]
    if wild:
        text = f"More than 1 in 200 samples lie outside every mode for: {'; '.join(wild)}."
        lines += ["", textwrap.fill(text, 120)]
    return "\n".join(lines)


def _catches_up(rows: Mapping[str, Mapping[str, float]], distance: float) -> str:
    reached = [row["evaluations"] for row in rows.values() if row["distance"] <= 1.1 * distance]
    most = max(row["evaluations"] for row in rows.values())
    return f"it is as near from {min(reached):.0f} on" if reached else f"it is not as near with {most:.0f}"


def _learned(part: dict[str, Any]) -> str:
    settings, given = part["settings"], part["arguments"]
    rows = {name: nearest(found, 31) for name, found in settings.items()}
    order = sorted(rows, key=lambda name: rows[name]["distance"])
    ranked = ", ".join(f"{name} {rows[name]['distance']:.4f}" for name in order)
    limits = {name: max(found.values(), key=lambda row: row["evaluations"]) for name, found in settings.items()}
    ode = min(limits[name]["distance"] for name in SECOND_ORDER)
    sde, strays = limits[BASE]["distance"], limits[BASE]["outside"]
    what = "nearer than" if sde < 0.9 * ode else "farther than" if sde > 1.1 * ode else "about as near as"
    return f"""## The same flow with a learned velocity

A network of three layers learned the velocity; its relative mean square error is {part["velocity_error"]:.2%}.
{given["samples"] // 4:,} samples; true samples have {part["floor"]:.4f}.

{_table(settings)}
{textwrap.fill(f"At about 31 evaluations, nearest first: {ranked}.", 120)}

With most evaluations the chain of the stochastic equation comes to {sde:.4f}, with {strays:.2%} outside, and the
second-order solvers of the probability flow to {ode:.4f}, with {limits[SECOND_ORDER[0]]["outside"]:.2%}: on this
network noise in the sampling ends {what} the flow.
"""


def _langevin(part: dict[str, Any]) -> str:
    head = f"""## Langevin dynamics

`overdamped` and `underdamped` of `modalities/flow/poisson_midpoint.py` start in their target (the ring's mixture with
noise of deviation 1 added) and walk for a time of 8; K = 16. *Width* is here the mean square over the true one. True
samples have a distance of {part["floor"]:.4f}.
"""
    text = [head]
    for name, settings in part["settings"].items():
        text += [f"### {name.capitalize()}\n", _table(settings), _gains(settings) + "\n"]
    return "\n".join(text)


def _gains(settings: Settings) -> str:
    """Distances at about equal evaluations."""
    said = []
    for setting, row in settings[OURS].items():
        plain = nearest(settings["plain"], row["evaluations"])
        if abs(plain["evaluations"] / row["evaluations"] - 1) < 0.15:
            said.append(f"{setting} {row['distance']:.4f} against {plain['distance']:.4f}")
    text = "Distance at about as many evaluations, against plain steps: " + "; ".join(said) + "."
    return textwrap.fill(text, 120)


def _levels(part: dict[str, Any]) -> str:
    whole = part["settings"]["ancestral sampling"]["1000 levels"]
    rows = [*part["settings"][OURS].values(), *part["settings"]["ancestral sampling"].values()]
    said = "; ".join(f"{row['evaluations']:.0f}: {row['distance'] / whole['distance']:.1f}" for row in rows)
    text = f"Distances over that of all 1,000 levels, by evaluations (blocks first, then levels left out): {said}."
    return f"""## The reverse diffusion of DDPM

`reverse_diffusion` with the linear schedule of 1,000 levels and the exact noise prediction, beside ancestral sampling
of all levels, of every 13th and of every 20th. True samples have {part["floor"]:.4f}.

{_table(part["settings"])}
{textwrap.fill(text, 120)}
"""


def _image(part: dict[str, Any]) -> str:
    reference, *rows = part["rows"]
    lines = [
        "| sampler | steps | evaluations | pictures | followed | mess | distance | floor | s a picture |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in part["rows"]:
        numbers = [f"{row['steps']} | {row['evaluations']:.0f} | {row['pictures']}"]
        numbers += [
            f"{row['followed']:.0%} ± {row['followed_error']:.0%}",
            f"{row['mess']:.4f} ± {row['mess_error']:.4f}",
        ]
        numbers += [f"{row[key]:.4f}" if row.get(key) is not None else "" for key in ("distance", "floor")]
        lines.append(f"| {row['sampler']} | {' | '.join(numbers)} | {row['cpu_seconds_a_picture']:.2f} |")
    table = "\n".join(lines)
    return f"""## The built-in image model

Pictures of 64 x 64 from prompts of `docs/prompt_following.md`, guided as the model asks (scale 4; each evaluation is
then two rows of the network). The first row is {reference["steps"]:,} steps of the stochastic equation. *Followed*:
the share of pictures nearest to the prompted sprite, with its standard error. *Mess*: root mean square difference to
the nearest sprite as it should look. *Distance*: sliced Wasserstein-1 of the latents' tokens to those of the first
row; *floor*: the same between two sets of one setting. Seconds are CPU time.

{table}

{image_reading(rows)}

A guided velocity is not that of a flow, so that with guidance the stochastic equation and the probability flow do not
have the same limit: a solver of the flow may stay away from the first row however many steps it takes.
"""


def image_reading(rows: list[dict[str, Any]]) -> str:
    """Which sampler comes nearest to the reference at each number of evaluations, and whether that means anything."""
    said = []
    for most, least in ((60, 0), (10**6, 60)):
        group = [row for row in rows if least < row["evaluations"] <= most]
        if not group:
            continue
        order = sorted(group, key=lambda row: row["distance"])
        ranked = ", ".join(f"{row['sampler']} {row['distance']:.4f}" for row in order)
        count = round(sum(row["evaluations"] for row in group) / len(group))
        clean = min(group, key=lambda row: row["mess"])
        floors = max((row["floor"] or 0.0) for row in group)
        gap = order[-1]["distance"] - order[0]["distance"]
        sure = "more" if gap > floors else "less"
        text = (
            f"At about {count} evaluations, nearest to the first row first: {ranked}; the largest gap is {sure} than "
            f"what two sets of one setting differ by. The cleanest pictures are those of {clean['sampler']} "
            f"({clean['mess']:.4f})."
        )
        said.append(textwrap.fill(text, 120))
    return "\n\n".join(said)


def _usage() -> str:
    return """## In use

In a workflow, for every model with a velocity: `sampler: poisson-midpoint`, or `sampler: {name: poisson-midpoint, k:
32}` with `steps: 20`, which costs about 40 evaluations, twice that with guidance; `parhelion plan` shows the expected
number. A block that is too long for the curvature of the velocity throws single samples far off, and guidance makes
it steeper.

In Python, for a target whose score is known, with a noise source of its own for each of 100 chains, so that no chain
depends on another:

    sources = [torch.Generator().manual_seed(seed) for seed in range(100)]
    noise = lambda: torch.stack([torch.randn(2, generator=source) for source in sources])
    x = overdamped(lambda x: -x, noise(), step=0.2, blocks=50, k=8, noise=noise)

`underdamped` takes velocities as well, and `reverse_diffusion` a noise prediction and alpha-bar of its levels.
"""
