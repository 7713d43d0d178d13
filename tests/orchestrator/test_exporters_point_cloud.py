"""Point-cloud files: other readers find the same points and colours in them, and equal clouds give equal bytes."""

from __future__ import annotations

import builtins
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from orchestrator.catalog import EXPORTERS, resolve
from orchestrator.exporters import image, video
from orchestrator.exporters.point_cloud import read_facts
from orchestrator.exporters.point_render import View, render

FACTS = {"id": "p0", "prompt": "une chaise rouge 🪑\nsecond line", "seed": 2**62 + 1, "workflow": "name: x\n"}
FORMATS = [name for name, entry in EXPORTERS.items() if entry.facts["modality"] == "point-cloud"]


def ball(points: int = 200) -> torch.Tensor:
    """Even points on a sphere, blue below and red above."""
    height = (torch.arange(points) + 0.5) / points * 2 - 1
    angle = torch.arange(points) * 2.399963
    wide = (1 - height.square()).sqrt()
    red = (height + 1) / 2
    places = [wide * angle.cos(), height, wide * angle.sin()]
    return torch.stack([*places, red * 2 - 1, torch.full_like(red, -0.5), 1 - 2 * red])


def write(name: str, media: torch.Tensor, path: Path, **options: object) -> Path:
    target = path / f"cloud{EXPORTERS[name].facts['suffix']}"
    write_it: Any = resolve(EXPORTERS, name)
    write_it(media, target, {**FACTS, "modality": "point-cloud", "rate": 0.0, "options": options})
    return target


def expected_colours(media: torch.Tensor) -> np.ndarray[Any, Any]:
    return np.round((media[3:].T.double().numpy() / 2 + 0.5) * 255)


@pytest.mark.parametrize("name", ["ply", "glb"])
def test_trimesh_reads_the_points_and_their_colours(name: str, tmp_path: Path) -> None:
    media = ball()
    scene: Any = trimesh.load(write(name, media, tmp_path), force="scene")
    (cloud,) = scene.geometry.values()
    np.testing.assert_allclose(cloud.vertices, media[:3].T.numpy(), atol=1e-6)
    found = np.asarray(cloud.colors)[:, :3].astype(float)
    if name == "glb":  # glTF holds linear light, which trimesh passes on
        found = np.where(found <= 0.8, found * 12.92, 269.025 * (found / 255).clip(1e-9) ** (1 / 2.4) - 14.025)
    np.testing.assert_allclose(found, expected_colours(media), atol=1 if name == "ply" else 14)


def test_open3d_reads_the_same_from_ply_pcd_and_xyz(tmp_path: Path) -> None:
    o3d = pytest.importorskip("open3d")
    media = ball()
    for name, kind in (("ply", "ply"), ("pcd", "pcd"), ("xyz", "xyzrgb")):
        cloud = o3d.io.read_point_cloud(str(write(name, media, tmp_path)), format=kind)
        np.testing.assert_allclose(np.asarray(cloud.points), media[:3].T.numpy(), atol=1e-6)
        np.testing.assert_allclose(np.asarray(cloud.colors) * 255, expected_colours(media), atol=0.51)


@pytest.mark.parametrize("name", FORMATS)
def test_equal_clouds_give_equal_bytes(name: str, tmp_path: Path) -> None:
    options = {"frames": 3} if name == "turntable" else {}
    (tmp_path / "again").mkdir()
    first = write(name, ball(), tmp_path, **options).read_bytes()
    assert write(name, ball(), tmp_path / "again", **options).read_bytes() == first


@pytest.mark.parametrize("name", ["ply", "pcd", "glb", "mesh"])
def test_what_made_a_file_stands_inside(name: str, tmp_path: Path) -> None:
    found = read_facts(write(name, ball(), tmp_path))
    assert {key: found[key] for key in FACTS} == FACTS


