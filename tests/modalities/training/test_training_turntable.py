"""The corpus of objects seen from eight sides: geometry of the cameras, colours, light, samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from modalities.training.corpora.furniture import Furniture
from modalities.training.corpora.shapes import Shapes
from modalities.training.corpora.solids import box
from modalities.training.corpora.turntable_views import (
    SIDE,
    VIEWS,
    TurntableViews,
    camera,
    painted_mesh,
    render,
    shaded,
)

RED, BLUE = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)


@pytest.fixture(scope="module")
def views() -> TurntableViews:
    """Solids alone: no mesh of the package is needed."""
    none = Furniture([], np.zeros((0, 1, 3), np.float32), np.zeros((0, 1, 3), np.float32))
    return TurntableViews(Shapes(none, 44, 2, 5), np.zeros((0, VIEWS, SIDE, SIDE, 5), np.uint8), 5)


def test_cameras_look_from_all_around_at_right_angles() -> None:
    for view in range(VIEWS):
        axes = camera(2 * np.pi * view / VIEWS)
        np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(camera(0.0)[0], [1, 0, 0], atol=1e-12)
    assert camera(np.pi / 2)[2][0] > 0.9, "a quarter turn looks from the x axis"


def test_a_box_shows_its_sides_in_turn() -> None:
    front, back = box((0.8, 0.8, 0.02), (0, 0, 0.4)), box((0.8, 0.8, 0.02), (0, 0, -0.4))
    pictures = render(np.concatenate([front, back]), np.repeat([RED, BLUE], [len(front), len(back)], axis=0))
    assert pictures.shape == (VIEWS, SIDE, SIDE, 5)
    middle = pictures[:, SIDE // 2, SIDE // 2]
    np.testing.assert_allclose(middle[0, :3], RED, atol=1e-6)
    np.testing.assert_allclose(middle[VIEWS // 2, :3], BLUE, atol=1e-6)
    covered = pictures[..., 4].mean(axis=(1, 2))
    assert covered[2] < covered[0] / 2, "from the side two thin slabs are little"
    assert covered[0] == pytest.approx(covered[4], abs=0.02)


def test_light_darkens_and_the_ground_is_white() -> None:
    pictures = np.zeros((1, 1, 3, 5), np.float32)
    pictures[0, 0, :, 0] = 1.0
    pictures[0, 0, :, 3] = (1.0, 0.0, 1.0)
    pictures[0, 0, :, 4] = (1.0, 1.0, 0.0)
    bright, dim, ground = shaded(pictures)[0, 0]
    np.testing.assert_allclose(bright, (1, -1, -1), atol=1e-6)
    assert -1 < dim[0] < bright[0]
    np.testing.assert_allclose(ground, (1, 1, 1), atol=1e-6)


def test_samples_follow_from_seed_and_index(views: TurntableViews) -> None:
    media = views.media(2, 5)
    assert media.shape == (3, 3, VIEWS, SIDE, SIDE)
    assert media.dtype == torch.float32
    assert media.abs().max() <= 1
    assert torch.equal(views.media(4, 5)[0], media[2])
    assert (media == 1).float().mean() > 0.3, "most of a picture is white ground"
    assert len({len(views.captions(i)) for i in range(len(views))}) == 1
    assert views.concepts()["cone"]["en"]


def test_a_mesh_file_has_a_colour_for_each_triangle(tmp_path: Path) -> None:
    (tmp_path / "two.mtl").write_text("newmtl red\nKd 1 0 0\nnewmtl blue\nKd 0 0 1\n")
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nv 1 0 1\nv 0 1 1\n"
    (tmp_path / "two.obj").write_text(f"mtllib two.mtl\n{corners}usemtl red\nf 1 2 3\nusemtl blue\nf 4 5 6\n")
    triangles, colours = painted_mesh(tmp_path / "two.obj")
    assert triangles.shape == (2, 3, 3)
    order = triangles[:, 0, 2].argsort()
    np.testing.assert_allclose(colours[order], [RED, BLUE], atol=0.01)
