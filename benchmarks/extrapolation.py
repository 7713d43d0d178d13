"""Which way to a larger picture? Every extrapolation method at about 2x and 4x the trained area, measured.

    python benchmarks/extrapolation.py [--model builtin/image] [--prompts 8] [--steps N]

Prompts are made at the native size, and those whose picture shows the thing asked for are made at each larger size: by
every method from noise, by every method from the native latents re-noised to strength 0.6, and with proportional
attention, context drop and other strengths. Measured for each way:

    follows      the large picture, reduced to the native size, still shows it (nearest training sprite)
    repeated     pictures with more separate objects than the native picture has
    coverage     share of the picture that is not background, relative to the native picture
    detail       mean absolute Laplacian, relative to the native picture enlarged (above 1: detail was added)
    seconds      of processor time per picture

Writes benchmarks/results/extrapolation-<date>.json and docs/extrapolation.md with its pictures.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from builtin_image import CORPORA, ROOT, ImageModel, load_model, seed_of, with_steps, write_results
from extrapolation_page import write_page
from prompt_following import Prompt, read_prompts
from torch import Tensor
from torch.nn import functional as F

from modalities import catalog
from modalities.contracts import Conditioning, Extrapolation, GenerateOptions
from modalities.training.corpora import packages
from modalities.training.corpora.concepts import CONCEPTS
from modalities.training.corpora.nearest_sprite import SpriteIndex, border_colour, lab
from modalities.training.corpora.sprites import load_sprites

PLACING = "position-interpolation"
"""The method that is tried at several strengths besides 0.6: the one that keeps a small model's objects whole."""
TRIED = 3
"""Prompts made natively for each one that is kept, because only pictures that show what was asked are compared."""
FOREGROUND = 18.0
"""Distance from the background in CIE Lab from which a pixel belongs to an object; 2.3 is just noticeable."""
SMALLEST = 0.02
"""Separate objects below this share of the picture are not counted."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to a larger picture. strength: 1 is from noise."""

    name: str
    extrapolation: Extrapolation
    strength: float = 1.0


