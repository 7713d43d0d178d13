"""Coloured points as PLY, PCD, XYZ and glTF, as a mesh, a picture and a turntable.

Media are `[6, points]` float32: x, y (up), z in -1..1, then red, green, blue in -1..1. What made them stands inside
where the format can hold it; see `read_facts`. Equal clouds with equal facts give equal files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from orchestrator.exporters.gltf import glb, read_extras
from orchestrator.exporters.image import as_json, write_png
from orchestrator.exporters.point_mesh import surface_of
from orchestrator.exporters.point_render import View, render
from orchestrator.exporters.video import write_gif

_MARK = "parhelion "
"""What a comment that holds facts starts with."""
STILL_SIDE, TURN_SIDE = 512, 320
TURN_FRAMES, TURN_SECONDS = 24, 4.0
"""Of a turntable, unless its options say otherwise."""


def write_ply(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Binary little-endian PLY: float coordinates, byte colours, facts as a comment."""
    points, colours = _cloud(media)
    kinds = [(name, "<f4") for name in "xyz"] + [(name, "u1") for name in ("red", "green", "blue")]
    rows = np.empty(len(points), dtype=kinds)
    for i, name in enumerate("xyz"):
        rows[name] = points[:, i]
    for i, name in enumerate(("red", "green", "blue")):
        rows[name] = _bytes(colours)[:, i]
    head = ["ply", "format binary_little_endian 1.0", f"comment {_comment(facts)}", f"element vertex {len(points)}"]
    head += [f"property {'float' if kind == '<f4' else 'uchar'} {name}" for name, kind in kinds]
    path.write_bytes("\n".join([*head, "end_header", ""]).encode() + rows.tobytes())


def write_pcd(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Binary PCD 0.7 with the fields x y z rgb; the colour is packed in the bits of a float, as PCL does."""
    points, colours = _cloud(media)
    red, green, blue = _bytes(colours).astype("<u4").T
    rows = np.empty(len(points), dtype=[("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("rgb", "<u4")])
    rows["x"], rows["y"], rows["z"] = points.T
    rows["rgb"] = red << 16 | green << 8 | blue
    head = ["# .PCD v0.7 - Point Cloud Data file format", f"# {_comment(facts)}", "VERSION 0.7", "FIELDS x y z rgb"]
    head += ["SIZE 4 4 4 4", "TYPE F F F F", "COUNT 1 1 1 1", f"WIDTH {len(points)}", "HEIGHT 1"]
    head += ["VIEWPOINT 0 0 0 1 0 0 0", f"POINTS {len(points)}", "DATA binary", ""]
    path.write_bytes("\n".join(head).encode() + rows.tobytes())


def write_xyz(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Text, `x y z r g b` in each line, colours 0..1 (what Open3D calls xyzrgb). It has no place for facts."""
    points, colours = _cloud(media)
    lines = [" ".join(f"{value:.6f}" for value in row) for row in np.concatenate([points, colours], axis=1)]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_glb(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """Binary glTF 2.0 with one primitive of points."""
    points, colours = _cloud(media)
    path.write_bytes(glb(points, colours, facts))


def write_mesh(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """A surface through the points as binary glTF. Options: method (ball-pivoting, poisson), depth (of poisson).

    Ball-pivoting unless asked: through a few hundred points Poisson closes what is open, such as a chair.
    """
    points, colours = _cloud(media)
    options = facts.get("options") or {}
    depth = options.get("depth")
    method = str(options.get("method") or "ball-pivoting")
    vertices, shades, triangles, normals = surface_of(points, colours, method, None if depth is None else int(depth))
    path.write_bytes(glb(vertices, shades, facts, triangles, normals))


def write_still(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """A picture of the points as PNG."""
    points, colours = _cloud(media)
    write_png(_picture(render(points, colours, View(side=STILL_SIDE))), path, facts)


def write_turntable(media: Tensor, path: Path, facts: Mapping[str, Any]) -> None:
    """One turn around the points as GIF. Options: frames, seconds."""
    points, colours = _cloud(media)
    options = facts.get("options") or {}
    frames, seconds = int(options.get("frames") or TURN_FRAMES), float(options.get("seconds") or TURN_SECONDS)
    front = View(side=TURN_SIDE)
    views = [replace(front, azimuth=front.azimuth + 360 * i / frames) for i in range(frames)]
    turn = [_picture(render(points, colours, view)) for view in views]
    write_gif(torch.stack(turn, dim=1), path, {**facts, "rate": frames / seconds})


def read_facts(path: Path) -> dict[str, Any]:
    """What a writer of PLY, PCD or glTF wrote inside a file. ValueError when the file holds nothing of the kind."""
    data = path.read_bytes()
    if data[:4] == b"glTF":
        return read_extras(data)
    for line in data.split(b"\n", 4)[:4]:
        _, mark, text = line.partition(_MARK.encode())
        if mark:
            facts: dict[str, Any] = json.loads(text)
            return facts
    raise ValueError(f"{path}: holds no facts written by parhelion")


def _cloud(media: Tensor) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Points `[N, 3]` and colours `[N, 3]` in 0..1; ValueError when media are no cloud of finite numbers."""
    if not media.is_floating_point() or media.dim() != 2 or media.shape[0] != 6 or media.shape[1] < 1:
        wanted = "[6, points] in floating point with at least one point"
        raise ValueError(f"a point cloud is {wanted}; got {list(media.shape)} in {media.dtype}")
    if not bool(torch.isfinite(media).all()):
        number = int((~torch.isfinite(media)).any(dim=0).sum())
        raise ValueError(f"{number} of the {media.shape[1]} points are not finite numbers")
    values = media.double().numpy()
    return values[:3].T.copy(), np.clip(values[3:].T / 2 + 0.5, 0, 1)


def _bytes(colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(colours * 255).astype(np.uint8)


def _comment(facts: Mapping[str, Any]) -> str:
    """Facts in one line of ASCII, which is all that the headers of PLY and PCD allow."""
    return _MARK + json.dumps(json.loads(as_json(facts)), sort_keys=True)


def _picture(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(pixels.transpose(2, 0, 1).copy())
