"""Which training sprite a picture shows, how often and on which colour: how pictures of the corpus are judged.

The background is the median colour of the picture's border. Every sprite (each concept in each style) is composited on
that colour in every training layout (one, two or three objects), at several sizes and shifts, and the composite with
the smallest squared pixel difference on 64 x 64 wins. Nothing of the prompt goes into the search.

With J = picture - background and Q = sprite - alpha * background, which vanishes outside the sprite, the difference is
|J - Q|^2 = |J|^2 - (2 <J, Q> - |Q|^2), so a search over shifts is one matrix product, and objects that do not overlap
add up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from modalities.training.corpora.compose import LAYOUTS, PICTURE
from modalities.training.corpora.concepts import BACKGROUNDS

SIZES = (0.93, 1.0, 1.07)
"""Sides that are tried, as factors on a layout's own; training varies them by 0.925 to 1.075."""
REACH = {1: 4, 2: 3, 3: 3}
"""Largest shift tried for each count, in pixels; training shifts single objects by up to 3 and others by half of it."""
BORDER = 2
"""Width of the border whose median is the background, in pixels."""


@dataclass(frozen=True, slots=True)
class Nearest:
    """What each of N pictures shows. All tensors are `[N]`, except background `[N, 3]` in 0..1.

    distance: root mean square difference per channel to the nearest composite, 0..1. margin: how much larger it is for
    the nearest sprite of another concept. colour: index into BACKGROUNDS of the border's median.
    """

    concept: Tensor
    style: Tensor
    count: Tensor
    distance: Tensor
    margin: Tensor
    background: Tensor
    colour: Tensor


@dataclass(frozen=True, slots=True)
class Templates:
    """Sprites at one side length: colour times alpha `[T, 3 s s]`, alpha `[T, s s]` and their sums of squares."""

    side: int
    colour: Tensor
    alpha: Tensor
    colour_colour: Tensor
    alpha_colour: Tensor
    alpha_alpha: Tensor


class SpriteIndex:
    """All sprites `[concept, style, side, side, 4]` bytes, ready to be looked for."""

    def __init__(self, sprites: NDArray[np.uint8]) -> None:
        self.concepts, self.styles = sprites.shape[:2]
        flat = sprites.reshape(-1, *sprites.shape[2:])
        self._templates = {
            count: [_templates(flat, round(part * size * PICTURE)) for size in SIZES]
            for count, (_, part) in LAYOUTS.items()
        }

    def nearest(self, pictures: Tensor) -> Nearest:
        """Look every picture `[N, 3, 64, 64]` in 0..1 up. Pictures do not influence each other."""
        parts = [self._nearest(batch) for batch in torch.split(pictures.float(), 8)]
        return Nearest(*(torch.cat(column) for column in zip(*parts, strict=True)))

    def _nearest(self, pictures: Tensor) -> tuple[Tensor, ...]:
        background = border_colour(pictures)
        rest = pictures - background[:, :, None, None]
        gains = torch.stack([self._gain(count, rest, background) for count in LAYOUTS], dim=1)
        total = rest.square().sum(dim=(1, 2, 3))
        distance = (total[:, None, None] - gains).clamp_min(0)  # [N, counts, concepts * styles]
        distance = (distance / rest[0].numel()).sqrt()
        by_sprite = distance.amin(dim=1).view(-1, self.concepts, self.styles)
        by_concept = by_sprite.amin(dim=2)
        two = by_concept.topk(min(2, self.concepts), largest=False)
        concept = two.indices[:, 0]
        style = by_sprite[torch.arange(len(concept)), concept].argmin(dim=1)
        sprite = concept * self.styles + style
        count = distance[torch.arange(len(concept)), :, sprite].argmin(dim=1)
        counts = torch.tensor(list(LAYOUTS))[count]
        margin = two.values[:, -1] - two.values[:, 0]
        return concept, style, counts, two.values[:, 0], margin, background, nearest_colour(background)

    def _gain(self, count: int, rest: Tensor, background: Tensor) -> Tensor:
        """How much of |rest|^2 the best composite of each sprite explains, `[N, T]`."""
        centres, _ = LAYOUTS[count]
        reach = REACH[count]
        best: Tensor | None = None
        for templates in self._templates[count]:
            gain = sum(
                (_gain_at(rest, background, templates, centre, reach) for centre in centres),
                torch.zeros(()),
            )
            best = gain if best is None else torch.maximum(best, gain)
        assert best is not None
        return best


