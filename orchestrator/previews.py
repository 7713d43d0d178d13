"""What the page shows of a file without opening it: small pictures, short videos and sounds, points, as text to embed.

A page read from a disk may load pictures, videos and sounds beside it, but may not read points from another file, so
those are embedded or only linked. What is embedded shares a budget; files that come later are read from `media/`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy
from numpy.typing import NDArray
from PIL import Image

Array = NDArray[numpy.float64]

PICTURES = (".png", ".jpg", ".webp", ".gif")
MEDIA_TYPES: Mapping[str, str] = {
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".ogg": "audio/ogg",
}
"""What a browser plays, by suffix."""
_THUMBNAIL = 192
_LARGEST_BYTES = 600 * 1024
_MOST_POINTS = 8192
_PLY_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip


class Previews:
    """Embeds files until the budget of a page is used up. pictures: how many; num_bytes: of everything else."""

    def __init__(self, pictures: int = 240, num_bytes: int = 24 * 2**20) -> None:
        self._pictures = pictures
        self._bytes = num_bytes

    def picture(self, path: Path) -> str:
        """A picture as a data address, at most 192 pixels wide and high, or whole when it moves; else nothing."""
        if self._pictures <= 0 or path.suffix not in PICTURES:
            return ""
        try:
            with Image.open(path) as picture:
                if getattr(picture, "is_animated", False):
                    return self.whole(path)
                small = picture.convert("RGB")
        except OSError:
            return ""
        self._pictures -= 1
        small.thumbnail((_THUMBNAIL, _THUMBNAIL))
        encoded = io.BytesIO()
        small.save(encoded, format="WEBP", quality=88, method=4)
        return _data_address("image/webp", encoded.getvalue())

    def whole(self, path: Path) -> str:
        """A short video, animation or sound as a data address; nothing when it is long or the budget is used up."""
        try:
            size = path.stat().st_size
            if size > min(_LARGEST_BYTES, self._bytes):
                return ""
            self._bytes -= size
            return _data_address(MEDIA_TYPES[path.suffix], path.read_bytes())
        except OSError:
            return ""

    def points(self, path: Path) -> str:
        """Points of a PLY or XYZ file: nine bytes each, in base64; nothing when the file is neither.

        x, y, z as int16, the farthest from the middle of the bounding box at 32,767, then red, green, blue as uint8.
        Of more than 8,192 points, so many are taken at even distances.
        """
        try:
            read = {".ply": read_ply, ".xyz": read_xyz}[path.suffix]
            places, colours = read(path)
        except (OSError, ValueError, KeyError):
            return ""
        if not len(places) or not numpy.isfinite(places).all():
            return ""
        if len(places) > _MOST_POINTS:
            chosen = numpy.arange(_MOST_POINTS) * len(places) // _MOST_POINTS
            places, colours = places[chosen], colours[chosen]
        if len(places) * 9 > self._bytes:
            return ""
        self._bytes -= len(places) * 9
        centred = places - (places.min(axis=0) + places.max(axis=0)) / 2
        reach = max(float(numpy.linalg.norm(centred, axis=1).max()), 1e-9)
        rows = numpy.zeros(len(places), dtype=[("place", "<i2", 3), ("colour", "u1", 3)])
        rows["place"] = numpy.round(centred / reach * 32767)
        rows["colour"] = colours
        return base64.b64encode(rows.tobytes()).decode()


def read_ply(path: Path) -> tuple[Array, Array]:
    """Places `[N, 3]` and colours `[N, 3]` (0 to 255; grey where there are none) of a PLY file's vertices.

    Text and little-endian binary. ValueError for anything else.
    """
    data = path.read_bytes()
    head, _, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii", "replace").splitlines()]
    if lines[:1] != [["ply"]] or len(lines) < 3 or lines[1][:1] != ["format"]:
        raise ValueError(f"{path}: not a PLY file")
    count, names, kinds, inside = 0, [], [], False
    for line in lines[2:]:
        if line[:1] == ["element"]:
            inside = line[1] == "vertex"
            count = int(line[2]) if inside else count
        elif line[:1] == ["property"] and inside:
            kinds.append("<" + _PLY_TYPES[line[1]])
            names.append(line[2])
    if lines[1][1] == "binary_little_endian":
        rows = numpy.frombuffer(body, dtype=list(zip(names, kinds, strict=True)), count=count)
        columns = {name: rows[name].astype(float) for name in names}
    elif lines[1][1] == "ascii":
        table = numpy.array([line.split()[: len(names)] for line in body.splitlines()[:count]], dtype=float)
        columns = {name: table[:, index] for index, name in enumerate(names)}
    else:
        raise ValueError(f"{path}: PLY of the format {lines[1][1]}")
    return _stacked(columns)


def read_xyz(path: Path) -> tuple[Array, Array]:
    """As `read_ply`, of lines `x y z` or `x y z r g b`, colours whole numbers up to 255, or fractions of 1."""
    rows = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line and line[0] != "#"]
    table = numpy.array(rows, dtype=float)
    if table.ndim != 2 or table.shape[1] < 3:
        raise ValueError(f"{path}: not an XYZ file")
    if table.shape[1] >= 6 and "." in rows[0][3]:
        table[:, 3:6] *= 255
    names = ("x", "y", "z", "red", "green", "blue")[: table.shape[1]]
    return _stacked({name: table[:, index] for index, name in enumerate(names)})


def _stacked(columns: Mapping[str, Array]) -> tuple[Array, Array]:
    places = numpy.stack([columns[axis] for axis in "xyz"], axis=1)
    if "blue" not in columns:
        return places, numpy.full(places.shape, 128)
    colours = numpy.stack([columns[name] for name in ("red", "green", "blue")], axis=1)
    return places, numpy.clip(numpy.round(colours), 0, 255)


def _data_address(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
