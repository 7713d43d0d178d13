"""Solids and simple objects built of triangles, with drawn proportions. y is up; sizes are later fitted to a ball.

A shape is a list of parts; a part has triangles `[T, 3, 3]` and a paint: "main" takes the asked colour, anything else
is one of `PAINTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import cos, pi, sin

import numpy as np
from numpy.typing import NDArray

Triangles = NDArray[np.float64]
Part = tuple[Triangles, str]
Place = tuple[float, float, float]

PAINTS: dict[str, tuple[float, float, float]] = {
    "wood": (0.46, 0.30, 0.17),
    "dark": (0.16, 0.16, 0.18),
    "metal": (0.66, 0.68, 0.70),
    "light": (0.95, 0.94, 0.90),
    "glass": (0.62, 0.80, 0.92),
    "roof": (0.55, 0.22, 0.16),
    "carrot": (0.96, 0.51, 0.13),
    "flame": (0.98, 0.75, 0.15),
}
"""Colours (0..1) of what is not in the asked colour."""


def box(size: Place, at: Place = (0, 0, 0)) -> Triangles:
    """A cuboid of a size (x, y, z) around a centre."""
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=float)
    corners = signs * np.array(size) / 2 + np.array(at)
    sides = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [f for a, b, c, d in sides for f in ((a, b, c), (a, c, d))]
    found: Triangles = corners[np.array(faces)]
    return found


def ball(radii: Place, at: Place = (0, 0, 0), rings: int = 12, sides: int = 20) -> Triangles:
    """An ellipsoid around a centre."""
    polar = np.linspace(0, pi, rings + 1)
    return _moved(_turned(np.stack([np.sin(polar), -np.cos(polar)], axis=1), sides) * np.array(radii), at)


def tube(
    low: float, high: float, height: float, at: Place = (0, 0, 0), sides: int = 24, open_: bool = False
) -> Triangles:
    """A frustum around the y axis: radius `low` below, `high` above, base at `at`; closed unless `open_`."""
    outline = [(low, 0.0), (high, height)]
    if not open_:
        outline = [(0.0, 0.0), *outline, (0.0, height)]
    return _moved(_turned(np.array(outline), sides), at)


def ring(radius: float, thickness: float, at: Place = (0, 0, 0), upright: bool = False) -> Triangles:
    """A torus; it lies flat, or stands facing z."""
    angle = np.linspace(0, 2 * pi, 13)
    found = _turned(np.stack([radius + thickness * np.cos(angle), thickness * np.sin(angle)], axis=1), 24)
    return _moved(found[..., [0, 2, 1]] if upright else found, at)


def slab(outline: NDArray[np.float64], depth: float, at: Place = (0, 0, 0)) -> Triangles:
    """A flat shape `[K, 2]` in x and y, star-shaped about the origin, with a thickness along z."""
    ahead = np.roll(outline, -1, axis=0)
    front = np.stack([np.zeros_like(outline), outline, ahead], axis=1)
    levels = [np.concatenate([front, np.full((*front.shape[:2], 1), z)], axis=2) for z in (depth / 2, -depth / 2)]
    a, b = levels[0][:, 1], levels[0][:, 2]
    c, d = levels[1][:, 1], levels[1][:, 2]
    return _moved(np.concatenate([*levels, np.stack([a, b, c], axis=1), np.stack([b, d, c], axis=1)]), at)


def cylinder(r: np.random.Generator) -> list[Part]:
    """As high as it is wide, more or less; words may stretch it."""
    return [(tube(0.5, 0.5, r.uniform(0.9, 1.3)), "main")]


def stairs(r: np.random.Generator) -> list[Part]:
    """Four to six steps that rise to the back."""
    steps, width = int(r.integers(4, 7)), r.uniform(0.8, 1.1)
    rise, go = 1 / steps, r.uniform(1.0, 1.3) / steps
    return [(box((width, rise * (i + 1), go), (0, rise * (i + 1) / 2, -go * i)), "main") for i in range(steps)]


def house(r: np.random.Generator) -> list[Part]:
    """Walls in the asked colour, a gable roof, a door and a chimney."""
    w, d, h, top = r.uniform(0.9, 1.2), r.uniform(0.8, 1.1), r.uniform(0.85, 1.05), r.uniform(0.4, 0.5)
    gable = np.array([[-w / 2 - 0.1, 0], [w / 2 + 0.1, 0], [0, top]]) - np.array([0, top / 3])
    parts = [(box((w, h, d), (0, h / 2, 0)), "main"), (slab(gable, d + 0.15, (0, h + top / 3, 0)), "roof")]
    parts.append((box((0.24, 0.42, 0.04), (0, 0.21, d / 2 + 0.02)), "wood"))
    parts.append((box((0.13, 0.4, 0.13), (w / 4, h + top * 0.75, -d / 5)), "roof"))
    return parts


def star(r: np.random.Generator) -> list[Part]:
    """Five points, standing."""
    angle = pi / 2 + np.arange(10) * pi / 5
    radius = np.where(np.arange(10) % 2 == 0, 1.0, r.uniform(0.38, 0.46))
    return [(slab(np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1), r.uniform(0.25, 0.4)), "main")]


def heart(r: np.random.Generator) -> list[Part]:
    """A standing heart."""
    t = np.linspace(0, 2 * pi, 40, endpoint=False)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return [(slab(np.stack([x, y], axis=1) / 16, r.uniform(0.35, 0.5)), "main")]


def snowman(r: np.random.Generator) -> list[Part]:
    """Three balls, a hat, a carrot."""
    a, b, c = 0.5, r.uniform(0.34, 0.4), r.uniform(0.24, 0.28)
    y1, y2 = a + b * 0.75, a + b * 1.5 + c * 0.8
    nose = tube(0.06, 0.0, 0.25)[..., [0, 2, 1]] + np.array([0, y2, c * 0.9])
    parts = [(ball((a, a, a)), "main"), (ball((b, b, b), (0, y1, 0)), "main"), (ball((c, c, c), (0, y2, 0)), "main")]
    hat = [
        (tube(c, c, 0.04, (0, y2 + c * 0.8, 0)), "dark"),
        (tube(c * 0.65, c * 0.65, 0.22, (0, y2 + c * 0.8, 0)), "dark"),
    ]
    return [*parts, (nose, "carrot"), *hat]


def rocket(r: np.random.Generator) -> list[Part]:
    """A pointed tube with fins, a window and a flame."""
    wide, high = r.uniform(0.2, 0.27), r.uniform(0.9, 1.2)
    fin = np.array([[0, 0], [0.3, -0.2], [0.3, 0.05], [0, 0.4]]) - np.array([0.12, 0.06])
    fins = []
    for k in range(3):
        turned = slab(fin, 0.05, (wide + 0.1, 0.15, 0)) @ _about_y(2 * pi * k / 3 + pi / 6).T
        fins.append((turned, "dark"))
    nose = tube(wide, 0.0, 0.5, (0, high, 0))
    window = (ball((0.1, 0.1, 0.04), (0, high * 0.7, wide)), "glass")
    return [
        (tube(wide, wide, high), "main"),
        (nose, "main"),
        *fins,
        window,
        (tube(0.0, 0.15, 0.3, (0, -0.3, 0)), "flame"),
    ]


def mushroom(r: np.random.Generator) -> list[Part]:
    """A cap in the asked colour on a light stem."""
    size = r.uniform(0.6, 0.75)
    cap = ball((size, r.uniform(0.42, 0.55), size))
    cap = cap[cap[..., 1].min(axis=1) > -0.05] + np.array([0, 0.6, 0])
    return [(cap, "main"), (tube(0.0, size * 0.98, 0.02, (0, 0.58, 0)), "light"), (tube(0.24, 0.17, 0.6), "light")]


def mug(r: np.random.Generator) -> list[Part]:
    """An open tube with a handle at the side."""
    wide, high = r.uniform(0.38, 0.46), r.uniform(0.8, 1.0)
    handle = ring(high * 0.28, 0.06, (wide + 0.12, high * 0.5, 0), upright=True)
    wall = [(tube(x, x, high, open_=True), "main") for x in (wide, wide * 0.88)]
    return [*wall, (tube(wide, wide, 0.05), "main"), (handle[handle[..., 0].max(axis=1) > wide * 0.95], "main")]


def chair(r: np.random.Generator) -> list[Part]:
    """Seat, back and four legs."""
    w, h, back = r.uniform(0.45, 0.55), r.uniform(0.42, 0.52), r.uniform(0.5, 0.65)
    legs = [box((0.05, h, 0.05), (x * (w / 2 - 0.03), h / 2, z * (w / 2 - 0.03))) for x in (-1, 1) for z in (-1, 1)]
    return [
        *((leg, "main") for leg in legs),
        (box((w, 0.06, w), (0, h, 0)), "main"),
        (box((w, back, 0.05), (0, h + back / 2, -w / 2)), "main"),
    ]


def table(r: np.random.Generator) -> list[Part]:
    """A round or square top on four legs or one."""
    w, d, h = r.uniform(1.0, 1.5), r.uniform(0.7, 1.0), r.uniform(0.65, 0.8)
    if r.random() < 0.35:
        foot = [(tube(0.05, 0.05, h), "main"), (tube(0.3, 0.3, 0.04), "main")]
        return [*foot, (tube(w / 2, w / 2, 0.06, (0, h, 0)), "main")]
    legs = [box((0.07, h, 0.07), (x * (w / 2 - 0.06), h / 2, z * (d / 2 - 0.06))) for x in (-1, 1) for z in (-1, 1)]
    return [*((leg, "main") for leg in legs), (box((w, 0.06, d), (0, h, 0)), "main")]


def lamp(r: np.random.Generator) -> list[Part]:
    """A shade in the asked colour on a thin stand."""
    wide, high = r.uniform(0.34, 0.45), r.uniform(0.7, 0.95)
    shade = tube(wide, wide * r.uniform(0.4, 0.6), 0.45, (0, high, 0), open_=True)
    return [(shade, "main"), (tube(0.035, 0.035, high + 0.2), "metal"), (tube(0.26, 0.22, 0.06), "metal")]


def tree(r: np.random.Generator) -> list[Part]:
    """A round or pointed crown in the asked colour on a trunk."""
    trunk = r.uniform(0.5, 0.7)
    parts: list[Part] = [(tube(0.09, 0.07, trunk), "wood")]
    if r.random() < 0.5:
        crown = r.uniform(0.45, 0.55)
        return [*parts, (ball((crown, crown * r.uniform(0.9, 1.2), crown), (0, trunk + crown * 0.8, 0)), "main")]
    for k in range(3):
        parts.append((tube(0.5 - 0.11 * k, 0.0, 0.55, (0, trunk * 0.6 + 0.3 * k, 0)), "main"))
    return parts


def car(r: np.random.Generator) -> list[Part]:
    """A body in the asked colour, a cabin with windows, four wheels; it faces z."""
    length, width = r.uniform(1.7, 2.1), r.uniform(0.75, 0.9)
    wheel = tube(0.2, 0.2, 0.14)[..., [1, 2, 0]]
    places = [(x * width / 2 - 0.07, 0.2, z * length * 0.3) for x in (-1, 1) for z in (-1, 1)]
    cabin = np.array([[-0.5, -0.17], [0.42, -0.17], [0.24, 0.17], [-0.36, 0.17]])
    top = slab(cabin * np.array([1.05, 1.0]), width * 0.86)[..., [2, 1, 0]] + np.array([0, 0.7, 0])
    windows = slab(cabin * np.array([0.9, 0.6]), width * 0.9)[..., [2, 1, 0]] + np.array([0, 0.7, 0])
    body = box((width, 0.32, length), (0, 0.38, 0))
    return [(body, "main"), (top, "main"), (windows, "glass"), *((wheel + np.array(p), "dark") for p in places)]


def umbrella(r: np.random.Generator) -> list[Part]:
    """A canopy in the asked colour over a stick with a hook."""
    size = r.uniform(0.7, 0.85)
    canopy = ball((size, size * r.uniform(0.5, 0.65), size))
    canopy = canopy[canopy[..., 1].min(axis=1) > -0.02] + np.array([0, 0.95, 0])
    hook = ring(0.1, 0.03, (0.1, 0.1, 0), upright=True)
    return [
        (canopy, "main"),
        (tube(0.025, 0.025, 1.3, (0, 0.1, 0)), "dark"),
        (hook[hook[..., 1].max(axis=1) < 0.13], "dark"),
    ]


def airplane(r: np.random.Generator) -> list[Part]:
    """A body in the asked colour with wings and a tail; it faces z."""
    span, long = r.uniform(1.5, 1.9), r.uniform(0.85, 1.0)
    wing = box((span, 0.05, 0.34), (0, 0.0, 0.1))
    tail = [box((0.6, 0.04, 0.2), (0, 0.06, -long * 0.88)), box((0.05, 0.36, 0.22), (0, 0.22, -long * 0.88))]
    body = ball((0.16, 0.17, long))
    return [
        (body, "main"),
        (wing, "main"),
        *((t, "main") for t in tail),
        (ball((0.1, 0.1, 0.2), (0, 0.13, 0.4)), "glass"),
    ]


def boat(r: np.random.Generator) -> list[Part]:
    """A hull in the asked colour with a mast and a light sail."""
    long, high = r.uniform(0.8, 1.0), r.uniform(1.1, 1.4)
    hull = ball((long, 0.36, 0.34))
    hull = hull[hull[..., 1].max(axis=1) < 0.02]
    sail = np.array([[0.0, 0.0], [0.65, 0.0], [0.0, high * 0.8]]) - np.array([0.2, high * 0.25])
    deck = tube(0.0, 1.0, 0.01, (0, 0, 0)) * np.array([long * 0.98, 1, 0.33])
    mast = tube(0.03, 0.03, high)
    return [(hull, "main"), (deck, "main"), (mast, "wood"), (slab(sail, 0.03, (0.25, high * 0.42, 0)), "light")]


SOLIDS: dict[str, Callable[[np.random.Generator], list[Part]]] = {
    "sphere": lambda r: [(ball((0.5, 0.5, 0.5)), "main")],
    "cube": lambda r: [(box((1, 1, 1)), "main")],
    "cylinder": cylinder,
    "cone": lambda r: [(tube(0.5, 0.0, r.uniform(1.0, 1.3)), "main")],
    "pyramid": lambda r: [(tube(0.7, 0.0, r.uniform(0.8, 1.0), sides=4) @ _about_y(pi / 4).T, "main")],
    "torus": lambda r: [(ring(0.5, r.uniform(0.13, 0.2)), "main")],
    "stairs": stairs,
    "house": house,
    "star": star,
    "heart": heart,
    "snowman": snowman,
    "rocket": rocket,
    "mushroom": mushroom,
    "mug": mug,
    "boat": boat,
    "chair": chair,
    "table": table,
    "lamp": lamp,
    "tree": tree,
    "car": car,
    "umbrella": umbrella,
    "airplane": airplane,
}
"""Noun -> a shape with proportions drawn from a generator."""

STRETCHED: Sequence[str] = ("cube", "cylinder", "cone", "pyramid", "sphere")
"""Solids that the words tall and flat may stretch."""


def _moved(triangles: Triangles, at: Place) -> Triangles:
    found: Triangles = triangles + np.array(at)
    return found


def _about_y(angle: float) -> NDArray[np.float64]:
    return np.array([[cos(angle), 0, sin(angle)], [0, 1, 0], [-sin(angle), 0, cos(angle)]])


def _turned(outline: NDArray[np.float64], sides: int) -> Triangles:
    """A surface of revolution about y: outline `[K, 2]` of (radius, height)."""
    angle = np.linspace(0, 2 * pi, sides + 1)
    radius, height = outline[:, 0, None], outline[:, 1, None]
    grid = np.stack(
        [radius * np.cos(angle), np.broadcast_to(height, (len(outline), sides + 1)), radius * np.sin(angle)], 2
    )
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[:-1, 1:], grid[1:, 1:]
    return np.concatenate([np.stack([a, b, c], 2).reshape(-1, 3, 3), np.stack([b, d, c], 2).reshape(-1, 3, 3)])