def border_colour(pictures: Tensor) -> Tensor:
    """The median colour of the border of pictures `[N, 3, H, W]`, `[N, 3]`."""
    inner = torch.ones(pictures.shape[2:], dtype=torch.bool)
    inner[BORDER:-BORDER, BORDER:-BORDER] = False
    return pictures[:, :, inner].median(dim=2).values


def nearest_colour(colours: Tensor) -> Tensor:
    """Index of the named background colour that is nearest in CIE Lab, for colours `[N, 3]` in 0..1."""
    named = torch.tensor(list(BACKGROUNDS.values()), dtype=torch.float32) / 255
    return torch.cdist(lab(colours), lab(named)).argmin(dim=1)


def lab(srgb: Tensor) -> Tensor:
    """sRGB `[N, 3]` in 0..1 to CIE 1976 L*a*b* under D65."""
    srgb = srgb.clamp(0, 1)
    linear = torch.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = torch.tensor([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / torch.tensor([0.9505, 1.0, 1.089])
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp_min(1e-9) ** (1 / 3), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    return torch.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], dim=1)


def composite(sprite: NDArray[np.uint8], colour: tuple[int, int, int], count: int = 1) -> NDArray[np.uint8]:
    """One sprite `[side, side, 4]` in the layout of a count on a plain colour, `[64, 64, 3]` bytes."""
    centres, part = LAYOUTS[count]
    side = round(part * PICTURE)
    canvas = Image.new("RGB", (PICTURE, PICTURE), colour)
    small = Image.fromarray(sprite).resize((side, side), Image.Resampling.LANCZOS)
    for row, column in centres:
        canvas.paste(small, (round(column * PICTURE - side / 2), round(row * PICTURE - side / 2)), small)
    return np.asarray(canvas)


def _templates(sprites: NDArray[np.uint8], side: int) -> Templates:
    small = [np.asarray(Image.fromarray(s).resize((side, side), Image.Resampling.LANCZOS)) for s in sprites]
    pixels = torch.from_numpy(np.stack(small)).float().permute(0, 3, 1, 2) / 255
    alpha = pixels[:, 3:]
    colour = pixels[:, :3] * alpha
    return Templates(
        side=side,
        colour=colour.flatten(1),
        alpha=alpha.flatten(1),
        colour_colour=colour.square().sum(dim=(1, 2, 3)),
        alpha_colour=(alpha * colour).sum(dim=(2, 3)),
        alpha_alpha=alpha.square().sum(dim=(1, 2, 3)),
    )


def _gain_at(rest: Tensor, background: Tensor, templates: Templates, centre: tuple[float, float], reach: int) -> Tensor:
    """2 <J, Q> - |Q|^2 of every sprite at the best shift around one centre, `[N, T]`."""
    side = templates.side
    top, left = (round(c * PICTURE - side / 2) - reach for c in centre)
    edge = side + 2 * reach
    # Windows that leave the picture see zeros there: the background itself.
    pad = (max(0, -left), max(0, left + edge - PICTURE), max(0, -top), max(0, top + edge - PICTURE))
    wide = torch.nn.functional.pad(rest, pad)
    region = wide[:, :, top + pad[2] : top + pad[2] + edge, left + pad[0] : left + pad[0] + edge]
    windows = torch.nn.functional.unfold(region, side).transpose(1, 2)  # [N, shifts, 3 s s]
    on_background = (region * background[:, :, None, None]).sum(dim=1, keepdim=True)
    grounds = torch.nn.functional.unfold(on_background, side).transpose(1, 2)
    inner = windows @ templates.colour.T - grounds @ templates.alpha.T
    square = (
        templates.colour_colour
        - 2 * background @ templates.alpha_colour.T
        + background.square().sum(dim=1, keepdim=True) * templates.alpha_alpha
    )
    return 2 * inner.amax(dim=1) - square
