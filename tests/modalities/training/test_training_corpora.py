"""Scenes, pictures and captions: the same numbers give the same bytes, and a picture shows what its caption says."""

from __future__ import annotations

import hashlib
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from modalities.training.corpora.captions import caption, free_caption, plural, templates
from modalities.training.corpora.compose import PICTURE, Scene, SceneMix, compose, draw_scene, dye, to_media
from modalities.training.corpora.concepts import BACKGROUNDS, CONCEPTS, TINTS
from modalities.training.corpora.names import Names, load_names
from modalities.training.corpora.packages import fetch, unpack
from modalities.training.corpora.paraphrases import PARAPHRASES
from modalities.training.corpora.phrases import LANGUAGES, PHRASES
from modalities.training.corpora.sprites import SIDE, Sprites, load_sprites


def blobs(picture: np.ndarray, background: tuple[int, int, int]) -> int:
    """Number of connected regions that are not background."""
    left = {(int(r), int(c)) for r, c in np.argwhere(np.abs(picture.astype(int) - background).sum(-1) > 60)}
    found = 0
    while left:
        found += 1
        open_cells = [left.pop()]
        while open_cells:
            row, column = open_cells.pop()
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                if near in left:
                    left.remove(near)
                    open_cells.append(near)
    return found


def test_scenes_follow_from_seed_and_index() -> None:
    scenes = [draw_scene(3, i, 128) for i in range(400)]
    assert scenes == [draw_scene(3, i, 128) for i in range(400)]
    assert scenes != [draw_scene(4, i, 128) for i in range(400)]
    assert [scene.concept for scene in scenes[:129]] == [*range(128), 0], "concepts take turns"
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert {scene.count for scene in scenes} == {1, 2, 3}
    assert all(scene.tint != scene.background for scene in scenes)


def test_what_a_caption_is_silent_about_has_its_default() -> None:
    silent = [draw_scene(3, i, 128, SceneMix(background=0, style=0, tint=0, two=0, three=0)) for i in range(600)]
    assert 0.92 < np.mean([scene.background == "white" for scene in silent]) < 0.99
    assert 0.80 < np.mean([scene.style == "3d" for scene in silent]) < 0.90


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("background", ["white", "blue"])
def test_a_picture_shows_its_scene(sprites: Sprites, count: int, background: str) -> None:
    scene = Scene(0, "3d", background, count)
    pictures = [compose(scene, sprites, 1, i) for i in range(8)]
    for picture in pictures:
        assert picture.shape == (PICTURE, PICTURE, 3)
        assert blobs(picture, BACKGROUNDS[background]) == count
        for corner in (picture[0, 0], picture[0, -1], picture[-1, 0], picture[-1, -1]):
            assert tuple(corner) == BACKGROUNDS[background]
    assert len({picture.tobytes() for picture in pictures}) > 4, "places and sizes vary"
    assert compose(scene, sprites, 1, 5).tobytes() == pictures[5].tobytes()


def test_without_jitter_all_pictures_of_a_scene_are_one(sprites: Sprites) -> None:
    assert len({compose(Scene(1), sprites, 1, i, jitter=0).tobytes() for i in range(5)}) == 1


