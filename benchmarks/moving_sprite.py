"""Which way an object goes in a clip, what it is, and how much changes: the measure behind the video benchmarks.

The background is the median colour of the border over all frames; what differs from it by more than `FOREGROUND` in
CIE Lab is the object. The slope of its centroid over time says the direction. Around the middle of its bounding box a
square is cut from several frames, enlarged to the size that `nearest_sprite.py` knows, and looked up there among all
sprites of the corpus; most votes win. Nothing of the prompt goes into the search.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.training.corpora.animated import load_loops
from modalities.training.corpora.compose import LAYOUTS, PICTURE
from modalities.training.corpora.concepts import STYLES
from modalities.training.corpora.motions import MOTIONS
from modalities.training.corpora.nearest_sprite import SpriteIndex, lab
from modalities.training.corpora.sprite_motion import MOVING, STILL
from modalities.training.corpora.sprites import load_sprites

FOREGROUND = 12.0
"""Distance from the background in CIE Lab from which a pixel belongs to the object; 2.3 is just noticeable."""
SMALLEST = 0.004
"""Frames in which less of the picture is object are left out of the path."""
LEAST_WAY = 6.0
"""Pixels of 64 that an object has to go from the first frame to the last to be called moving; the corpus: 27.5."""
LOOKS = 5
"""Frames of a clip that are looked up."""
DIRECTIONS = ("left", "right", "up", "down")
CROP = round(PICTURE * MOTIONS["left"](0.0).side / LAYOUTS[1][1])
"""Side of the cut square: enlarged to 64 pixels, what moves in a direction is as large as in a still scene."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What N clips show.

    path: middles (right, down) of each frame in pixels of 64, `[N, F, 2]`, nan where nothing is seen. slope: pixels a
    frame, `[N, 2]`. direction: a name of DIRECTIONS or `still`. concept: an emoji. change: mean absolute difference
    between frames, 0..255, `[N, F - 1]`.
    """

    path: Tensor
    slope: Tensor
    direction: list[str]
    concept: list[str]
    change: Tensor


class MovingSprites:
    """Everything in the corpus, ready to be looked for in clips."""

    def __init__(self, corpora: Path) -> None:
        still = load_sprites(corpora, STILL)[:, STYLES.index("3d")]
        moving = np.stack([np.asarray(loop[0]) for loop in load_loops(corpora, MOVING, 1)])
        self.names = [*STILL, *MOVING]
        self.index = SpriteIndex(np.concatenate([still, moving])[:, None])

    def see(self, clips: Tensor) -> Seen:
        """Look at clips `[N, 3, F, H, W]` in 0..1; larger pictures are reduced to 64 x 64. Clips stay apart."""
        small = reduced(clips)
        masks = torch.stack([foreground(clip) for clip in small])
        path = torch.stack([middles(mask) for mask in masks])
        slope = torch.stack([slope_of(way) for way in path])
        change = (clips.diff(dim=2).abs() * 255).mean(dim=(1, 3, 4))
        concept = [self._vote(clip, mask) for clip, mask in zip(small, masks, strict=True)]
        return Seen(path, slope, [direction_of(s, clips.shape[2]) for s in slope], concept, change)

    def _vote(self, clip: Tensor, mask: Tensor) -> str:
        frames = clip.shape[1]
        chosen = sorted({round((i + 0.5) * frames / LOOKS - 0.5) for i in range(LOOKS)})
        squares = [cut(clip[:, i], mask[i]) for i in chosen if mask[i].any()]
        if not squares:
            return "nothing"
        found = self.index.nearest(torch.stack(squares))
        votes: dict[int, list[float]] = {}
        for concept, distance in zip(found.concept.tolist(), found.distance.tolist(), strict=True):
            votes.setdefault(concept, []).append(distance)
        return self.names[max(votes, key=lambda one: (len(votes[one]), -min(votes[one])))]


def reduced(clips: Tensor) -> Tensor:
    """Clips with frames of 64 x 64."""
    if clips.shape[3:] == (PICTURE, PICTURE):
        return clips
    frames = clips.transpose(1, 2).flatten(0, 1)
    small = F.interpolate(frames, size=(PICTURE, PICTURE), mode="bilinear", antialias=True).clamp(0, 1)
    return small.view(clips.shape[0], clips.shape[2], 3, PICTURE, PICTURE).transpose(1, 2)


def ground(clip: Tensor) -> Tensor:
    """The median colour `[3]` of the border of a clip `[3, F, H, W]`."""
    sides = [clip[:, :, :2], clip[:, :, -2:], clip[..., :2].transpose(2, 3), clip[..., -2:].transpose(2, 3)]
    return torch.cat([side.flatten(1) for side in sides], dim=1).median(dim=1).values


def foreground(clip: Tensor) -> Tensor:
    """Which pixels of a clip `[3, F, H, W]` are not background, `[F, H, W]`."""
    colours = lab(clip.flatten(1).T)
    far = (colours - lab(ground(clip)[None])).norm(dim=1) > FOREGROUND
    return far.view(clip.shape[1:])


def middles(mask: Tensor) -> Tensor:
    """The centroid (right, down) of each frame of a mask `[F, H, W]`; nan where too little is there. `[F, 2]`."""
    weight = mask.float()
    mass = weight.sum(dim=(1, 2))
    columns, rows = torch.arange(mask.shape[2]).float(), torch.arange(mask.shape[1]).float()
    found = torch.stack([(weight.sum(1) * columns).sum(1), (weight.sum(2) * rows).sum(1)], dim=1) / mass[:, None]
    found[mass < SMALLEST * mask[0].numel()] = torch.nan
    return found


def slope_of(path: Tensor) -> Tensor:
    """Pixels a frame (right, down) of a path `[F, 2]` by least squares; zero when seen in less than half of it."""
    seen = ~path[:, 0].isnan()
    if int(seen.sum()) < max(2, len(path) / 2):
        return torch.zeros(2)
    times = torch.arange(len(path)).float()[seen]
    times = times - times.mean()
    return (times[:, None] * path[seen]).sum(0) / times.square().sum()


def direction_of(slope: Tensor, frames: int) -> str:
    """The direction of a slope: that of its larger part, or `still` when the whole way is short."""
    axis = int(slope.abs().argmax())
    if float(slope[axis].abs()) * (frames - 1) < LEAST_WAY:
        return "still"
    return DIRECTIONS[2 * axis + int(slope[axis] > 0)]


def cut(frame: Tensor, mask: Tensor) -> Tensor:
    """The square around the object of a frame `[3, H, W]`, enlarged to 64 x 64."""
    middle = []
    for axis in (1, 0):  # right, then down
        share = mask.float().sum(1 - axis).cumsum(0) / mask.sum()
        first, last = int((share >= 0.01).int().argmax()), int((share >= 0.99).int().argmax())
        middle.append((first + last + 1) / 2)
    half = CROP / PICTURE
    shift = [2 * place / PICTURE - 1 for place in middle]
    to = torch.tensor([[[half, 0, shift[0]], [0, half, shift[1]]]])
    grid = F.affine_grid(to, [1, 3, PICTURE, PICTURE], align_corners=False)
    return F.grid_sample(frame[None], grid, padding_mode="border", align_corners=False)[0].clamp(0, 1)
