"""The animated emoji of Microsoft's Fluent set: loops of frames, evenly cut to the length of a clip."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from modalities.training.corpora.packages import ANIMATED

SIDE = 128
"""Side of a stored frame in pixels."""


def load_loop(corpora: Path, emoji: str, frames: int) -> list[Image.Image]:
    """One loop as `frames` square RGBA pictures, cut evenly over its length; the first follows the last.

    FileNotFoundError when no package has the emoji; ValueError when its picture does not move.
    """
    with Image.open(_file(corpora, emoji)) as loop:
        total = int(getattr(loop, "n_frames", 1))
        if total < 2:
            raise ValueError(f"{emoji} has one frame only: it does not move")
        found = []
        for i in range(frames):
            loop.seek(i * total // frames)
            found.append(loop.convert("RGBA").resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return found


def load_loops(corpora: Path, emoji: Sequence[str], frames: int) -> list[list[Image.Image]]:
    """The loops of several emoji; see `load_loop`."""
    return [load_loop(corpora, one, frames) for one in emoji]


def _file(corpora: Path, emoji: str) -> Path:
    code = "-".join(f"{ord(character):04x}" for character in emoji)
    for package in ANIMATED:
        for name in (code, f"{code}-fe0f"):
            path = corpora / package.stem / "assets" / f"{name}.webp"
            if path.exists():
                return path
    raise FileNotFoundError(f"no animation of {emoji} ({code}) in {corpora}; fetch the packages first")
