"""Pictures of coloured points, drawn in numpy as shaded balls with a depth buffer: no display, no OpenGL, no network.

The camera looks at the origin from outside the unit ball that every cloud is fitted into; y is up. Equal clouds give
equal pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DISTANCE = 4.0
"""Of the camera from the origin, in radii of the cloud."""
_OPENING = 0.88
"""Part of the picture's half side that the unit ball fills."""
_LIGHT = np.array([-0.45, 0.75, 0.55]) / np.linalg.norm([-0.45, 0.75, 0.55])
_TOGETHER = 512
"""Balls that are drawn in one go."""
_FINER = 2
"""Pixels per side that one pixel of the picture is averaged from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Side of the square picture in pixels, the camera's angles in degrees, the background 0..1 and a ball's size.

    radius: of a ball, in radii of the cloud; None takes one that covers a closed surface of so many points.
    """

    side: int = 512
    azimuth: float = 35.0
    elevation: float = 18.0
    background: tuple[float, float, float] = (0.955, 0.958, 0.965)
    radius: float | None = None


def render(points: Floats, colours: Floats, view: View) -> NDArray[np.uint8]:
    """Draw points `[N, 3]` in colours `[N, 3]` (0..1): a picture `[side, side, 3]`."""
    side = view.side * _FINER
    turned = fitted(points) @ _rotation(view).T
    radius = view.radius if view.radius is not None else min(0.06, max(0.011, 0.95 / len(points) ** 0.5))
    near = _DISTANCE - turned[:, 2]
    scale = side / 2 * _OPENING * np.sqrt(_DISTANCE**2 - 1) / near
    columns, rows = side / 2 + turned[:, 0] * scale, side / 2 - turned[:, 1] * scale
    picture = _floor(points, view, side)
    owner, bulge_x, bulge_y = _nearest(columns, rows, near, scale * radius, radius, side)
    drawn = owner >= 0
    which, x, y = owner[drawn], bulge_x[drawn], bulge_y[drawn]
    normal = np.stack([x, y, np.sqrt(np.clip(1 - x * x - y * y, 0, 1))], axis=1)
    picture[drawn] = _shaded(colours[which], normal, turned[which, 2], view)
    small = picture.reshape(view.side, _FINER, view.side, _FINER, 3).mean(axis=(1, 3))
    pixels: NDArray[np.uint8] = np.round(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return pixels


def fitted(points: Floats) -> Floats:
    """Points moved and scaled so that the middle of their box is the origin and the farthest has length 1."""
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    found: Floats = centred / max(float(np.linalg.norm(centred, axis=1).max()), 1e-9)
    return found


def _rotation(view: View) -> Floats:
    a, e = radians(view.azimuth), radians(view.elevation)
    turn = np.array([[cos(a), 0, -sin(a)], [0, 1, 0], [sin(a), 0, cos(a)]])
    tilt = np.array([[1, 0, 0], [0, cos(e), -sin(e)], [0, sin(e), cos(e)]])
    both: Floats = tilt @ turn
    return both


def _nearest(
    columns: Floats, rows: Floats, depth: Floats, pixels: Floats, radius: float, side: int
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """For each pixel the ball that is in front there (-1: none), and where on the ball it lies (-1..1, y up)."""
    reach = int(np.ceil(pixels.max()))
    dy, dx = (grid.ravel() for grid in np.mgrid[-reach : reach + 1, -reach : reach + 1])
    column, row = np.floor(columns).astype(np.int64), np.floor(rows).astype(np.int64)
    best = np.full(side * side, np.iinfo(np.int64).max)
    for first in range(0, len(columns), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        x, y = column[part, None] + dx, row[part, None] + dy
        across = (x + 0.5 - columns[part, None]) / pixels[part, None]
        down = (y + 0.5 - rows[part, None]) / pixels[part, None]
        height = 1 - across * across - down * down
        ball, place = np.nonzero((height > 0) & (x >= 0) & (x < side) & (y >= 0) & (y < side))
        front = depth[first + ball] - radius * np.sqrt(height[ball, place])
        # Depth in the upper bits, the ball's number below: the least is in front, and ties have one winner.
        keys = (front * 1e6).astype(np.int64) << 32 | (first + ball)
        np.minimum.at(best, y[ball, place] * side + x[ball, place], keys)
    owner = np.where(best == np.iinfo(np.int64).max, -1, best & 0xFFFFFFFF).reshape(side, side)
    centre_y, centre_x = np.mgrid[:side, :side] + 0.5
    size = pixels[owner]
    return owner, (centre_x - columns[owner]) / size, -(centre_y - rows[owner]) / size


def _shaded(colours: Floats, normal: Floats, height: Floats, view: View) -> Floats:
    """Half-wrapped diffuse light, a small highlight, and a little of the background towards the back."""
    light = np.clip(normal @ _LIGHT * 0.5 + 0.5, 0, 1)[:, None]
    halfway = _LIGHT + np.array([0.0, 0.0, 1.0])
    shine = np.clip(normal @ (halfway / np.linalg.norm(halfway)), 0, 1)[:, None] ** 40
    lit = colours * (0.42 + 0.62 * light) + 0.10 * shine
    fog = np.clip((0.55 - height) / 1.55, 0, 1)[:, None] * 0.28
    shaded: Floats = lit * (1 - fog) + np.array(view.background) * fog
    return shaded


def _floor(points: Floats, view: View, side: int) -> Floats:
    """The background with the cloud's soft shadow on the plane under it."""
    place = fitted(points)
    ground = place[:, 1].min() - 0.02
    rotation = _rotation(view)
    flat = np.stack([place[:, 0], np.full(len(place), ground), place[:, 2]], axis=1) @ rotation.T
    scale = side / 2 * _OPENING * np.sqrt(_DISTANCE**2 - 1) / (_DISTANCE - flat[:, 2])
    cells = 64
    column = np.clip((side / 2 + flat[:, 0] * scale) * cells / side, 0, cells - 1).astype(np.int64)
    row = np.clip((side / 2 - flat[:, 1] * scale) * cells / side, 0, cells - 1).astype(np.int64)
    shade = np.zeros((cells, cells))
    np.add.at(shade, (row, column), 1.0)
    shade = np.minimum(shade * cells * 1.2 / len(points), 1.0)
    weights = np.exp(-0.5 * (np.arange(-6, 7) / 2.2) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        shade = np.apply_along_axis(np.convolve, axis, shade, weights, "same")
    places = np.clip((np.arange(side) + 0.5) * cells / side - 0.5, 0, cells - 1)
    low = np.minimum(places.astype(np.int64), cells - 2)
    part = places - low
    wide = shade[:, low] * (1 - part) + shade[:, low + 1] * part
    full = wide[low] * (1 - part)[:, None] + wide[low + 1] * part[:, None]
    floor: Floats = np.array(view.background) * (1 - 0.34 * np.clip(full, 0, 1))[..., None]
    return floor
