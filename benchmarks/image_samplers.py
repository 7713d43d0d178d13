"""The built-in image model under samplers of the stochastic equation: how many prompts are followed at which cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from builtin_image import CORPORA, load_model, seed_of
from nearest_sprite import SpriteIndex
from prompt_following import outcomes, read_prompts, summary

from modalities.training.corpora import packages
from modalities.training.corpora.sprites import load_sprites

SETTINGS = (
    ("midpoint", {}, 20, 40),
    ("poisson-midpoint", {"k": 16}, 21, 40),
    ("poisson-midpoint", {"k": 16}, 42, 80),
    ("euler-maruyama", {"diffusion": "memoryless"}, 40, 40),
    ("euler-maruyama", {"diffusion": "memoryless"}, 80, 80),
    ("euler-maruyama", {"diffusion": "memoryless"}, 1000, 1000),
)
"""Sampler, its options, steps, evaluations without guidance."""


def image_quality(count: int) -> list[dict[str, Any]]:
    """One row a setting: the shares of `count` prompts of the benchmark, evenly chosen, that the pictures follow."""
    packages.fetch(CORPORA)
    index, prompts = SpriteIndex(load_sprites(CORPORA)), read_prompts()[:: max(1, len(read_prompts()) // count)][:count]
    model = load_model("builtin/image", torch.float32)
    conditionings = model.encode([prompt.text for prompt in prompts])
    rows = []
    for name, given, steps, evaluations in SETTINGS:
        options = replace(model.defaults, sampler=name, sampler_options=given, steps=steps)
        seeds = [seed_of(prompt.id) for prompt in prompts]
        latents = model.generate(conditionings, seeds, tuple(model.description.native_size), options)
        found = summary(outcomes(prompts, index.nearest(model.decode(latents))))
        sampler = f"{name}, {steps} steps"
        rows.append({"sampler": sampler, "evaluations": evaluations, "followed": found["concept"], "shares": found})
        print(rows[-1], flush=True)
    return rows
