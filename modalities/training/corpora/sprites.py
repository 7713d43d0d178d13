"""The pictures of the concepts: one square RGBA array for each concept and style."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modalities.training.corpora.concepts import CONCEPTS, STYLES
from modalities.training.corpora.packages import FLUENT, NOTO

SIDE = 128
"""Side of a stored sprite in pixels; large enough that every composed size is a reduction of it."""

Sprites = NDArray[np.uint8]
"""`[concept, style, SIDE, SIDE, 4]`, RGBA, alpha not multiplied in."""


def load_sprites(corpora: Path, concepts: Sequence[str] = CONCEPTS) -> Sprites:
    """The sprites of `concepts` in every style of `STYLES`, read from the unpacked packages.

    FileNotFoundError names the packages' folder when they are not there.
    """
    folders = {
        "3d": (corpora / FLUENT.stem / "assets", ".webp"),
        "flat": (corpora / NOTO.stem / "img" / "google" / "64", ".png"),
    }
    pictures = [[_read(*folders[style], emoji) for style in STYLES] for emoji in concepts]
    return np.asarray(pictures, dtype=np.uint8)


def _read(folder: Path, ending: str, emoji: str) -> NDArray[np.uint8]:
    """One sprite on a centred square, so that wide and tall pictures keep their proportions."""
    code = "-".join(f"{ord(character):04x}" for character in emoji)
    for name in (code, f"{code}-fe0f"):
        path = folder / f"{name}{ending}"
        if path.exists():
            with Image.open(path) as picture:
                return _square(picture.convert("RGBA"))
    raise FileNotFoundError(f"no picture of {emoji} ({code}) in {folder}; fetch the packages first")


def _square(picture: Image.Image) -> NDArray[np.uint8]:
    box = picture.getchannel("A").point(lambda alpha: 255 if alpha > 8 else 0).getbbox()
    cut = picture.crop(box)
    side = max(cut.size)
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(cut, ((side - cut.width) // 2, (side - cut.height) // 2))
    # PIL resizes RGBA with the alpha multiplied in, so colours of transparent pixels do not bleed.
    return np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
