"""Coloured point clouds for the built-in point-cloud model: procedural solids and sampled furniture; a `Corpus`.

256 points of each object, spread evenly over its surface, y up, in the unit ball (a small one fills about half of it).
Everything follows from (seed, index).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities.training.corpora.concepts import BACKGROUNDS
from modalities.training.corpora.furniture import Furniture, in_unit_ball, load_furniture, surface
from modalities.training.corpora.packages import FURNITURE, fetch
from modalities.training.corpora.phrases import COLOURS
from modalities.training.corpora.shape_words import COLOUR_WORDS, FORM_WORDS, FRAMES, LANGUAGES, NOUNS, SUBJECTS
from modalities.training.corpora.solids import PAINTS, SOLIDS, STRETCHED

POINTS = 256
CANDIDATES = 640
"""Random surface points that the even ones are chosen from."""

COLOURED_SHARE = 0.7
SOLID_SHARE = 0.4
"""Of the samples of a noun that is both a solid and in the catalogues."""
STRETCH_SHARE = 0.3
SMALL_SHARE = 0.15
SMALL = 0.55
TURN = 0.12
"""Largest turn about the up axis, in radians."""
ENGLISH_SHARE = 0.25
EMOJI_SHARE = 0.06
CATALOGUE_SHARE = 0.1

USUAL: Mapping[str, Sequence[str]] = {
    "snowman": ("white",),
    "heart": ("red",),
    "star": ("yellow",),
    "tree": ("green",),
    "mushroom": ("red",),
    "house": ("white", "yellow"),
    "rocket": ("white", "gray"),
    "airplane": ("white", "gray"),
}
"""Colours of a solid that nobody gave one; any other may have each."""

BRANDED = ("car", "motorcycle", "bus", "truck")
"""Nouns whose catalogue names are brands."""

PALETTE: dict[str, tuple[float, float, float]] = {
    name: (red / 255, green / 255, blue / 255) for name, (red, green, blue) in BACKGROUNDS.items()
}
"""The colours that can be asked for, 0..1."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a sample shows. model: row of the furniture, or None for a solid. colour: None is the object's own.

    form: tall, flat, small or None.
    """

    noun: str
    model: int | None
    colour: str | None
    form: str | None


class Shapes:
    """The corpus solids-and-furniture. captions: each sample has `each` captions."""

    def __init__(self, furniture: Furniture, scenes: int, each: int, seed: int) -> None:
        self.furniture = furniture
        self._scenes, self._each, self._seed = scenes, each, seed

    def __len__(self) -> int:
        return self._scenes

    @cached_property
    def models(self) -> dict[str, list[int]]:
        """Noun -> rows of the furniture."""
        found: dict[str, list[int]] = {}
        for row, model in enumerate(self.furniture.models):
            found.setdefault(model.noun, []).append(row)
        return found

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """Every noun that the corpus can show, in the order of the word list."""
        return tuple(noun for noun in NOUNS if noun in SOLIDS or noun in self.models)

    def draw(self, index: int) -> Shape:
        """Sample number `index`: nouns take turns, everything else is drawn."""
        rng = np.random.default_rng((self._seed, index))
        noun = self.nouns[index % len(self.nouns)]
        rows = self.models.get(noun, [])
        solid = noun in SOLIDS and (not rows or rng.random() < SOLID_SHARE)
        model = None if solid else int(rng.choice(rows))
        colour = str(rng.choice(COLOURS)) if rng.random() < COLOURED_SHARE else None
        form = None
        if noun in STRETCHED and rng.random() < STRETCH_SHARE:
            form = str(rng.choice(["flat"] if noun == "sphere" else ["tall", "flat"]))
        elif noun in SOLIDS and rng.random() < SMALL_SHARE:
            form = "small"
        return Shape(noun, model, colour, form)

    def candidates(self, shape: Shape, rng: np.random.Generator, candidates: int = CANDIDATES) -> NDArray[np.float32]:
        """Random surface points `[candidates, 6]` in -1..1 of a shape, which is turned a little about y."""
        if shape.model is None:
            points, colours = _solid(shape, rng, candidates)
        else:
            rows = rng.choice(self.furniture.points.shape[1], candidates, replace=False)
            points = self.furniture.points[shape.model][rows].astype(np.float64)
            colours = self.furniture.colours[shape.model][rows].astype(np.float64)
            if shape.colour is not None:
                colours = repainted(colours, PALETTE[shape.colour])
        angle = rng.uniform(-TURN, TURN)
        turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        points = in_unit_ball(points @ turn.T) * (SMALL if shape.form == "small" else 1.0)
        colours = np.clip(colours * rng.uniform(0.94, 1.06), 0, 1)
        return np.concatenate([points, colours * 2 - 1], axis=1).astype(np.float32)

    def clouds(self, shapes: Sequence[Shape], keys: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Clouds `[n, 6, 256]` in -1..1 of shapes; what is drawn for each follows from its key."""
        drawn = [self.candidates(s, np.random.default_rng(key)) for s, key in zip(shapes, keys, strict=True)]
        values = np.stack(drawn)
        chosen = spread(values[..., :3], POINTS)
        return np.take_along_axis(values, chosen[..., None], axis=1).transpose(0, 2, 1)

    def media(self, first: int, last: int) -> Tensor:
        """Clouds `[n, 6, 256]` of the samples first..last-1."""
        indices = range(first, last)
        clouds = self.clouds([self.draw(i) for i in indices], [(self._seed, i, 1) for i in indices])
        return torch.from_numpy(np.ascontiguousarray(clouds))

    def captions(self, index: int) -> Sequence[str]:
        """The captions of a sample; they say its colour and form if it was given one, and nothing else."""
        shape = self.draw(index)
        return [self._caption(shape, index, number) for number in range(self._each)]

    def _caption(self, shape: Shape, index: int, number: int) -> str:
        rng = np.random.default_rng((self._seed, index, 2, number))
        noun = NOUNS[shape.noun]
        if noun.emoji and shape.colour is None and shape.form is None and rng.random() < EMOJI_SHARE:
            return noun.emoji
        language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(LANGUAGES))
        names = list(noun.names[language])
        # The first name is the usual one.
        name = names[0] if rng.random() < 0.6 else str(rng.choice(names))
        if shape.model is not None and shape.noun not in BRANDED and rng.random() < CATALOGUE_SHARE:
            told = self.furniture.models[shape.model].names.get(language, name)
            name = told if language == "de" else told.lower()
        return worded(language, name, shape.colour, shape.form, rng)

    def concepts(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Noun -> language -> its names; `emoji` stands among the languages."""
        emoji = {noun: {"emoji": [NOUNS[noun].emoji]} if NOUNS[noun].emoji else {} for noun in self.nouns}
        return {noun: {**NOUNS[noun].names, **emoji[noun]} for noun in self.nouns}


def load(folder: Path, *, scenes: int = 32_000, captions: int = 3, seed: int = 0) -> Shapes:
    """The corpus, fetching the furniture when it is not there."""
    fetch(folder, (FURNITURE,))
    return Shapes(load_furniture(folder), scenes, captions, seed)


def worded(language: str, name: str, colour: str | None, form: str | None, rng: np.random.Generator) -> str:
    """A caption in a language: a frame around a name with a colour and a form, drawn from the word lists."""
    subject = str(rng.choice(list(SUBJECTS[language])))
    if colour is None or form is None:
        subject = str(rng.choice([s for s in SUBJECTS[language] if _fits(s, colour, form)]))
    words = {
        "x": name,
        "c": str(rng.choice(list(COLOUR_WORDS[language][colour]))) if colour else "",
        "f": str(rng.choice(list(FORM_WORDS[language][form]))) if form else "",
    }
    text = str(rng.choice(list(FRAMES[language]))).format(s=subject.format(**words).strip())
    text = " ".join(text.split()).replace(" ,", ",")
    for vowel in "aeiou":
        text = text.replace(f" a {vowel}", f" an {vowel}") if language == "en" else text
    return f"an {text[2:]}" if language == "en" and text[:2] == "a " and text[2:3] in "aeiou" else text


def repainted(colours: NDArray[np.float64], colour: Sequence[float]) -> NDArray[np.float64]:
    """Colours `[N, 3]` with one hue, keeping part of their own light and dark."""
    light = colours @ np.array([0.299, 0.587, 0.114])
    factor = np.clip(0.62 + 0.38 * light / max(float(light.mean()), 0.05), 0.5, 1.25)
    found: NDArray[np.float64] = np.clip(factor[:, None] * np.array(colour), 0, 1)
    return found


def spread(points: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Points `[B, N, 3]` to the indices `[B, count]` of some that lie far from one another.

    Farthest point sampling: each is the one that is farthest from those before it; the first is the first.
    """
    rows = np.arange(len(points))
    axes = np.moveaxis(points, 2, 0)
    chosen = np.zeros((len(points), count), dtype=np.int64)
    distance = np.full(points.shape[:2], np.inf, dtype=np.float32)
    for i in range(1, count):
        last = axes[:, rows, chosen[:, i - 1], None]
        np.minimum(distance, np.square(axes - last).sum(axis=0), out=distance)
        chosen[:, i] = distance.argmax(axis=1)
    return chosen


def _fits(pattern: str, colour: str | None, form: str | None) -> bool:
    """A pattern with a comma or with words around the colour needs a colour."""
    plain = "".join(pattern.replace("{f}", "").replace("{x}", "").replace("{c}", "").split())
    return not plain or colour is not None


def painted_solid(shape: Shape, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Triangles `[T, 3, 3]` of a solid with drawn proportions, and the colour `[T, 3]` 0..1 of each."""
    parts = SOLIDS[shape.noun](rng)
    corners = np.concatenate([triangles for triangles, _ in parts])
    if shape.form in ("tall", "flat"):
        tall = rng.uniform(1.8, 2.6) if shape.form == "tall" else rng.uniform(0.25, 0.4)
        corners = corners * np.array([1, tall, 1])
    colour = shape.colour or str(rng.choice(USUAL.get(shape.noun, COLOURS)))
    paints = np.array([PAINTS.get(paint, PALETTE[colour]) for _, paint in parts])
    return corners, np.repeat(paints, [len(triangles) for triangles, _ in parts], axis=0)


def _solid(shape: Shape, rng: np.random.Generator, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    corners, colours = painted_solid(shape, rng)
    chosen, weights = surface(corners, count, rng)
    return np.einsum("nk,nkd->nd", weights, corners[chosen]), colours[chosen]
