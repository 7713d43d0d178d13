"""Coloured surface points of the meshes in the Debian package sweethome3d-furniture, by head noun.

The package holds five catalogues of OBJ models with names in some twenty languages. Only models of catalogues in the
public domain or under Creative Commons Attribution are read; `creators` says whom to name. Sampling all of them takes
a minute, so the clouds are kept beside the packages.
"""

from __future__ import annotations

import re
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from modalities.training.corpora.packages import FURNITURE

POINTS = 4096
"""Points kept of each mesh; samples are subsets of them."""

LICENCES = re.compile(r"Public domain|Creative Commons Attribution 3\.0")
CATALOGUES = "usr/share/sweethome3d/furniture"
LANGUAGES = {"zh": "zh_CN", "zh-Hant": "zh_TW"}
"""Ending of a language's table where it is not the language's code."""

MODELS: dict[str, str] = {
    "chair": r"(oak |folding |osaka |cafe |teck |rattan |child )?chair",
    "armchair": r"(winchester |modern |rattan )?armchair",
    "sofa": r"(winchester |clear |burlap |rattan )?sofa( \d seats)?|(futon )?couch",
    "bed": r"(child |iron |captain's |day |hospital )?bed",
    "table": r"(oak |round |coffee |cafe |folding |glass |black |wooden |rattan |children )?table",
    "stool": r"(bar )?stool",
    "bench": r"(piano |concrete |painted )?bench",
    "lamp": r"(desk |little |pedestal vase )?lamp",
    "bookcase": r"bookcase|(vertical )?shelves",
    "toilet": r"toilets unit",
    "bathtub": r"(island )?bath",
    "piano": r"(grand|upright) piano",
    "bottle": r"((wine|beer|medicine) )?bottle",
    "vase": r"vase",
    "plant": r"((little|indoor|decorative|spider) )?plant|ficus|yucca|spathiphyllum",
    "tree": r"christmas tree|pine|copper beech|acacia|japanese maple|sycamore maple|blue pine under snow",
    "palm tree": r"palm tree|(bended )?coconut tree",
    "car": r"concept sedan.*|ford focus|seat leon|renault scenic|suv|chevrolet|smart car|vw new beetle|peugeot.*",
    "truck": r"truck",
    "bus": r"(city )?bus",
    "motorcycle": r"motorbike|yamaha.*",
    "bicycle": r"bike|bicycle",
    "horse": r"horse",
    "dog": r"dog|bulldog",
    "cat": r"(siamese )?cat",
    "rabbit": r"rabbit",
    "chicken": r"chicken",
    "deer": r"deer",
    "person": r"female|male",
    "teddy bear": r"teddy bear",
    "airplane": r"biplane",
    "umbrella": r"umbrella",
    "ladder": r"(small )?step ladder",
    "door": r"(exterior )?door",
    "guitar": r"electric guitar",
}
"""Head noun -> English catalogue names, as a pattern that has to match the whole name."""


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of a catalogue. names: language -> name. rotation: 3 x 3, from the file's axes to x, up y, z."""

    archive: str
    noun: str
    file: str
    names: Mapping[str, str]
    creator: str
    licence: str
    rotation: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Furniture:
    """points `[models, POINTS, 3]` in the unit ball, y up; colours `[models, POINTS, 3]` in 0..1, row by row."""

    models: Sequence[Model]
    points: NDArray[np.float32]
    colours: NDArray[np.float32]


def load_furniture(corpora: Path) -> Furniture:
    """All models that `MODELS` asks for. FileNotFoundError when the package is not unpacked."""
    models = list(catalogue(corpora))
    cache = corpora / f"{FURNITURE.stem}-{POINTS}.npz"
    wanted = [f"{model.archive}{model.file}" for model in models]
    if cache.exists():
        with np.load(cache) as kept:
            if list(kept["files"]) == wanted:
                return _furniture(models, kept["points"], kept["colours"])
    points, colours = _sample_all(corpora, models)
    places, tints = np.round(points * 32767).astype(np.int16), np.round(colours * 255).astype(np.uint8)
    aside = cache.with_suffix(".part.npz")
    np.savez_compressed(aside, files=np.array(wanted), points=places, colours=tints)
    aside.rename(cache)
    return _furniture(models, places, tints)


def _furniture(models: Sequence[Model], places: NDArray[np.int16], tints: NDArray[np.uint8]) -> Furniture:
    return Furniture(models, np.asarray(places / 32767, np.float32), np.asarray(tints / 255, np.float32))


def catalogue(corpora: Path) -> Iterator[Model]:
    """The models of `MODELS`, in the order of the archives and of their entries."""
    folder = corpora / FURNITURE.stem / CATALOGUES
    archives = sorted(folder.glob("*.sh3f"))
    if not archives:
        raise FileNotFoundError(f"no catalogues (*.sh3f) in {folder}; fetch the packages first")
    for path in archives:
        with zipfile.ZipFile(path) as archive:
            yield from _entries(path.name, archive)


def creators(models: Sequence[Model]) -> dict[str, list[str]]:
    """Licence and archive -> the people to name, for THIRD_PARTY.md."""
    found: dict[str, set[str]] = {}
    for model in models:
        found.setdefault(f"{model.archive}: {model.licence}", set()).add(model.creator)
    return {key: sorted(names) for key, names in sorted(found.items())}


