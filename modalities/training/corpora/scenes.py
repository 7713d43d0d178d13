"""The corpus `sprites`: pictures of emoji sprites on plain backgrounds, captioned in 16 languages and in emoji."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modalities.training.corpora.captions import caption, free_caption
from modalities.training.corpora.compose import compose, draw_scene, to_media
from modalities.training.corpora.concepts import BACKGROUNDS, CONCEPTS, STYLES
from modalities.training.corpora.names import Names, load_names
from modalities.training.corpora.packages import fetch
from modalities.training.corpora.sprite_judge import SpriteJudge
from modalities.training.corpora.sprites import Sprites, load_sprites


@dataclass(frozen=True, slots=True, kw_only=True)
class SpriteScenes:
    """A `modalities.training.corpus.Corpus` of composed pictures, `[3, 64, 64]`.

    number: scenes. seed: decides all of them. each: captions of a scene from `phrases.py`. free: more of them, worded
    as in `paraphrases.py`. jitter: largest shift of an object in pixels.
    """

    sprites: Sprites
    names: Names
    number: int
    seed: int
    each: int
    free: int
    jitter: float

    def __len__(self) -> int:
        return self.number

    def media(self, first: int, last: int) -> Tensor:
        """Pictures `[n, 3, 64, 64]` of the scenes first..last-1."""
        concepts = len(self.sprites)
        pictures = [
            compose(draw_scene(self.seed, i, concepts), self.sprites, self.seed, i, self.jitter)
            for i in range(first, last)
        ]
        return torch.from_numpy(to_media(np.stack(pictures)))

    def captions(self, index: int) -> list[str]:
        """The captions of a scene: `each` from the phrases, then `free` in other wordings."""
        scene = draw_scene(self.seed, index, len(self.sprites))
        plain = [caption(scene, self.names, self.seed, index, i) for i in range(self.each)]
        return plain + [free_caption(scene, self.names, self.seed, index, i) for i in range(self.free)]

    def concepts(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """The emoji with their names."""
        names = self.names.names
        return {emoji: {language: names[language][i] for language in names} for i, emoji in enumerate(CONCEPTS)}

    def concept_facts(self) -> Mapping[str, object]:
        """Background colours as sRGB bytes, and the styles."""
        return {"backgrounds": {name: list(c) for name, c in BACKGROUNDS.items()}, "styles": list(STYLES)}

    def judge(self) -> SpriteJudge:
        """Tells which sprite a picture shows."""
        return SpriteJudge(self.sprites, self.names)


def load(
    folder: Path,
    *,
    scenes: int = 48000,
    captions: int = 2,
    free_captions: int = 2,
    seed: int = 23,
    jitter: float = 1.0,
) -> SpriteScenes:
    """The corpus from packages in `folder`, which are fetched if they are missing.

    Little jitter is learnt sooner: 1 pixel is an eighth of a token of the built-in image model.
    """
    fetch(folder)
    sprites, names = load_sprites(folder), load_names(folder)
    return SpriteScenes(
        sprites=sprites, names=names, number=scenes, seed=seed, each=captions, free=free_captions, jitter=float(jitter)
    )