@pytest.mark.parametrize("method", ["poisson", "ball-pivoting"])
def test_the_mesh_of_a_ball_is_a_ball_in_its_colours(method: str, tmp_path: Path) -> None:
    scene: Any = trimesh.load(write("mesh", ball(400), tmp_path, method=method), force="scene")
    (mesh,) = scene.geometry.values()
    assert len(mesh.faces) > 300
    assert 0.9 < np.median(np.linalg.norm(mesh.vertices, axis=1)) < 1.1
    outwards = np.einsum("nd,nd->n", mesh.face_normals, mesh.triangles_center)
    assert (outwards > 0).mean() > 0.95
    colours = np.asarray(mesh.visual.vertex_attributes["color"])
    high, low = mesh.vertices[:, 1] > 0.5, mesh.vertices[:, 1] < -0.5
    assert colours[high, 0].mean() > 3 * colours[high, 2].mean()
    assert colours[low, 2].mean() > 3 * colours[low, 0].mean()


def test_a_mesh_of_too_few_points_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least 100 points, and there are 40; ask for a larger size"):
        write("mesh", ball(40), tmp_path)
    with pytest.raises(ValueError, match="most of these lie on one another"):
        write("mesh", torch.zeros(6, 200), tmp_path)


def test_a_missing_system_library_is_named_with_its_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def broken(name: str, *rest: Any) -> Any:
        if name == "open3d":
            raise ImportError("libGL.so.1: cannot open shared object file: No such file or directory")
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "open3d", raising=False)
    monkeypatch.setattr(builtins, "__import__", broken)
    with pytest.raises(ValueError, match=r"libGL\.so\.1.*apt-get install libgl1 libx11-6 libgomp1 libudev1.*brew"):
        write("mesh", ball(), tmp_path)


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_cloud_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    broken = ball()
    broken[4, :7] = float("nan")
    with pytest.raises(ValueError, match="7 of the 200 points are not finite"):
        write(name, broken, tmp_path)
    for wrong in (torch.zeros(3, 200), torch.zeros(6, 0), torch.zeros((6, 200), dtype=torch.uint8)):
        with pytest.raises(ValueError, match="with at least one point; got"):
            write(name, wrong, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_still_shows_red_above_and_blue_below_on_a_light_background(tmp_path: Path) -> None:
    path = write("still", ball(600), tmp_path)
    assert image.read_facts(path)["prompt"] == FACTS["prompt"]
    with Image.open(path) as picture:
        pixels = np.asarray(picture).astype(float)
    assert pixels[:20].mean() > 235
    drawn = pixels.max(axis=2) - pixels.min(axis=2) > 40
    above, below = pixels[:200][drawn[:200]], pixels[-200:][drawn[-200:]]
    assert len(above) > 4000 < len(below)
    assert above[:, 0].mean() > above[:, 2].mean() + 60
    assert below[:, 2].mean() > below[:, 0].mean() + 60


def test_the_turntable_turns_once_in_its_time(tmp_path: Path) -> None:
    media = ball(200)
    media[3:] = torch.where(media[2] > 0, 1.0, -1.0)
    path = write("turntable", media, tmp_path, frames=5, seconds=2.5)
    assert video.read_facts(path)["seed"] == FACTS["seed"]
    dark = []
    with Image.open(path) as picture:
        for frame in range(picture.n_frames):  # type: ignore[attr-defined]
            picture.seek(frame)
            assert picture.info["duration"] == 500
            dark.append(int((np.asarray(picture.convert("L"))[80:240, 80:240] < 90).sum()))
    assert len(dark) == 5
    assert max(dark) > 1.3 * min(dark)


def test_the_nearer_ball_hides_the_farther_one() -> None:
    points = np.array([[0, 0, 0.5], [0, 0, -0.5], [0.8, 0, 0], [-0.8, 0, 0]])
    colours = np.array([[1.0, 0, 0], [0, 1.0, 0], [0, 0, 0], [0, 0, 0]])
    pixels = render(points, colours, View(side=65, azimuth=0, elevation=0, radius=0.2))
    assert pixels[32, 32, 0] > 150 > pixels[32, 32, 1] + 60
    behind = render(points, colours, View(side=65, azimuth=180, elevation=0, radius=0.2))
    assert behind[32, 32, 1] > 150 > behind[32, 32, 0] + 60
