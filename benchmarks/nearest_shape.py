"""Which training shape a point cloud is nearest to, and which colour it mostly has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities.training.corpora.shapes import PALETTE, Shape, Shapes
from modalities.training.corpora.solids import SOLIDS, STRETCHED

DRAWS = 4
"""References of a solid, whose proportions are drawn, in each form."""
COLOUR_SHARE = 1 / 3
"""Part of the points that has to be in the asked colour: a lamp's stand and a car's wheels are not."""


@dataclass(frozen=True, slots=True)
class ShapeIndex:
    """shapes: what the references show. points: `[R, N, 3]`, their places."""

    shapes: Sequence[Shape]
    points: Tensor

    @staticmethod
    def of(corpus: Shapes, seed: int) -> ShapeIndex:
        """One reference for each furniture model, and `DRAWS` for each solid in each of its forms."""
        shapes: list[Shape] = []
        for noun in corpus.nouns:
            shapes += [Shape(noun, model, None, None) for model in corpus.models.get(noun, [])]
            if noun in SOLIDS:
                forms = [None, "tall", "flat"] if noun in STRETCHED else [None]
                shapes += [Shape(noun, None, "red", form) for form in forms for _ in range(DRAWS)]
        clouds = corpus.clouds(shapes, [(seed, number) for number in range(len(shapes))])
        return ShapeIndex(shapes, torch.from_numpy(clouds[:, :3].transpose(0, 2, 1).copy()))

    def distances(self, cloud: Tensor) -> Tensor:
        """Chamfer distance of a cloud `[6, N]` to every reference, `[R]`."""
        places = cloud[:3].T.contiguous()
        return torch.cat([chamfer(places.expand(len(part), -1, -1), part) for part in self.points.split(64)])

    def nearest(self, cloud: Tensor) -> tuple[str, float]:
        """The noun of the nearest reference, and how far that one is."""
        found = self.distances(cloud)
        best = int(found.argmin())
        return self.shapes[best].noun, float(found[best])

    def distance_to(self, cloud: Tensor, noun: str) -> float:
        """Chamfer distance to the nearest reference of a noun."""
        found = self.distances(cloud)
        return float(found[[shape.noun == noun for shape in self.shapes]].min())


def chamfer(first: Tensor, second: Tensor) -> Tensor:
    """Chamfer distance of sets `[B, N, 3]` and `[B, M, 3]`: the mean distance to the nearest point of the other set,
    averaged over both directions, `[B]`."""
    distances = torch.cdist(first, second)
    return (distances.amin(dim=2).mean(dim=1) + distances.amin(dim=1).mean(dim=1)) / 2


def colour_shares(cloud: Tensor) -> dict[str, float]:
    """Part of the points of a cloud `[6, N]` that is nearest (in RGB) to each colour of the palette."""
    names = list(PALETTE)
    shades: NDArray[np.float64] = cloud[3:].T.double().numpy() / 2 + 0.5
    nearest = np.linalg.norm(shades[:, None] - np.array(list(PALETTE.values())), axis=2).argmin(axis=1)
    return {name: float((nearest == number).mean()) for number, name in enumerate(names)}


def has_colour(cloud: Tensor, colour: str) -> bool:
    """Whether enough of the points are in a colour."""
    return colour_shares(cloud)[colour] >= COLOUR_SHARE
