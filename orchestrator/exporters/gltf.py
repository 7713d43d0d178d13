"""A binary glTF 2.0 file with one mesh of coloured points or triangles.

Written by hand because the libraries at hand either need OpenGL-era file names or write buffers that their own readers
refuse. Chunks and alignment: the glTF 2.0 specification, section 4 (GLB) and 3.6 (buffers); colours are linear there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

_POINTS, _TRIANGLES = 0, 4
_FLOAT, _UINT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963


def glb(
    points: NDArray[np.float64],
    colours: NDArray[np.float64],
    facts: Mapping[str, Any],
    triangles: NDArray[np.int64] | None = None,
    normals: NDArray[np.float64] | None = None,
) -> bytes:
    """Points `[N, 3]` in colours `[N, 3]` (sRGB, 0..1), or the triangles `[T, 3]` between them, as a whole file.

    facts: kept in `asset.extras`. normals: `[N, 3]` of length 1.
    """
    places = points.astype("<f4")
    arrays = [places, linear(colours).astype("<f4")]
    attributes = {"POSITION": 0, "COLOR_0": 1}
    if normals is not None:
        attributes["NORMAL"] = len(arrays)
        arrays.append(normals.astype("<f4"))
    accessors: list[dict[str, Any]] = [
        {"bufferView": i, "componentType": _FLOAT, "count": len(points), "type": "VEC3"} for i in range(len(arrays))
    ]
    accessors[0] |= {"min": places.min(axis=0).tolist(), "max": places.max(axis=0).tolist()}
    primitive: dict[str, Any] = {"attributes": attributes, "mode": _POINTS, "material": 0}
    if triangles is not None:
        primitive |= {"mode": _TRIANGLES, "indices": len(arrays)}
        accessors.append({"bufferView": len(arrays), "componentType": _UINT, "count": triangles.size, "type": "SCALAR"})
        arrays.append(triangles.ravel().astype("<u4"))
    views, start = [], 0
    for i, array in enumerate(arrays):
        target = _INDICES if triangles is not None and i == len(arrays) - 1 else _VERTICES
        views.append({"buffer": 0, "byteOffset": start, "byteLength": array.nbytes, "target": target})
        start += array.nbytes
    scene = {
        "asset": {"version": "2.0", "generator": "parhelion", "extras": dict(facts)},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.9}, "doubleSided": True}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": start}],
    }
    text = json.dumps(scene, ensure_ascii=False, sort_keys=True).encode()
    chunks = _chunk(b"JSON", text, b" ") + _chunk(b"BIN\0", b"".join(array.tobytes() for array in arrays), b"\0")
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def read_extras(data: bytes) -> dict[str, Any]:
    """The facts in a file that `glb` made. ValueError when it is no such file."""
    if len(data) < 20 or data[:4] != b"glTF":
        raise ValueError("not a binary glTF file")
    length = int.from_bytes(data[12:16], "little")
    extras = json.loads(data[20 : 20 + length])["asset"].get("extras")
    if not isinstance(extras, dict):
        raise ValueError("the binary glTF file holds no facts")
    return extras


def linear(colours: NDArray[np.float64]) -> NDArray[np.float64]:
    """sRGB 0..1 to linear light (IEC 61966-2-1)."""
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def _chunk(kind: bytes, data: bytes, filler: bytes) -> bytes:
    padded = data + filler * (-len(data) % 4)
    return struct.pack("<I", len(padded)) + kind + padded
