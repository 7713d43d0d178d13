"""Scenes: which sprites stand where on which background. Everything follows from (seed, index)."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from modalities.training.corpora.concepts import BACKGROUNDS, STYLES, TINTS
from modalities.training.corpora.sprites import Sprites

PICTURE = 64
"""Side of a composed picture in pixels."""

LAYOUTS: dict[int, tuple[tuple[tuple[float, float], ...], float]] = {
    1: (((0.5, 0.5),), 0.80),
    2: (((0.5, 0.26), (0.5, 0.74)), 0.44),
    3: (((0.27, 0.5), (0.73, 0.26), (0.73, 0.74)), 0.43),
}
"""For each count: the centres (row, column) of the objects and their side, as parts of the picture."""

JITTER = 3.0
"""Largest shift of an object from its place, in pixels."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What a picture shows. What a caption leaves out has its default: 3d mostly, white mostly, once, own colours."""

    concept: int
    style: str = "3d"
    background: str = "white"
    count: int = 1
    tint: str | None = None
    says_style: bool = False
    says_background: bool = False


@dataclass(frozen=True, slots=True)
class SceneMix:
    """How often a scene has what. All are probabilities.

    background, style: the caption names it. tint: the object is dyed. two, three: that many objects.
    default_background: of the scenes whose caption is silent about it, those on white.
    default_style: of the scenes whose caption is silent about it, those in 3d.
    """

    background: float = 0.6
    style: float = 0.35
    tint: float = 0.06
    two: float = 0.09
    three: float = 0.07
    default_background: float = 0.95
    default_style: float = 0.85


def draw_scene(seed: int, index: int, concepts: int, mix: SceneMix | None = None) -> Scene:
    """The scene number `index`: concepts take turns, everything else is drawn."""
    mix = mix or SceneMix()
    rng = np.random.default_rng((seed, index))
    says_background = bool(rng.random() < mix.background)
    says_style = bool(rng.random() < mix.style)
    names = list(BACKGROUNDS)
    background = "white"
    if says_background or rng.random() >= mix.default_background:
        background = names[rng.integers(len(names))]
    style = STYLES[0]
    if rng.random() >= (0.5 if says_style else mix.default_style):
        style = STYLES[1]
    draw = rng.random()
    count = 2 if draw < mix.two else 3 if draw < mix.two + mix.three else 1
    tint = list(TINTS)[rng.integers(len(TINTS))] if rng.random() < mix.tint else None
    # An object dyed in the colour of its background would vanish.
    tint = None if tint == background else tint
    return Scene(index % concepts, style, background, count, tint, says_style, says_background)


def compose(scene: Scene, sprites: Sprites, seed: int, index: int, jitter: float = JITTER) -> NDArray[np.uint8]:
    """The picture of a scene, `[PICTURE, PICTURE, 3]` bytes. The same (scene, seed, index) gives the same bytes."""
    rng = np.random.default_rng((seed, index, 1))
    sprite = sprites[scene.concept, STYLES.index(scene.style)]
    if scene.tint is not None:
        sprite = dye(sprite, TINTS[scene.tint])
    canvas = Image.new("RGB", (PICTURE, PICTURE), BACKGROUNDS[scene.background])
    centres, part = LAYOUTS[scene.count]
    scale = 1.0 + 0.025 * jitter * (2 * rng.random() - 1)
    side = round(part * scale * PICTURE)
    picture = Image.fromarray(sprite).resize((side, side), Image.Resampling.LANCZOS)
    reach = jitter if scene.count == 1 else jitter / 2
    shift = rng.uniform(-reach, reach, size=(3, 2))
    for (row, column), (down, right) in zip(centres, shift[: len(centres)], strict=True):
        corner = (round(column * PICTURE - side / 2 + right), round(row * PICTURE - side / 2 + down))
        canvas.paste(picture, corner, picture)
    return np.asarray(canvas)


def dye(sprite: NDArray[np.uint8], hue: float) -> NDArray[np.uint8]:
    """A sprite in one hue: brightness is kept, saturation is at least one half, except where it is nearly black."""
    colours = sprite[..., :3].astype(np.float32) / 255
    value = colours.max(axis=-1, keepdims=True)
    saturation = (value - colours.min(axis=-1, keepdims=True)) / np.maximum(value, 1e-6)
    saturation = np.maximum(saturation, 0.55)
    pure = np.asarray(colorsys.hsv_to_rgb(hue % 1.0, 1.0, 1.0), dtype=np.float32)
    dyed = value * (1 - saturation * (1 - pure))
    return np.concatenate([(dyed * 255).round().astype(np.uint8), sprite[..., 3:]], axis=-1)


def to_media(pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bytes `[N, H, W, 3]` to media `[N, 3, H, W]` in -1..1."""
    return np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)).astype(np.float32) / 127.5 - 1
