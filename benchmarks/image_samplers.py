"""The built-in image model under several samplers, beside 1,000 steps of the stochastic equation.

Every setting draws the same prompts of `benchmarks/prompts`, guided as the model's description asks. Three numbers say
what comes out:

* followed: the share of pictures whose nearest training sprite is the prompted one (`nearest_sprite.py`);
* mess: root mean square difference to that sprite, drawn as it should be; less is a cleaner picture;
* distance: sliced Wasserstein-1 of the latents, in cells of 2 x 2 (one token each), to those of the 1,000 steps.

The last is compared with `floor`: what two sets of the same setting, from other seeds, differ by.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from builtin_image import CORPORA, ImageModel, load_model, seed_of
from prompt_following import Prompt, outcomes, read_prompts, share
from torch import Tensor
from torch.nn import functional as F

from modalities.training.corpora import packages
from modalities.training.corpora.nearest_sprite import SpriteIndex
from modalities.training.corpora.sprites import load_sprites

Row = dict[str, Any]
Setting = tuple[str, dict[str, Any], int]
"""Sampler, its options, steps."""
SETTINGS: tuple[Setting, ...] = (
    ("poisson-midpoint", {"k": 16}, 21),
    ("euler-maruyama", {"diffusion": "memoryless"}, 40),
    ("midpoint", {}, 20),
    ("dpm-solver++", {}, 40),
    ("poisson-midpoint", {"k": 16}, 42),
    ("euler-maruyama", {"diffusion": "memoryless"}, 80),
    ("midpoint", {}, 40),
    ("dpm-solver++", {}, 80),
)
"""Four at about 40 evaluations of the guided velocity, four at about 80."""
REFERENCE = ("euler-maruyama", {"diffusion": "memoryless"}, 1000)
EVALUATIONS = {"midpoint": 2.0, "poisson-midpoint": 2 - 1 / 16}
"""A step; the last step of poisson-midpoint has one."""
DIRECTIONS = 128


def image_quality(count: int, sets: int, keep: Callable[[list[Row]], None]) -> list[Row]:
    """Rows of all settings for `count` prompts of the benchmark, evenly chosen; keep(rows) after each of them.

    sets: pictures of a prompt in all settings but the reference, which draws one.
    """
    packages.fetch(CORPORA)
    every = read_prompts()
    prompts = every[:: max(1, len(every) // count)][:count]
    index, model = SpriteIndex(load_sprites(CORPORA)), load_model("builtin/image", torch.float32)
    reference, row = measured(model, index, prompts, REFERENCE, 1)
    rows = [row]
    keep(rows)
    for setting in SETTINGS:
        latents, row = measured(model, index, prompts, setting, sets)
        parts = [tokens(part) for part in latents.chunk(sets)]
        row["distance"] = sum(sliced(part, tokens(reference)) for part in parts) / sets
        row["floor"] = sliced(parts[0], parts[1]) if sets > 1 else None
        rows.append(row)
        keep(rows)
        print(row, flush=True)
    return rows


def measured(
    model: ImageModel,
    index: SpriteIndex,
    prompts: Sequence[Prompt],
    setting: Setting,
    sets: int,
) -> tuple[Tensor, Row]:
    """Latents `[sets * prompts, C, h, w]` of a setting, and what the pictures show."""
    name, given, steps = setting
    options = replace(model.defaults, sampler=name, sampler_options=given, steps=steps)
    asked = [prompt for _ in range(sets) for prompt in prompts]
    seeds = [seed_of(f"{prompt.id} {number // len(prompts)} {name}") for number, prompt in enumerate(asked)]
    began = time.process_time()
    size = tuple(model.description.native_size)
    with torch.inference_mode():
        latents = model.generate(model.encode([prompt.text for prompt in asked]), seeds, size, options)
    seconds = time.process_time() - began
    found = outcomes(asked, index.nearest(model.decode(latents)))
    followed = share([row.concept_hit for row in found]) or 0.0
    mess = torch.tensor([row.distance for row in found])
    evaluations = EVALUATIONS.get(name, 1.0) * steps - (EVALUATIONS[name] - 1 if name == "poisson-midpoint" else 0)
    return latents, {
        "sampler": name,
        "steps": steps,
        "evaluations": round(evaluations, 1),
        "pictures": len(asked),
        "followed": followed,
        "followed_error": math.sqrt(followed * (1 - followed) / len(asked)),
        "mess": float(mess.mean()),
        "mess_error": float(mess.std() / math.sqrt(len(mess))),
        "cpu_seconds_a_picture": seconds / len(asked),
    }


def tokens(latents: Tensor) -> Tensor:
    """Cells of 2 x 2 latents `[B, C, h, w]` as rows `[B h w / 4, 4 C]`, the model's tokens."""
    cells = F.pixel_unshuffle(latents.float(), 2)
    return cells.flatten(2).transpose(1, 2).flatten(0, 1)


def sliced(rows: Tensor, others: Tensor) -> float:
    """Sliced Wasserstein-1 distance of as many rows, over random directions that are always the same."""
    ways = F.normalize(torch.randn(rows.shape[1], DIRECTIONS, generator=torch.Generator().manual_seed(0)), dim=0)
    return float((torch.sort(rows @ ways, dim=0).values - torch.sort(others @ ways, dim=0).values).abs().mean())