def test_a_dyed_object_has_the_asked_hue_and_its_own_outline(sprites: Sprites) -> None:
    dyed = dye(sprites[0, 0], TINTS["blue"])
    assert (dyed[..., 3] == sprites[0, 0, ..., 3]).all()
    inside = dyed[SIDE // 2, SIDE // 2, :3].astype(int)
    assert inside[2] > inside[0] + 50
    assert inside.max() == sprites[0, 0, SIDE // 2, SIDE // 2, :3].max(), "brightness is kept"


def test_media_lie_between_minus_one_and_one() -> None:
    media = to_media(np.asarray([[[[0, 127, 255]]]], dtype=np.uint8))
    assert media.shape == (1, 3, 1, 1)
    assert media.ravel() == pytest.approx([-1, -0.0039, 1], abs=1e-4)


@pytest.fixture(scope="module")
def names(corpora: Path) -> Names:
    return load_names(corpora)


def test_names_put_everyday_words_first_and_drop_keywords_that_many_share(names: Names) -> None:
    assert set(names.names) == set(LANGUAGES)
    assert names.names["en"][CONCEPTS.index("☕")][0] == "cup of coffee"
    assert names.names["ru"][CONCEPTS.index("🦁")][0] == "лев"
    assert names.names["th"][5] == ("th 5",)
    assert names.keywords["fr"][7] == ("word 7",)


def test_captions_say_what_they_should_in_every_language(names: Names) -> None:
    scene = Scene(3, "flat", "green", 1, None, says_style=True, says_background=True)
    found = [caption(scene, names, 9, i, 0) for i in range(600)]
    assert found == [caption(scene, names, 9, i, 0) for i in range(600)]
    assert not any(sign in text for text in found for sign in "{}")
    for language in LANGUAGES:
        colour = PHRASES[language].colours["green"]
        said = [text for text in found if f"{language} 3" in text]
        assert said, language
        assert all(colour in text for text in said), language
    assert any(CONCEPTS[3] in text for text in found)
    silent = replace(scene, says_style=False, says_background=False)
    assert not any("green" in caption(silent, names, 9, i, 0) for i in range(200))


def test_free_captions_say_the_same_in_other_words(names: Names) -> None:
    scene = Scene(3, "3d", "blue", 1, None, says_background=True)
    found = [free_caption(scene, names, 9, i, 0) for i in range(600)]
    assert found == [free_caption(scene, names, 9, i, 0) for i in range(600)]
    assert len(set(found)) > 450
    for language in LANGUAGES:
        said = [text for text in found if f"{language} 3" in text]
        colours = {PHRASES[language].colours["blue"], PARAPHRASES[language].colours["blue"]}
        assert said, language
        assert all(any(colour in text for colour in colours) for text in said), language
    assert not any(sign in text for text in found for sign in "{}|")


def test_captions_of_several_objects_name_the_number(names: Names) -> None:
    emoji = {caption(Scene(2, count=3), names, 1, i, 0) for i in range(300)}
    assert CONCEPTS[2] * 3 in emoji
    assert any(text.startswith(("three ", "3 ")) for text in emoji)


def test_every_language_has_the_same_slots() -> None:
    for language, phrases in PHRASES.items():
        assert list(phrases.colours) == list(BACKGROUNDS), language
        assert all("{x}" in p for p in (*phrases.frames, *phrases.two, *phrases.three)), language
        assert all("{x}" in p and "{c}" in p for p in phrases.tints), language
        assert all("{s}" in p and "{c}" in p for p in phrases.backgrounds), language
        assert all("{s}" in p for p in (*phrases.three_d, *phrases.flat)), language
        assert phrases.backgrounds[0] in templates()
        free = PARAPHRASES[language]
        assert list(free.colours) == list(BACKGROUNDS), language
        assert all("{x}" in p for p in free.frames), language
        assert all("{s}" in p and ("{b}" in p or "{c}" in p) for p in free.backgrounds), language
        assert free.backgrounds[0] in templates()


PLURALS = {
    "dog": "dogs",
    "strawberry": "strawberries",
    "bus": "buses",
    "cup of coffee": "cups of coffee",
    "grapes": "grapes",
    "cherries": "cherries",
    "key": "keys",
    "torch": "torches",
    "fox": "foxes",
}


@pytest.mark.parametrize(("one", "many"), PLURALS.items())
def test_english_plurals(one: str, many: str) -> None:
    assert plural(one) == many


def test_sprites_are_read_in_both_styles_and_both_spellings(corpora: Path) -> None:
    sprites = load_sprites(corpora, CONCEPTS[:6])
    assert sprites.shape == (6, 2, SIDE, SIDE, 4)
    assert sprites[0, 0, SIDE // 2, SIDE // 2, 3] == 255
    assert sprites[3, 1, 0, 0, 3] == 0
    with pytest.raises(FileNotFoundError, match="fetch the packages first"):
        load_sprites(corpora, ["🧿"])


def test_a_tarball_is_unpacked_only_with_its_pinned_hash(tmp_path: Path, corpora: Path) -> None:
    inside = tmp_path / "package" / "hello.txt"
    inside.parent.mkdir()
    inside.write_text("hello")
    tarball = tmp_path / "thing-1.0.tgz"
    with tarfile.open(tarball, "w:gz") as archive:
        archive.add(inside.parent, "package")
    with pytest.raises(ValueError, match="is pinned"):
        unpack(tarball, tmp_path / "thing", "0" * 64)
    unpack(tarball, tmp_path / "thing", hashlib.sha256(tarball.read_bytes()).hexdigest())
    assert (tmp_path / "thing" / "hello.txt").read_text() == "hello"
    fetch(corpora)
