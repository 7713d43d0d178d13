"""A corpus for each shape of media, small enough to train on in a test; targets for the catalog's table of corpora."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

NAMES = ("circle", "square", "star")


class Shapes:
    """Smooth noise of a fixed size; sample i is drawn from seed and i, and named after i mod 3."""

    def __init__(self, size: tuple[int, ...], number: int, seed: int) -> None:
        self.size, self.number, self.seed = size, number, seed

    def __len__(self) -> int:
        return self.number

    def media(self, first: int, last: int) -> Tensor:
        """Media `[n, *size]` in -1..1."""
        sources = (torch.Generator().manual_seed(self.seed * 1000 + i) for i in range(first, last))
        return torch.stack([torch.randn(self.size, generator=source).tanh() for source in sources])

    def captions(self, index: int) -> Sequence[str]:
        """Two captions."""
        return [NAMES[index % 3], f"a {NAMES[index % 3]}"]

    def concepts(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Three names in two languages."""
        return {name: {"en": [name], "fr": [f"{name} fr"]} for name in NAMES}


def picture(folder: Path, *, number: int = 6, seed: int = 1) -> Shapes:
    """Pictures of 16 x 16."""
    return Shapes((3, 16, 16), number, seed)


def video(folder: Path, *, number: int = 6, seed: int = 1) -> Shapes:
    """Four frames of 16 x 16."""
    return Shapes((3, 4, 16, 16), number, seed)


def sound(folder: Path, *, number: int = 6, seed: int = 1) -> Shapes:
    """Eight frames of 256 samples."""
    return Shapes((1, 2048), number, seed)


def cloud(folder: Path, *, number: int = 6, seed: int = 1) -> Shapes:
    """Clouds of 48 points."""
    return Shapes((6, 48), number, seed)


def loud(folder: Path, *, number: int = 6, seed: int = 1) -> Shapes:
    """Pictures beyond the range of media."""

    class Loud(Shapes):
        def media(self, first: int, last: int) -> Tensor:
            return 2 + super().media(first, last)

    return Loud((6, 48), number, seed)