def ways() -> list[Way]:
    """Every way that is compared, in the order of the table."""
    methods = list(catalog.EXTRAPOLATIONS)
    found = [Way(method, Extrapolation(method=method)) for method in methods]
    for method in ("none", "time-aware"):
        proportional = Extrapolation(method=method, proportional_attention=True)
        found.append(Way(f"{method}, proportional attention", proportional))
    found.append(Way("time-aware, context drop 0.5", Extrapolation(method="time-aware", context_drop=0.5)))
    found += [Way(f"{method}, strength 0.6", Extrapolation(method=method), 0.6) for method in methods]
    found += [Way(f"{PLACING}, strength {s}", Extrapolation(method=PLACING), s) for s in (0.3, 0.5, 0.7)]
    found.append(Way("time-aware, strength 0.3", Extrapolation(method="time-aware"), 0.3))
    return found


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same for every way."""

    model: ImageModel
    index: SpriteIndex
    prompts: Sequence[Prompt]
    texts: Sequence[Conditioning]
    options: GenerateOptions
    native: Tensor
    """Latents at the native size."""
    pictures: Tensor
    """The same decoded, 0..1. Each shows what was asked."""
    tried: int
    """How many prompts were made natively to find these."""
    objects: Tensor
    """How many separate objects each of them has."""


def chosen_prompts(count: int) -> list[Prompt]:
    """Prompts for one object on a named background, evenly spaced through the benchmark's list and its languages."""
    single = [prompt for prompt in read_prompts() if prompt.count == 1 and prompt.background is not None]
    return [single[(i * len(single)) // count] for i in range(count)]


def reduced(pictures: Tensor, side: int) -> Tensor:
    """Pictures averaged down to a square of `side` pixels."""
    return F.interpolate(pictures, size=(side, side), mode="bilinear", antialias=True).clamp(0, 1)


def recognised(index: SpriteIndex, pictures: Tensor, side: int) -> Tensor:
    """The concept that each large picture shows, `[N]`.

    A square is reduced to the native size. Of another shape, native squares are cut along its longer axis, and the one
    nearest to any sprite speaks for the picture.
    """
    height, width = pictures.shape[2:]
    if height == width:
        return index.nearest(reduced(pictures, side)).concept
    axis = 2 if height > width else 3
    scale = side / min(height, width)
    even = F.interpolate(pictures, size=(round(height * scale), round(width * scale)), mode="bilinear", antialias=True)
    places = range(0, even.shape[axis] - side + 1, side // 4)
    found = [index.nearest(even.narrow(axis, place, side).contiguous()) for place in places]
    nearest = torch.stack([one.distance for one in found]).argmin(dim=0)
    return torch.stack([one.concept for one in found]).gather(0, nearest[None])[0]


def foreground(pictures: Tensor) -> Tensor:
    """Pixels that are not background, `[N, H, W]` bool."""
    ground = lab(border_colour(pictures))
    pixels = lab(pictures.permute(0, 2, 3, 1).reshape(-1, 3)).view(pictures.shape[0], -1, 3)
    far = (pixels - ground[:, None]).norm(dim=2) > FOREGROUND
    return far.view(pictures.shape[0], *pictures.shape[2:])


def objects(masks: Tensor) -> Tensor:
    """Number of connected regions (eight neighbours) of at least SMALLEST of the picture, `[N]`."""
    count, height, width = masks.shape
    labels = torch.arange(1, height * width + 1, dtype=torch.float32).view(1, height, width) * masks
    while True:
        spread = F.max_pool2d(labels, 3, 1, 1) * masks
        if torch.equal(spread, labels):
            break
        labels = spread
    found = []
    for label in labels.view(count, -1):
        sizes = label[label > 0].unique(return_counts=True)[1]
        found.append(int((sizes >= SMALLEST * height * width).sum()))
    return torch.tensor(found)


def laplacian(pictures: Tensor) -> Tensor:
    """Mean absolute Laplacian of the brightness of each picture, `[N]`."""
    grey = pictures.mean(dim=1, keepdim=True)
    kernel = torch.tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return F.conv2d(grey, kernel).abs().mean(dim=(1, 2, 3))


def compare(setting: Setting, pictures: Tensor, seconds: float) -> dict[str, Any]:
    """The row of one way."""
    side, size = setting.pictures.shape[-1], pictures.shape[2:]
    shown = recognised(setting.index, pictures, side)
    asked = torch.tensor([CONCEPTS.index(prompt.concept) for prompt in setting.prompts])
    enlarged = F.interpolate(setting.pictures, size=tuple(size), mode="bicubic", antialias=True).clamp(0, 1)
    masks, native = foreground(pictures), foreground(setting.pictures)
    cover = masks.float().mean(dim=(1, 2)) / native.float().mean(dim=(1, 2)).clamp_min(1e-3)
    more = objects(masks) > setting.objects
    return {
        "follows": round(float((shown == asked).float().mean()), 4),
        "repeated": round(float(more.float().mean()), 4),
        "coverage": round(float(cover.median()), 3),
        "detail": round(float((laplacian(pictures) / laplacian(enlarged)).median()), 3),
        "seconds": round(seconds, 2),
    }


def run_way(setting: Setting, way: Way, size: tuple[int, ...]) -> tuple[Tensor, float]:
    """The pictures of one way at one size, and the seconds of processor time that one picture took."""
    options = replace(setting.options, extrapolation=way.extrapolation, strength=way.strength)
    seeds = [seed_of(f"{prompt.id}/{'x'.join(map(str, size))}") for prompt in setting.prompts]
    start = setting.native if way.strength < 1 else None
    began = time.process_time()
    latents = setting.model.generate(setting.texts, seeds, size, options, start, batch=4)
    pictures = setting.model.decode(latents)
    return pictures, (time.process_time() - began) / len(seeds)


def prepare(arguments: argparse.Namespace) -> Setting:
    """Load everything and make the native pictures."""
    packages.fetch(arguments.corpora)
    index = SpriteIndex(load_sprites(arguments.corpora))
    model = load_model(arguments.model, torch.bfloat16 if arguments.bf16 else torch.float32)
    prompts = chosen_prompts(TRIED * arguments.prompts)
    options = with_steps(model.defaults, arguments.steps, arguments.guidance)
    texts = model.encode([prompt.text for prompt in prompts])
    size = tuple(model.description.native_size)
    native = model.generate(texts, [seed_of(prompt.id) for prompt in prompts], size, options)
    pictures = model.decode(native)
    asked = torch.tensor([CONCEPTS.index(prompt.concept) for prompt in prompts])
    follows = (index.nearest(pictures).concept == asked).nonzero()[:, 0]
    if not len(follows):
        raise SystemExit("no native picture shows what was asked: there is nothing to extrapolate with this model")
    print(f"{len(follows)} of {len(prompts)} native pictures show what was asked", flush=True)
    # Evenly over those that follow, so that the languages stay mixed.
    count = min(arguments.prompts, len(follows))
    kept = [int(follows[i * len(follows) // count]) for i in range(count)]
    return Setting(
        model=model,
        index=index,
        prompts=[prompts[i] for i in kept],
        texts=[texts[i] for i in kept],
        options=options,
        native=native[kept],
        pictures=pictures[kept],
        tried=len(prompts),
        objects=objects(foreground(pictures[kept])),
    )


def larger_sizes(setting: Setting) -> list[tuple[int, ...]]:
    """The squares nearest to twice and four times the native area that the model can make, and a panorama."""
    side = setting.pictures.shape[-1]
    possible = []
    for candidate in range(side + 1, 2 * side + 1):
        try:
            setting.model.generator.latent_shape((candidate, candidate))
        except ValueError:
            continue
        possible.append(candidate)
    squares = [min(possible, key=lambda n: abs(n * n / side**2 - area)) for area in (2, 4)]
    return [*((n, n) for n in squares), (side, 2 * side)]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run every way at every size and write the page."""
    setting = prepare(arguments)
    tables: dict[str, Any] = {}
    shown: dict[str, dict[str, Tensor]] = {}
    for size in larger_sizes(setting):
        name = "x".join(map(str, size))
        square = size[0] == size[1]
        enlarged = F.interpolate(setting.pictures, size=size, mode="bicubic", antialias=True).clamp(0, 1)
        tables[name], shown[name] = {}, {}
        if square:
            tables[name]["enlarged (no model)"] = compare(setting, enlarged, 0.0)
            shown[name]["enlarged (no model)"] = enlarged
        for way in ways():
            # A native picture stretched into a panorama is no start that anyone would choose.
            if not square and way.strength < 1:
                continue
            pictures, seconds = run_way(setting, way, size)
            row = compare(setting, pictures, seconds)
            tables[name][way.name], shown[name][way.name] = row, pictures
            print(f"{name}  {way.name:32s} follows {row['follows']:6.1%}  repeated {row['repeated']:6.1%}", flush=True)
    results = {
        "model": arguments.model,
        "weights": setting.model.description.weights_hash(),
        "native": list(setting.pictures.shape[2:]),
        "steps": setting.options.steps,
        "sampler": setting.options.sampler,
        "guidance": setting.options.guidance.scale,
        "prompts": [prompt.text for prompt in setting.prompts],
        "tried": setting.tried,
        "sizes": tables,
    }
    path = write_results("extrapolation", results)
    if not arguments.no_page:
        write_page(results, setting.pictures, shown, ROOT / "docs", path)
    return results


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="builtin/image", help="builtin/<name> or a model folder")
    parser.add_argument(
        "--corpora", type=Path, default=CORPORA, help="folder of the sprite packages; fetched if missing"
    )
    parser.add_argument("--prompts", type=int, default=8, help="how many prompts")
    parser.add_argument("--steps", type=int, default=12, help="sampler steps")
    parser.add_argument("--guidance", type=float, help="guidance scale instead of the model's own")
    parser.add_argument("--bf16", action="store_true", help="run the generator in bfloat16")
    parser.add_argument("--threads", type=int, default=1, help="threads of arithmetic")
    parser.add_argument("--no-page", action="store_true", help="write only the results, not docs/extrapolation.md")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    measure(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
