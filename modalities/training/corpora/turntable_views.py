"""The corpus `turntable-views`: solids and furniture seen from all around, for a multi-view model.

Each object of `shapes.py` is drawn from 8 sides, 45 degrees apart and from a little above, on white. Solids are
rendered as they are drawn; furniture is rendered once, without light, and kept beside the packages, so that a sample
only needs its colour. Everything follows from (seed, index).
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from math import cos, pi, radians, sin
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities.training.corpora.concepts import BACKGROUNDS
from modalities.training.corpora.furniture import (
    CATALOGUES,
    Model,
    in_unit_ball,
    load_furniture,
    read_mesh,
    surface_colours,
)
from modalities.training.corpora.packages import FURNITURE, fetch
from modalities.training.corpora.shapes import PALETTE, SMALL, Shape, Shapes, painted_solid, repainted

VIEWS, SIDE = 8, 64
FINER = 2
"""Rays along each side of a pixel."""
HEIGHT = radians(20)
"""How far above the horizon the camera stands."""
LIGHT = np.array([0.35, 0.8, 0.5]) / np.linalg.norm([0.35, 0.8, 0.5])
"""Towards the light, as the camera sees it: right, up, towards the camera."""
AMBIENT = 0.55

Pictures = NDArray[np.float32]
"""`[views, SIDE, SIDE, 5]`: red, green, blue (0..1, without light), how lit the surface is, and how much it covers."""


class TurntableViews:
    """A `modalities.training.corpus.Corpus` of views `[3, 8, 64, 64]`; what they show is drawn by `shapes`."""

    def __init__(self, shapes: Shapes, furniture: NDArray[np.uint8], seed: int) -> None:
        """furniture: `[models, *Pictures]` as bytes, row for row the models of `shapes`."""
        self.shapes, self._furniture, self._seed = shapes, furniture, seed

    def __len__(self) -> int:
        return len(self.shapes)

    def media(self, first: int, last: int) -> Tensor:
        """Views `[n, 3, 8, 64, 64]` of the samples first..last-1."""
        shown = [self.views(self.shapes.draw(i), np.random.default_rng((self._seed, i, 1))) for i in range(first, last)]
        return torch.from_numpy(np.ascontiguousarray(np.stack(shown).transpose(0, 4, 1, 2, 3)))

    def captions(self, index: int) -> Sequence[str]:
        """The captions of the object."""
        return self.shapes.captions(index)

    def concepts(self) -> Mapping[str, Mapping[str, Sequence[str]]]:
        """Noun -> language -> its names."""
        return self.shapes.concepts()

    def views(self, shape: Shape, rng: np.random.Generator) -> Pictures:
        """An object from all around, `[8, 64, 64, 3]` in -1..1; a solid's proportions are drawn."""
        if shape.model is None:
            triangles, colours = painted_solid(shape, rng)
            size = SMALL if shape.form == "small" else 1.0
            return shaded(render(_placed(triangles) * size, colours))
        pictures = self._furniture[shape.model].astype(np.float32) / 255
        if shape.colour is not None:
            flat = pictures[..., :3].reshape(-1, 3).astype(np.float64)
            shown = pictures[..., 4].reshape(-1) > 0
            flat[shown] = repainted(flat[shown], PALETTE[shape.colour])
            pictures[..., :3] = flat.reshape(pictures[..., :3].shape)
        return shaded(pictures)


def load(folder: Path, *, scenes: int = 8_000, captions: int = 3, seed: int = 0) -> TurntableViews:
    """The corpus, fetching the furniture when it is not there and rendering it the first time (a minute)."""
    fetch(folder, (FURNITURE,))
    shapes = Shapes(load_furniture(folder), scenes, captions, seed)
    return TurntableViews(shapes, furniture_pictures(folder, shapes.furniture.models), seed)


def render(triangles: NDArray[np.float64], colours: NDArray[np.float64]) -> Pictures:
    """Triangles `[T, 3, 3]` in the unit ball and their colours `[T, 3]` as pictures, in parallel projection."""
    import open3d  # two seconds

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    corners = np.ascontiguousarray(triangles.reshape(-1, 3), dtype=np.float32)
    scene.add_triangles(corners, np.arange(len(corners), dtype=np.uint32).reshape(-1, 3))
    cameras = [camera(2 * pi * view / VIEWS) for view in range(VIEWS)]
    rays = np.stack([_rays(axes) for axes in cameras])
    hits = scene.cast_rays(rays, nthreads=1)
    seen = np.isfinite(hits["t_hit"].numpy())
    owners = np.where(seen, hits["primitive_ids"].numpy(), 0).astype(np.int64)
    lights = np.stack([axes.T @ LIGHT for axes in cameras])
    # Thin parts are seen from both sides, so a surface is lit whichever way its normal points.
    slant = np.abs(np.einsum("vhwd,vd->vhw", hits["primitive_normals"].numpy(), lights))
    values = np.concatenate([colours[owners], slant[..., None], np.ones((*slant.shape, 1))], axis=3) * seen[..., None]
    cells = values.reshape(VIEWS, SIDE, FINER, SIDE, FINER, 5).mean(axis=(2, 4))
    covered = cells[..., 4:]
    return np.concatenate([cells[..., :4] / np.maximum(covered, 1e-6), covered], axis=3).astype(np.float32)


