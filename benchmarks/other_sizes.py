"""Media of three axes at other sizes than trained: every way to get there, and the latents that a way makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import torch
from builtin_image import ImageModel, seed_of
from torch import Tensor
from torch.nn import functional as F

from modalities import catalog
from modalities.contracts import Extrapolation, GenerateOptions

PLACING, STRENGTHS = "position-interpolation", (0.5, 0.7)
"""The method and the strengths that a stretched native clip is re-noised with."""


class Asked(Protocol):
    """A prompt of a benchmark."""

    @property
    def id(self) -> str:
        """What its seed follows from."""

    @property
    def text(self) -> str:
        """What the model is told."""


def ways(options: GenerateOptions) -> dict[str, GenerateOptions]:
    """Every way to another size by its name: each method from noise, and from the native clip, stretched."""
    found = {method: replace(options, extrapolation=Extrapolation(method=method)) for method in catalog.EXTRAPOLATIONS}
    for strength in STRENGTHS:
        settings = replace(options, extrapolation=Extrapolation(method=PLACING), strength=strength)
        found[f"{PLACING}, strength {strength}"] = settings
    return found


def latents_of(
    model: ImageModel,
    prompts: Sequence[Asked],
    size: tuple[int, ...],
    options: GenerateOptions,
    native: Tensor | None = None,
) -> Tensor:
    """Latents of prompts at a size; a prompt has the same seed in every size and method.

    native: latents at the native size, which a strength below 1 starts from: decoded, stretched to the size, encoded.
    """
    texts, seeds = model.encode([prompt.text for prompt in prompts]), [seed_of(prompt.id) for prompt in prompts]
    start = None
    if options.strength < 1 and native is not None:
        stretched = F.interpolate(model.decode(native) * 2 - 1, size=size, mode="trilinear", align_corners=False)
        with torch.inference_mode():
            start = model.codec.encode(stretched)
    return model.generate(texts, seeds, size, options, start, batch=4)
