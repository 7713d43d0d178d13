"""Longer and larger clips than the video model was trained for, by every extrapolation method, measured.

Twice the frames: does the object keep its speed or its place, does it stay the same thing, does it jump in the middle
(as a second clip glued to the first would)? Twice the rows and columns: is there still one object, going its way?

    direction   clips whose object goes the asked way over all frames
    object      clips that show the asked thing; for longer ones in the first and in the second half
    speed       pixels of 64 a frame along the asked way; 2.5 in the corpus
    way         pixels of 64 along the asked way from the first to the last frame; 27.5 in the corpus
    jump        largest step of the centroid between two frames, in pixels of 64
    objects     separate objects a frame; 1 in the corpus
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from builtin_image import ImageModel
from moving_sprite import DIRECTIONS, MovingSprites, Seen, foreground, reduced
from other_sizes import latents_of, ways
from torch import Tensor
from torch.nn import functional as F

from modalities.contracts import GenerateOptions

if TYPE_CHECKING:
    from video_following import Prompt

WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
EACH = 2
"""Prompts of each direction whose native clip is right, made longer and larger."""
LEAST_OBJECT = 0.01
"""Separate objects below this share of the picture are not counted."""


def extrapolations(
    model: ImageModel, sprites: MovingSprites, prompts: Sequence[Prompt], options: GenerateOptions
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Measures by size and method, and of the first prompts the clips `[N, 3, F, H, W]` by `size method`."""
    chosen = chosen_prompts(model, sprites, prompts, options)
    frames, height, width = model.description.native_size
    sizes = {"native": (frames, height, width), "longer": (2 * frames, height, width)}
    sizes["larger"] = (frames, 2 * height, 2 * width)
    results: dict[str, Any] = {"prompts": [prompt.id for prompt in chosen]}
    pictures: dict[str, Tensor] = {}
    native = latents_of(model, chosen, sizes["native"], options)
    for name, size in sizes.items():
        results[name] = {}
        for way, settings in ways(options).items():
            if name == "native" and way != "none":
                continue
            clips = model.decode(latents_of(model, chosen, size, settings, native))
            results[name][way] = measures(clips, sprites, chosen)
            pictures[f"{name} {way}"] = clips
            print(name, way, results[name][way], flush=True)
    return results, pictures


def chosen_prompts(
    model: ImageModel, sprites: MovingSprites, prompts: Sequence[Prompt], options: GenerateOptions
) -> list[Prompt]:
    """The first prompts of each direction that the model follows at its own size, so that methods alone differ."""
    clips = model.decode(latents_of(model, prompts, tuple(model.description.native_size), options))
    seen = sprites.see(clips)
    right = [
        prompt
        for i, prompt in enumerate(prompts)
        if seen.direction[i] == prompt.direction and seen.concept[i] == prompt.concept
    ]
    return [prompt for name in DIRECTIONS for prompt in [p for p in right if p.direction == name][:EACH]]


def measures(clips: Tensor, sprites: MovingSprites, prompts: Sequence[Prompt]) -> dict[str, float]:
    """The columns of the table, averaged over clips."""
    seen, half = sprites.see(clips), clips.shape[2] // 2
    halves = [sprites.see(part) for part in (clips[:, :, :half], clips[:, :, half:])]
    ways = torch.tensor([WAYS[prompt.direction] for prompt in prompts]).float()
    along = (seen.path * ways[:, None]).sum(-1)
    steps = seen.path.diff(dim=1).norm(dim=-1).nan_to_num(0)
    found = {
        "direction": _share([d == p.direction for d, p in zip(seen.direction, prompts, strict=True)]),
        "object": _concepts(seen, prompts),
        "object_first_half": _concepts(halves[0], prompts),
        "object_second_half": _concepts(halves[1], prompts),
        "speed": float((seen.slope * ways).sum(-1).mean()),
        "way": float((along.nan_to_num(-1e9).amax(1) - along.nan_to_num(1e9).amin(1)).mean()),
        "jump": float(steps.amax(1).mean()),
        "objects": float(objects(clips).mean()),
        "least_change": float(seen.change.min()),
        "largest_change": float(seen.change.max()),
    }
    return {name: round(value, 3) for name, value in found.items()}


def objects(clips: Tensor) -> Tensor:
    """Separate objects a frame of each clip, `[N]`: connected parts of what is not background."""
    counts = []
    for clip in reduced(clips):
        masks = foreground(clip)
        counts.append(sum(_parts(mask) for mask in masks) / len(masks))
    return torch.tensor(counts)


def _parts(mask: Tensor) -> int:
    """Connected parts of a mask `[H, W]`: labels spread to their neighbours until nothing changes."""
    wide = F.max_pool2d(mask[None, None].float(), 3, 1, 1)[0, 0] > 0  # gaps of a pixel do not part an object
    labels = torch.where(wide, torch.arange(1, mask.numel() + 1).view(mask.shape).float(), torch.zeros(()))
    while True:
        spread = F.max_pool2d(labels[None, None], 3, 1, 1)[0, 0] * wide
        if torch.equal(spread, labels):
            break
        labels = spread
    _, sizes = labels[wide].unique(return_counts=True)
    return int((sizes >= LEAST_OBJECT * mask.numel()).sum())


def _concepts(seen: Seen, prompts: Sequence[Prompt]) -> float:
    return _share([c == p.concept for c, p in zip(seen.concept, prompts, strict=True)])


def _share(hits: Sequence[bool]) -> float:
    return sum(hits) / len(hits) if hits else 0.0
