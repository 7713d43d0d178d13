"""Whether a picture shows the sprite that its prompt asks for, on scenes that no training draws."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from modalities.training.corpora.captions import free_caption
from modalities.training.corpora.compose import SceneMix, draw_scene
from modalities.training.corpora.names import Names
from modalities.training.corpora.nearest_sprite import SpriteIndex
from modalities.training.corpora.sprites import Sprites
from modalities.training.corpus import Question

SEED = 7_000_003
"""Of the questions; the seeds of training files are smaller."""
MIX = SceneMix(tint=0.0)
"""Dyed sprites are not among those that a picture is compared with."""


class SpriteJudge:
    """Captions in all languages as questions; the nearest sprite as the answer."""

    def __init__(self, sprites: Sprites, names: Names) -> None:
        self._concepts, self._names = len(sprites), names
        self._index = SpriteIndex(sprites)

    def questions(self, count: int) -> Sequence[Question]:
        """Freely worded captions; every concept comes once before one comes again."""
        order = np.random.default_rng(SEED).permutation(self._concepts)
        found = []
        for i in range(count):
            concept = int(order[i % self._concepts])
            scene = replace(draw_scene(SEED, i, self._concepts, MIX), concept=concept)
            found.append(Question(free_caption(scene, self._names, SEED, i, 0), concept))
        return found

    def shown(self, media: Tensor) -> Tensor:
        """The concepts `[N]` of the sprites that are nearest to pictures `[N, 3, 64, 64]` in -1..1."""
        with torch.no_grad():
            return self._index.nearest((media.float().cpu() + 1) / 2).concept