def shaded(pictures: Pictures) -> Pictures:
    """Pictures with light on white, `[views, SIDE, SIDE, 3]` in -1..1."""
    lit = pictures[..., :3] * (AMBIENT + (1 - AMBIENT) * pictures[..., 3:4])
    cover = pictures[..., 4:]
    white = np.array(BACKGROUNDS["white"], dtype=np.float32) / 255
    found: Pictures = np.clip((lit * cover + white * (1 - cover)) * 2 - 1, -1, 1).astype(np.float32)
    return found


def camera(angle: float) -> NDArray[np.float64]:
    """Rows: to the right, up, and towards the camera, for a camera that has gone `angle` around the y axis."""
    toward = np.array([sin(angle) * cos(HEIGHT), sin(HEIGHT), cos(angle) * cos(HEIGHT)])
    right = np.array([cos(angle), 0.0, -sin(angle)])
    return np.stack([right, np.cross(toward, right), toward])


def _rays(axes: NDArray[np.float64]) -> NDArray[np.float32]:
    """Origins and directions `[rows, columns, 6]` of the rays of one view: the unit ball fills the picture."""
    count = SIDE * FINER
    places = (np.arange(count) + 0.5) / count * 2 - 1
    across, up = np.meshgrid(places, -places)
    origins = across[..., None] * axes[0] + up[..., None] * axes[1] + 2 * axes[2]
    return np.concatenate([origins, np.broadcast_to(-axes[2], origins.shape)], axis=2).astype(np.float32)


def furniture_pictures(corpora: Path, models: Sequence[Model]) -> NDArray[np.uint8]:
    """Pictures of all models as bytes `[models, 8, 64, 64, 5]`, from the copy beside the packages when there is one."""
    cache = corpora / f"{FURNITURE.stem}-{VIEWS}-views.npz"
    wanted = [f"{model.archive}{model.file}" for model in models]
    if cache.exists():
        with np.load(cache) as kept:
            if list(kept["files"]) == wanted:
                found: NDArray[np.uint8] = kept["pictures"]
                return found
    pictures = np.round(np.stack(list(_render_all(corpora, models))) * 255).astype(np.uint8)
    aside = cache.with_suffix(".part.npz")
    np.savez_compressed(aside, files=np.array(wanted), pictures=pictures)
    aside.rename(cache)
    return pictures


def _render_all(corpora: Path, models: Sequence[Model]) -> Iterator[Pictures]:
    with tempfile.TemporaryDirectory() as aside:
        for name in sorted({model.archive for model in models}):
            with zipfile.ZipFile(corpora / FURNITURE.stem / CATALOGUES / name) as archive:
                archive.extractall(Path(aside) / name)
        for model in models:
            triangles, colours = painted_mesh(Path(aside) / model.archive / model.file.lstrip("/"))
            yield render(_placed(triangles @ model.rotation.T), colours)


def _placed(triangles: NDArray[np.float64]) -> NDArray[np.float64]:
    return in_unit_ball(triangles.reshape(-1, 3)).reshape(-1, 3, 3)


def painted_mesh(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Triangles `[T, 3, 3]` of a mesh file and the colour `[T, 3]` 0..1 of each, textures at its middle."""
    scene = read_mesh(path)
    triangles, colours = [], []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        turn, part = np.asarray(transform, dtype=np.float64), scene.geometry[name]
        triangles.append(part.vertices[part.faces] @ turn[:3, :3].T + turn[:3, 3])
        colours.append(_face_colours(part))
    return np.concatenate(triangles), np.concatenate(colours)


def _face_colours(part: Any) -> NDArray[np.float64]:
    uv = getattr(part.visual, "uv", None)
    places = np.zeros((len(part.faces), 2))
    if uv is not None and len(uv) == len(part.vertices):
        places = np.asarray(uv, dtype=np.float64)[part.faces].mean(axis=1)
    return surface_colours(part, places)