def read_mesh(path: Path) -> Any:
    """A scene of trimesh. ValueError when the file is no mesh or has no surface."""
    import trimesh

    try:
        scene = trimesh.load(path, force="scene", process=False)
        area = sum(float(part.area) for part in scene.geometry.values() if isinstance(part, trimesh.Trimesh))
    except (ValueError, KeyError, IndexError, TypeError, UnicodeDecodeError, NotImplementedError) as error:
        raise ValueError(f"{path}: not a mesh that can be read ({error})") from error
    if not area > 0:
        raise ValueError(f"{path}: holds no surface; expected a mesh with triangles")
    return scene


def sample_mesh(path: Path, count: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """`count` points of a mesh's surface, evenly by area, and their colours 0..1 from materials and textures."""
    scene = read_mesh(path)
    triangles, uvs, owners = [], [], []
    parts: list[Any] = []
    for node in scene.graph.nodes_geometry:
        transform, name = scene.graph[node]
        turn = np.asarray(transform, dtype=np.float64)
        part = scene.geometry[name]
        corners = part.vertices[part.faces] @ turn[:3, :3].T + turn[:3, 3]
        triangles.append(corners)
        uv = getattr(part.visual, "uv", None)
        if uv is None or len(uv) != len(part.vertices):
            uv = np.zeros((len(part.vertices), 2))
        uvs.append(np.asarray(uv, dtype=np.float64)[part.faces])
        owners.append(np.full(len(corners), len(parts)))
        parts.append(part)
    whole, owner = np.concatenate(triangles), np.concatenate(owners)
    chosen, weights = surface(whole, count, rng)
    points = np.einsum("nk,nkd->nd", weights, whole[chosen])
    places = np.einsum("nk,nkd->nd", weights, np.concatenate(uvs)[chosen])
    colours = np.empty((count, 3))
    for number, part in enumerate(parts):
        mine = owner[chosen] == number
        if mine.any():
            colours[mine] = surface_colours(part, places[mine])
    return points, colours


def surface(
    corners: NDArray[np.float64], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw points evenly from triangles `[T, 3, 3]`: which triangle `[count]`, and the weights of its corners."""
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    edges = np.cumsum(areas)
    chosen = np.searchsorted(edges, rng.random(count) * edges[-1], side="right").clip(max=len(areas) - 1)
    a, b = np.sqrt(rng.random(count)), rng.random(count)
    return chosen, np.stack([1 - a, a * (1 - b), a * b], axis=1)


def in_unit_ball(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Centred on the middle of the bounding box, the farthest point on the unit sphere."""
    centred = points - (points.min(axis=0) + points.max(axis=0)) / 2
    found: NDArray[np.float64] = centred / max(float(np.linalg.norm(centred, axis=1).max()), 1e-9)
    return found


def surface_colours(part: Any, uv: NDArray[np.float64]) -> NDArray[np.float64]:
    """Colours 0..1 of surface places of one part: its texture, or else its material's colour."""
    material = getattr(part.visual, "material", None)
    if material is not None and getattr(material, "image", None) is not None:
        found = np.asarray(material.to_color(uv % 1.0), dtype=np.float64)[:, :3]
    else:
        plain = part.visual.main_color if material is None else material.main_color
        found = np.tile(np.asarray(plain, dtype=np.float64)[:3], (len(uv), 1))
    shades: NDArray[np.float64] = found / 255
    return shades


def _sample_all(corpora: Path, models: Sequence[Model]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    folder = corpora / FURNITURE.stem / CATALOGUES
    points, colours = [], []
    with tempfile.TemporaryDirectory() as aside:
        for name in sorted({model.archive for model in models}):
            with zipfile.ZipFile(folder / name) as archive:
                archive.extractall(Path(aside) / name)
        for number, model in enumerate(models):
            rng = np.random.default_rng((number, 11))
            where, tint = sample_mesh(Path(aside) / model.archive / model.file.lstrip("/"), POINTS, rng)
            points.append(in_unit_ball(where @ model.rotation.T))
            colours.append(tint)
    return np.stack(points), np.stack(colours)


def _entries(name: str, archive: zipfile.ZipFile) -> Iterator[Model]:
    table = read_properties(archive, "PluginFurnitureCatalog.properties")
    licence = LICENCES.search(table.get("license", ""))
    if licence is None:
        return
    others = {}
    for language in ("de", "es", "fr", "it", "ja", "nl", "pl", "pt", "ru", "tr", "zh", "zh-Hant"):
        member = f"PluginFurnitureCatalog_{LANGUAGES.get(language, language)}.properties"
        if member in archive.namelist():
            others[language] = read_properties(archive, member)
    files = set(archive.namelist())
    for key, english in table.items():
        number = key.removeprefix("name#")
        noun = next((n for n, pattern in MODELS.items() if re.fullmatch(pattern, english.lower())), None)
        file = table.get(f"model#{number}", "")
        if number == key or noun is None or file.lstrip("/") not in files:
            continue
        turn = table.get(f"modelRotation#{number}", "1 0 0 0 1 0 0 0 1")
        names = {language: other[key] for language, other in others.items() if key in other}
        rotation = np.array([float(value) for value in turn.split()]).reshape(3, 3)
        creator = table.get(f"creator#{number}", "unknown")
        yield Model(name, noun, file, {"en": english, **names}, creator, licence.group(), rotation)


def read_properties(archive: zipfile.ZipFile, member: str) -> dict[str, str]:
    """A Java properties file: Latin-1 with `\\uXXXX` escapes (pairs of surrogates too) and lines joined at `\\`."""
    text = re.sub(r"\\\r?\n\s*", "", archive.read(member).decode("latin-1"))
    text = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), text)
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    rows = (line.partition("=") for line in text.splitlines() if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in rows}
