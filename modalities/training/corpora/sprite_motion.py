"""Clips for the built-in video model: still sprites that move, and animated emoji; a `Corpus`.

12 frames of 64 x 64 at 8 frames a second on a plain background. Everything follows from (seed, index).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from modalities.training.corpora.animated import load_loops
from modalities.training.corpora.compose import dye
from modalities.training.corpora.concepts import BACKGROUNDS, STYLES, TINTS
from modalities.training.corpora.motion_paraphrases import MOTION_PARAPHRASES
from modalities.training.corpora.motion_phrases import MOTION_PHRASES
from modalities.training.corpora.motions import FRAMES, WEIGHTS, Pose, draw_clip, path
from modalities.training.corpora.names import Names, load_names
from modalities.training.corpora.packages import ANIMATED, PICTURES, fetch
from modalities.training.corpora.phrases import PHRASES
from modalities.training.corpora.sprites import load_sprites

STILL = tuple("🐈🐕🐎🐄🐖🐘🦁🐢🐊🐸🐟🦀🐌🦊🌲🍄🍎🍌🍋🍓🍉🍕🍩🚗🚌🚜🚲🚂🚁✈🚀☀🌙⭐⛄⚽🏀🎸🔑🎁🎈👑🤖🔔")
"""What can be moved in every way. All of them are concepts of the built-in image model."""
MOVING = tuple("😀😂😍😎😭😡😴🤔👻👽👍👋❤🎃🐶🐰🐧🦋🐳🕷")
"""What moves by itself; none of it is among `STILL`."""

ENGLISH_SHARE = 0.1
EMOJI_SHARE = 0.05
FREE_SHARE = 0.7
"""Captions in the freer wordings of `motion_paraphrases.py`."""
PLAIN_SHARE = 0.6
"""Free captions that call an object by its plain name where it has one."""
CAPITAL_SHARE, STOP_SHARE = 0.4, 0.1
"""Free captions that begin with a capital letter, and that end with a full stop."""
SILENT_SHARE = 0.3
"""Captions of a bouncing object that do not say how it moves: what nobody describes bounces."""
BACKGROUND_SHARE = 0.35
TINT_SHARE = 0.12


@dataclass(frozen=True, slots=True)
class Clip:
    """What a clip shows. concept: an emoji. motion: None for what moves by itself. tint: the object is dyed.

    background: white unless the caption says so.
    """

    concept: str
    motion: str | None
    background: str = "white"
    tint: str | None = None


def draw(seed: int, index: int, still: Sequence[str] = STILL, moving: Sequence[str] = MOVING) -> Clip:
    """Clip number `index`: concepts take turns (still ones twice as often), everything else is drawn."""
    rng = np.random.default_rng((seed, index))
    turns = [*still, *moving, *still]
    concept = turns[index % len(turns)]
    background = list(BACKGROUNDS)[rng.integers(len(BACKGROUNDS))] if rng.random() < BACKGROUND_SHARE else "white"
    if concept in moving:
        return Clip(concept, None, background)
    weights = np.array(list(WEIGHTS.values()))
    motion = str(rng.choice(list(WEIGHTS), p=weights / weights.sum()))
    tint = list(TINTS)[rng.integers(len(TINTS))] if rng.random() < TINT_SHARE else None
    # An object dyed in the colour of its background would vanish.
    return Clip(concept, motion, background, None if tint == background else tint)


class SpriteMotion:
    """The corpus; see `load` for its settings."""

    def __init__(
        self,
        folder: Path,
        scenes: int = 8000,
        captions: int = 4,
        seed: int = 41,
        jitter: float = 1.0,
        still: Sequence[str] = STILL,
        moving: Sequence[str] = MOVING,
    ) -> None:
        if scenes < 1 or captions < 1:
            raise ValueError(f"sprite-motion needs scenes and captions; got {scenes} and {captions}")
        self.folder, self.scenes, self.number = folder, scenes, captions
        self.seed, self.jitter = seed, jitter
        self.still, self.moving = tuple(still), tuple(moving)
        self.both = (*self.still, *self.moving)

    def __len__(self) -> int:
        return self.scenes

    @cached_property
    def names(self) -> Names:
        """Names of everything in the languages of the captions."""
        return load_names(self.folder, self.both, list(MOTION_PHRASES))

    @cached_property
    def sprites(self) -> NDArray[np.uint8]:
        """The still sprites in the 3d style, `[still, side, side, 4]`: the animated emoji are of the same artist."""
        return load_sprites(self.folder, self.still)[:, STYLES.index("3d")]

    @cached_property
    def loops(self) -> list[list[Image.Image]]:
        """The frames of what moves by itself."""
        return load_loops(self.folder, self.moving, FRAMES)

    def clip(self, index: int) -> Clip:
        """What clip number `index` shows."""
        return draw(self.seed, index, self.still, self.moving)

    def frames(self, clip: Clip, index: int, length: int = FRAMES) -> NDArray[np.uint8]:
        """A clip as bytes `[length, 64, 64, 3]`; `index` decides its small shift and scale."""
        rng = np.random.default_rng((self.seed, index, 1))
        right, down = rng.uniform(-self.jitter, self.jitter, size=2)
        scale = 1 + 0.025 * self.jitter * (2 * rng.random() - 1)
        background = BACKGROUNDS[clip.background]
        if clip.motion is None:
            loop = self.loops[self.moving.index(clip.concept)]
            return draw_clip(loop, [Pose(side=0.8)] * length, background, (right, down), scale)
        sprite = self.sprites[self.still.index(clip.concept)]
        if clip.tint is not None:
            sprite = dye(sprite, TINTS[clip.tint])
        return draw_clip([Image.fromarray(sprite)], path(clip.motion, length), background, (right, down), scale)

    def media(self, first: int, last: int) -> Tensor:
        """Clips first..last-1, `[n, 3, 12, 64, 64]` float32 in -1..1."""
        clips = np.stack([self.frames(self.clip(i), i) for i in range(first, last)])
        return torch.from_numpy(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1

    def captions(self, index: int) -> list[str]:
        """The captions of a clip, each in a language of its own."""
        return [caption(self.clip(index), self.names, self.both, self.seed, index, k) for k in range(self.number)]

    def concepts(self) -> dict[str, dict[str, list[str]]]:
        """What the model will know, by emoji."""
        tables = self.names.names.items()
        return {emoji: {language: list(table[i]) for language, table in tables} for i, emoji in enumerate(self.both)}

    def concept_facts(self) -> dict[str, object]:
        """Background colours as sRGB bytes, the styles, and the names of the motions."""
        backgrounds = {name: list(colour) for name, colour in BACKGROUNDS.items()}
        return {"backgrounds": backgrounds, "styles": ["3d"], "motions": list(WEIGHTS)}


def caption(clip: Clip, names: Names, emoji: Sequence[str], seed: int, index: int, number: int) -> str:
    """One caption of a clip: object, motion, and colours where they are not the usual ones."""
    rng = np.random.default_rng((seed, index, 2, number))
    languages = list(MOTION_PHRASES)
    language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(languages))
    free = rng.random() < FREE_SHARE
    phrases, words, more = PHRASES[language], MOTION_PHRASES[language], MOTION_PARAPHRASES[language]
    text = str(rng.choice(list(names.names[language][emoji.index(clip.concept)])))
    if free and rng.random() < PLAIN_SHARE:
        text = more.names.get(clip.concept, text)
    if rng.random() < EMOJI_SHARE:
        text = clip.concept
    if clip.tint is not None:
        text = _pick(rng, phrases.tints).format(x=text, c=phrases.colours[clip.tint])
    if clip.motion is None:
        text = with_article(_pick(rng, words.animated), text, language)
    else:
        text = with_article(_pick(rng, more.subjects if free else words.subjects), text, language)
        if clip.motion != "bounce" or rng.random() > SILENT_SHARE:
            text = _moving(rng, text, clip.motion, language, free)
    if free:
        text = _pick(rng, more.frames).format(s=text)
    if clip.background != "white" or rng.random() < 0.04:
        text = _pick(rng, phrases.backgrounds).format(s=text, c=phrases.colours[clip.background])
    if free and rng.random() < CAPITAL_SHARE:
        text = text[:1].upper() + text[1:]
    return text + "." if free and rng.random() < STOP_SHARE else text


def with_article(pattern: str, word: str, language: str) -> str:
    """A subject or a title with a word in it; the article as the word's beginning wants it."""
    if language == "en" and word[:1].lower() in "aeiou":
        pattern = f" {pattern}".replace(" a {x}", " an {x}")[1:]
    if language in ("fr", "it") and word[:1].lower() in "aeiouéêhà":
        pattern = pattern.replace("le {x}", "l’{x}").replace("la {x}", "l’{x}").replace("lo {x}", "l’{x}")
    if language == "ar" and (" " in word or word.startswith("ال") or not word.isalpha()):
        # The article is a part of the word, and each word of a name would need it.
        pattern = pattern.replace("ال{x}", "{x}")
    return pattern.format(x=word)


def _moving(rng: np.random.Generator, subject: str, motion: str, language: str, free: bool) -> str:
    more = MOTION_PARAPHRASES[language]
    if not free or motion not in more.ways:
        return _pick(rng, MOTION_PHRASES[language].motions[motion]).format(x=subject)
    return _pick(rng, more.sentences).format(x=subject, v=_pick(rng, more.verbs), w=_pick(rng, more.ways[motion]))


def _pick(rng: np.random.Generator, patterns: Sequence[str]) -> str:
    return patterns[int(rng.integers(len(patterns)))]


def load(folder: Path, *, scenes: int = 8000, captions: int = 4, seed: int = 41, jitter: float = 1.0) -> SpriteMotion:
    """The corpus from the packages in `folder`, fetched when they are missing.

    scenes: clips. captions: of each clip. jitter: largest shift of an object, in pixels.
    """
    fetch(folder, (*PICTURES, *ANIMATED))
    return SpriteMotion(folder, scenes, captions, seed, float(jitter))
