"""The corpus of the built-in audio model: 2.016-second clips of instruments, drums and recorded effects, with captions.

Clips are rendered from the soundfont FluidR3Mono_GM (MIT) and cut from sonic-pi-samples (CC0); nothing of either is
shipped. Clip i follows from (seed, i) alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from modalities.training.corpora.instrument_names import INSTRUMENTS, NAMES
from modalities.training.corpora.packages import RECORDINGS, SOUNDFONT, fetch
from modalities.training.corpora.sound_captions import sound_caption
from modalities.training.corpora.sound_rendering import Renderer
from modalities.training.corpora.sound_scores import Score, draw_score


class Instruments:
    """A `Corpus` of sounds with `captions` captions each: of `clips`, the single notes and every `thin`th other."""

    def __init__(self, folder: Path, clips: int, captions: int, seed: int, thin: int = 1) -> None:
        if clips < 1 or captions < 1:
            raise ValueError(f"{clips} clips with {captions} captions; expected at least 1 of each")
        if thin < 1:
            raise ValueError(f"thin is {thin}; expected at least 1, which keeps every clip")
        self._captions, self._seed = captions, seed
        self._drawn = list(range(clips)) if thin == 1 else kept(seed, clips, thin)
        self._renderer = Renderer(folder)

    def __len__(self) -> int:
        return len(self._drawn)

    def score(self, index: int) -> Score:
        """What is played in a clip."""
        return draw_score(self._seed, self._drawn[index])

    def media(self, first: int, last: int) -> Tensor:
        """Clips first..last-1: `[n, 1, 32256]` float32 in -1..1, 16 kHz."""
        clips = [self._renderer.render(self.score(index)) for index in range(first, last)]
        return torch.from_numpy(np.stack(clips)[:, None])

    def captions(self, index: int) -> Sequence[str]:
        """Captions of a clip in any of ten languages; each says nothing that the clip does not hold."""
        score = self.score(index)
        return [sound_caption(score, self._seed, self._drawn[index], number) for number in range(self._captions)]

    def concepts(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Names of every instrument, drum, beat and effect, by language; `emoji` stands among the languages."""
        emoji = {each.key: {"emoji": [each.emoji]} for each in INSTRUMENTS if each.emoji}
        return {key: {**names, **emoji.get(key, {})} for key, names in NAMES.items()}


def kept(seed: int, clips: int, thin: int) -> list[int]:
    """The numbers of the first `clips` scores that are single notes, and of every `thin`th of the others."""
    others, found = 0, []
    for index in range(clips):
        is_note = draw_score(seed, index).kind == "note"
        others += not is_note
        if is_note or others % thin == 0:
            found.append(index)
    return found


def load(folder: Path, *, clips: int = 30_000, captions: int = 3, seed: int = 29, thin: int = 1) -> Instruments:
    """The corpus; fetches its two packages into `folder` when they are not there. ValueError without tinysoundfont.

    clips: drawn; thin: so many fewer of those that are no single notes are kept.
    """
    fetch(folder, (SOUNDFONT, RECORDINGS))
    return Instruments(folder, clips, captions, seed, thin)
