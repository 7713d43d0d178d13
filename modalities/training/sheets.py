"""Latents as pictures to look at, for every modality, so that a training can be followed by eye."""

from __future__ import annotations

from collections.abc import Sequence
from math import cos, radians, sin
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from modalities.contracts import Codec

SIDE = 96
"""Side of the picture of a point cloud in pixels."""
YAW, PITCH = radians(35), radians(20)
"""Where a point cloud is looked at from."""


def previews(latents: Tensor, codec: Codec, axes: Sequence[str]) -> Tensor:
    """Latents `[N, C, *axes]` as pictures `[N, 3, H, W]` in -1..1.

    Pictures are decoded; frames and views stand side by side; sounds appear as their latents (a mel spectrogram, low
    bands at the bottom); points are drawn from one side. ValueError for other axes.
    """
    match tuple(axes):
        case ("row", "column"):
            return decoded(latents, codec)
        case (_, "row", "column"):
            return decoded(latents, codec).permute(0, 1, 3, 2, 4).flatten(3)
        case ("sample",):
            return (latents.flatten(1, -2).float().flip(1) / 3).clamp(-1, 1)[:, None].expand(-1, 3, -1, -1)
        case ("point",):
            return torch.stack([scatter(points) for points in decoded(latents, codec)])
    raise ValueError(f"no picture of axes {tuple(axes)}")


def decoded(latents: Tensor, codec: Codec) -> Tensor:
    """Latents `[N, C, *axes]` as media, 32 at a time."""
    return torch.cat([codec.decode(part) for part in torch.split(latents, 32)])


def scatter(points: Tensor, side: int = SIDE) -> Tensor:
    """Points `[6, N]` (x, y up, z, then colours) as a picture `[3, side, side]`: parallel projection, nearest last."""
    x, y, z = points[:3].double().cpu()
    across = cos(YAW) * x + sin(YAW) * z
    away = -sin(YAW) * x + cos(YAW) * z
    up, depth = cos(PITCH) * y - sin(PITCH) * away, sin(PITCH) * y + cos(PITCH) * away
    # A cube's corner is at most sqrt(3) from its middle.
    column, row = ((v / 3**0.5 + 1) / 2 * (side - 3) for v in (across, -up))
    picture = torch.ones(3, side, side)
    order = depth.argsort()
    columns, rows = (v[order].round().long().clamp(0, side - 3) for v in (column, row))
    colours = points[3:6].float().cpu()[:, order].clamp(-1, 1)
    for j in range(colours.shape[1]):
        picture[:, rows[j] : rows[j] + 3, columns[j] : columns[j] + 3] = colours[:, j, None, None]
    return picture


def save_sheet(path: Path, media: Tensor, columns: int) -> None:
    """Write media `[N, 3, H, W]` in -1..1 as one picture of `columns` columns."""
    bytes_ = ((media.float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    height, width = bytes_.shape[1:3]
    lines = -(-len(bytes_) // columns)
    canvas = np.full((lines * height, columns * width, 3), 255, dtype=np.uint8)
    for i, picture in enumerate(bytes_):
        top, left = i // columns * height, i % columns * width
        canvas[top : top + height, left : left + width] = picture
    Image.fromarray(canvas).save(path)
