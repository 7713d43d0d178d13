"""Point clouds to learn from: solids, sampled meshes, and what their captions say."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
import trimesh

from modalities.training.corpora import furniture
from modalities.training.corpora.packages import FURNITURE
from modalities.training.corpora.phrases import COLOURS
from modalities.training.corpora.shape_words import COLOUR_WORDS, FORM_WORDS, FRAMES, LANGUAGES, NOUNS, SUBJECTS
from modalities.training.corpora.shapes import PALETTE, POINTS, Shape, Shapes, spread
from modalities.training.corpora.solids import SOLIDS

PROPERTIES = """# a comment
license=Public domain
name#1=Oak chair
model#1=/models/chair.obj
creator#1=Ada
name#2=Jet engine
model#2=/models/chair.obj
name#3=Table
model#3=/models/missing.obj
name#4=Lamp
model#4=/models/lamp.obj
modelRotation#4=1 0 0 0 0 -1 0 1 0
creator#4=Bob \\
 Brown
"""


@pytest.fixture
def corpora(tmp_path: Path) -> Path:
    """A package folder with one tiny catalogue: a red box and a tall green one that lies on its side."""
    folder = tmp_path / FURNITURE.stem / furniture.CATALOGUES
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "Tiny.sh3f", "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", PROPERTIES)
        archive.writestr("PluginFurnitureCatalog_ja.properties", "name#1=\\u6905\\u5b50\nname#4=\\ud83d\\udca1\n")
        for name, size, colour in (("chair", (1, 2, 1), "1 0 0"), ("lamp", (1, 1, 5), "0 1 0")):
            text = trimesh.exchange.obj.export_obj(trimesh.creation.box(size), include_normals=False)
            text = f"mtllib {name}.mtl\nusemtl paint\n" + text
            archive.writestr(f"models/{name}.obj", text)
            archive.writestr(f"models/{name}.mtl", f"newmtl paint\nKd {colour}\n")
    with zipfile.ZipFile(folder / "Unfree.sh3f", "w") as archive:
        archive.writestr(
            "PluginFurnitureCatalog.properties", PROPERTIES.replace("Public domain", "All rights reserved")
        )
    return tmp_path


def test_models_of_free_catalogues_are_read_with_names_and_creators(corpora: Path) -> None:
    models = list(furniture.catalogue(corpora))
    assert [(model.archive, model.noun) for model in models] == [("Tiny.sh3f", "chair"), ("Tiny.sh3f", "lamp")]
    assert models[0].names == {"en": "Oak chair", "ja": "椅子"}
    assert models[1].names["ja"] == "💡"
    assert furniture.creators(models) == {"Tiny.sh3f: Public domain": ["Ada", "Bob Brown"]}


def test_meshes_become_coloured_points_in_the_unit_ball_with_y_up(corpora: Path) -> None:
    found = furniture.load_furniture(corpora)
    assert found.points.shape == found.colours.shape == (2, furniture.POINTS, 3)
    assert np.linalg.norm(found.points, axis=2).max(axis=1) == pytest.approx([1, 1], abs=1e-3)
    for points in found.points:
        assert np.ptp(points, axis=0).argmax() == 1
    np.testing.assert_allclose(found.colours[0], [[1, 0, 0]] * furniture.POINTS, atol=0.01)
    np.testing.assert_allclose(found.colours[1], [[0, 1, 0]] * furniture.POINTS, atol=0.01)
    again = furniture.load_furniture(corpora)
    assert np.array_equal(again.points, found.points)
    assert np.array_equal(again.colours, found.colours)


@pytest.mark.parametrize("text", [b"no mesh at all", b"\x89PNG\r\n\x1a\n\x00\xff", b""])
def test_a_file_that_is_no_mesh_is_refused_by_name(text: bytes, tmp_path: Path) -> None:
    for ending in ("obj", "ply", "png"):
        path = tmp_path / f"thing.{ending}"
        path.write_bytes(text)
        with pytest.raises(ValueError, match=f"thing.{ending}: "):
            furniture.read_mesh(path)


def test_missing_packages_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no catalogues"):
        list(furniture.catalogue(tmp_path))


def shapes(corpora: Path) -> Shapes:
    return Shapes(furniture.load_furniture(corpora), scenes=300, each=2, seed=5)


def test_samples_follow_from_their_number_alone(corpora: Path) -> None:
    corpus, again = shapes(corpora), shapes(corpora)
    media = corpus.media(3, 9)
    assert media.shape == (6, 6, POINTS)
    assert media.abs().max() <= 1
    assert np.array_equal(again.media(5, 6)[0], media[2])
    assert corpus.captions(7) == again.captions(7)
    assert len(corpus.captions(7)) == 2
    assert set(corpus.concepts()) == set(SOLIDS) | {"chair", "lamp"}
    assert all(names["en"] for names in corpus.concepts().values())


@pytest.mark.parametrize("noun", sorted(SOLIDS))
def test_a_solid_is_mostly_in_the_asked_colour(noun: str, corpora: Path) -> None:
    for colour in ("purple", "green"):
        cloud = shapes(corpora).clouds([Shape(noun, None, colour, None)], [(1, 2)])[0]
        near = np.abs(cloud[3:].T / 2 + 0.5 - np.array(PALETTE[colour])).max(axis=1) < 0.08
        assert near.mean() > 0.4


def test_words_for_form_change_the_form(corpora: Path) -> None:
    corpus = shapes(corpora)

    def extent(form: str | None) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        return np.ptp(corpus.clouds([Shape("cylinder", None, "red", form)], [(1, 2)])[0][:3], axis=1)

    usual, tall, flat, small = extent(None), extent("tall"), extent("flat"), extent("small")
    assert tall[1] / tall[0] > 1.5 * usual[1] / usual[0] > 3 * flat[1] / flat[0]
    np.testing.assert_allclose(small, 0.55 * usual, rtol=0.1)


def test_a_repainted_mesh_takes_the_colour(corpora: Path) -> None:
    cloud = shapes(corpora).clouds([Shape("chair", 0, "blue", None)], [(1, 2)])[0]
    np.testing.assert_allclose(cloud[3:].mean(axis=1) / 2 + 0.5, PALETTE["blue"], atol=0.08)


def test_spread_points_are_farther_apart_than_drawn_ones() -> None:
    points = np.random.default_rng(0).random((2, 500, 3)).astype(np.float32)
    chosen = spread(points, 60)
    assert all(len(set(row)) == 60 for row in chosen)
    for cloud, row in zip(points, chosen, strict=True):
        gaps = [
            np.sort(np.linalg.norm(some[:, None] - some[None], axis=2), axis=1)[:, 1]
            for some in (cloud[row], cloud[:60])
        ]
        assert gaps[0].min() > 2 * gaps[1].min()


def test_captions_say_what_is_shown(corpora: Path) -> None:
    corpus = shapes(corpora)
    for index in range(300):
        shape = corpus.draw(index)
        for text in corpus.captions(index):
            said = {c for words in COLOUR_WORDS.values() for c, forms in words.items() if any(f in text for f in forms)}
            assert shape.colour is None or shape.colour in said or text == NOUNS[shape.noun].emoji


def test_the_word_lists_are_whole() -> None:
    for language in LANGUAGES:
        assert set(COLOUR_WORDS[language]) == set(COLOURS)
        assert set(FORM_WORDS[language]) == {"tall", "flat", "small"}
        assert all("{s}" in frame for frame in FRAMES[language])
        assert all(slot in subject for subject in SUBJECTS[language] for slot in ("{x}", "{c}", "{f}"))
    assert all(set(noun.names) == set(LANGUAGES) for noun in NOUNS.values())
    assert set(SOLIDS) | set(furniture.MODELS) == set(NOUNS)
