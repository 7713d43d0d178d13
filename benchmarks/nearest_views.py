"""Which training object a turn of views is nearest to, in which colour, and whether its sides come in order.

References are all furniture models and some draws of each solid, each in its own colours and in the ten that can be
asked for. Pictures are compared reduced to 16 x 16 pixels, by mean squared difference, all sides together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from modalities.training.corpora.shapes import PALETTE, Shape
from modalities.training.corpora.solids import SOLIDS, STRETCHED
from modalities.training.corpora.turntable_views import VIEWS, TurntableViews

PICTURE = 16
DRAWS = 2
"""References of a solid, whose proportions are drawn, in each form and colour."""
ONE_SIDED = 0.002
"""An object has distinct sides when turning it by a view changes its pictures by more than this mean square, 0..1."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What each of N turns shows. sides: `[N]`, which noun each view is nearest to on its own, `VIEWS` of them.

    turned: by how many views the nearest object of that noun and colour has to be turned to fit best; None where its
    sides look alike. distance: to the nearest reference.
    """

    noun: Sequence[str]
    colour: Sequence[str]
    sides: Sequence[Sequence[str]]
    turned: Sequence[int | None]
    distance: Sequence[float]


@dataclass(frozen=True, slots=True)
class ViewIndex:
    """shapes: what the references show. pictures: `[R, VIEWS, 3 * PICTURE * PICTURE]` in 0..1."""

    shapes: Sequence[Shape]
    pictures: Tensor

    @staticmethod
    def of(corpus: TurntableViews, shapes: Sequence[Shape], seed: int) -> ViewIndex:
        """References that show `shapes`; what is drawn for each follows from the seed and its number."""
        views = [corpus.views(shape, np.random.default_rng((seed, number))) for number, shape in enumerate(shapes)]
        parts = [reduced(torch.from_numpy(view)[None].permute(0, 4, 1, 2, 3) / 2 + 0.5) for view in views]
        return ViewIndex(shapes, torch.cat(parts))

    def see(self, turns: Tensor) -> Seen:
        """Look at turns `[N, 3, VIEWS, H, W]` in 0..1."""
        small = reduced(turns)
        by_side = torch.stack([torch.cdist(small[:, i], self.pictures[:, i]).square() for i in range(VIEWS)], dim=1)
        whole = by_side.mean(dim=1) / small.shape[2]
        painted = whole.masked_fill(torch.tensor([shape.colour is None for shape in self.shapes]), torch.inf)
        nearest = whole.argmin(dim=1).tolist()
        return Seen(
            noun=[self.shapes[i].noun for i in nearest],
            colour=[str(self.shapes[i].colour) for i in painted.argmin(dim=1).tolist()],
            sides=[[self.shapes[i].noun for i in row] for row in by_side.argmin(dim=2).tolist()],
            turned=[self._turned(turn, i) for turn, i in zip(small, nearest, strict=True)],
            distance=whole.amin(dim=1).tolist(),
        )

    def _turned(self, turn: Tensor, reference: int) -> int | None:
        best = self.pictures[reference]
        rolled = torch.stack([best.roll(-shift, dims=0) for shift in range(VIEWS)])
        if float((rolled[1:] - best).square().mean(dim=(1, 2)).min()) < ONE_SIDED:
            return None
        return int((rolled - turn).square().mean(dim=(1, 2)).argmin())


def references(corpus: TurntableViews) -> Iterator[Shape]:
    """Every object in its own colours and in each that can be asked for."""
    for noun in corpus.shapes.nouns:
        for colour in (None, *PALETTE):
            yield from (Shape(noun, model, colour, None) for model in corpus.shapes.models.get(noun, []))
            if noun in SOLIDS and colour is not None:
                forms = [None, "tall", "flat"] if noun in STRETCHED else [None]
                yield from (Shape(noun, None, colour, form) for form in forms for _ in range(DRAWS))


def reduced(turns: Tensor) -> Tensor:
    """Turns `[N, 3, V, H, W]` as rows of small pictures, `[N, V, 3 * PICTURE * PICTURE]`."""
    flat = turns.float().transpose(1, 2).flatten(0, 1)
    return F.interpolate(flat, size=(PICTURE, PICTURE), mode="area").reshape(len(turns), turns.shape[2], -1)
