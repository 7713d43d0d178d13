"""How a sprite moves in a clip, and the drawing of it. Positions and sizes are parts of the picture's side.

A clip is a path of poses, one for each frame. Every motion goes through the middle of the picture and stays inside it,
at two to three pixels a frame, so that no token ever loses sight of the object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modalities.training.corpora.compose import PICTURE

FRAMES = 12
"""Frames of a clip."""
RATE = 8.0
"""Frames a second."""
FINE = 2
"""Clips are drawn so many times larger and averaged down: positions are as fine as half a pixel."""

REACH = 0.215
"""How far a moving object gets from the middle: 27.5 of 64 pixels from end to end, 2.5 a frame."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where an object is in one frame. right, down: its middle's distance from the picture's. side: of its square.

    turn: clockwise, in turns. opacity: 0..1.
    """

    right: float = 0.0
    down: float = 0.0
    side: float = 0.5
    turn: float = 0.0
    opacity: float = 1.0


Motion = Callable[[float], Pose]
"""The pose at a time: 0 is the first frame, 1 the last; beyond 1 the motion goes on or repeats."""


def _bounce(time: float) -> Pose:
    height = abs(sin(2 * pi * time * (FRAMES - 1) / FRAMES))
    return Pose(down=0.17 - 0.36 * height, side=0.56)


def _cycle(time: float) -> float:
    """The phase of a motion that repeats after `FRAMES` frames, so that the clip is a loop."""
    return time * (FRAMES - 1) / FRAMES


MOTIONS: dict[str, Motion] = {
    "left": lambda t: Pose(right=REACH * (1 - 2 * t)),
    "right": lambda t: Pose(right=REACH * (2 * t - 1)),
    "up": lambda t: Pose(down=REACH * (1 - 2 * t)),
    "down": lambda t: Pose(down=REACH * (2 * t - 1)),
    "spin": lambda t: Pose(turn=_cycle(t), side=0.62),
    "spin-back": lambda t: Pose(turn=-_cycle(t), side=0.62),
    "bounce": _bounce,
    "grow": lambda t: Pose(side=0.28 + 0.52 * t),
    "shrink": lambda t: Pose(side=0.80 - 0.52 * t),
    "swing": lambda t: Pose(turn=0.08 * sin(4 * pi * _cycle(t)), side=0.66),
    "orbit": lambda t: Pose(right=0.2 * sin(2 * pi * _cycle(t)), down=-0.2 * cos(2 * pi * _cycle(t)), side=0.46),
    "fade-in": lambda t: Pose(opacity=t, side=0.72),
    "fade-out": lambda t: Pose(opacity=1 - t, side=0.72),
}
"""The motions by name."""

WEIGHTS: dict[str, float] = dict.fromkeys(MOTIONS, 1.0) | dict.fromkeys(("left", "right", "up", "down"), 5.0)
"""How often clips have each motion, up to a factor. The four directions are the ones that people ask for."""


def path(motion: str, frames: int = FRAMES) -> list[Pose]:
    """The poses of a motion at the trained speed; more than `FRAMES` frames go on beyond the trained clip."""
    return [MOTIONS[motion](i / (FRAMES - 1)) for i in range(frames)]


def draw_clip(
    pictures: Sequence[Image.Image],
    poses: Sequence[Pose],
    background: tuple[int, int, int],
    shift: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
) -> NDArray[np.uint8]:
    """A clip `[frames, PICTURE, PICTURE, 3]` bytes: in each frame one RGBA square picture in its pose.

    pictures: one for all frames, or one for each. shift: right and down, in pixels. scale: of every size.
    """
    frames = []
    resized: dict[tuple[int, int], Image.Image] = {}
    for i, pose in enumerate(poses):
        canvas = Image.new("RGB", (FINE * PICTURE, FINE * PICTURE), background)
        side = max(2, round(FINE * PICTURE * pose.side * scale))
        key = (i % len(pictures), side)
        if key not in resized:
            resized[key] = pictures[key[0]].resize((side, side), Image.Resampling.LANCZOS)
        picture = resized[key]
        if pose.turn % 1.0:
            picture = picture.rotate(-360 * pose.turn, Image.Resampling.BICUBIC, expand=True)
        mask = picture.getchannel("A")
        if pose.opacity < 1.0:
            opacity = pose.opacity
            mask = mask.point([round(level * opacity) for level in range(256)])
        left = FINE * (PICTURE * (0.5 + pose.right) + shift[0]) - picture.width / 2
        top = FINE * (PICTURE * (0.5 + pose.down) + shift[1]) - picture.height / 2
        canvas.paste(picture, (round(left), round(top)), mask)
        frames.append(np.asarray(canvas.reduce(FINE)))
    return np.stack(frames)
