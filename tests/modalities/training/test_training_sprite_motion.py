"""Clips: the same numbers give the same bytes, objects go where captions say, and what is animated moves."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from modalities.training.corpora.animated import load_loop
from modalities.training.corpora.concepts import BACKGROUNDS, CONCEPTS
from modalities.training.corpora.motion_paraphrases import MOTION_PARAPHRASES, NAMED, WAYS
from modalities.training.corpora.motion_phrases import MOTION_ORDER, MOTION_PHRASES
from modalities.training.corpora.motions import FRAMES, MOTIONS, WEIGHTS, path
from modalities.training.corpora.packages import ANIMATED
from modalities.training.corpora.phrases import PHRASES
from modalities.training.corpora.sprite_motion import MOVING, STILL, Clip, SpriteMotion, draw, with_article

DIRECTIONS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}


@pytest.fixture(scope="module")
def corpus(corpora: Path) -> SpriteMotion:
    """Two still concepts, and one that moves by itself: a bar that gets longer."""
    assets = corpora / ANIMATED[1].stem / "assets"
    assets.mkdir(parents=True, exist_ok=True)
    frames = [Image.new("RGBA", (32, 32)) for _ in range(24)]
    for i, frame in enumerate(frames):
        frame.paste((200, 0, 0, 255), (0, 0, 8 + i, 32))
    frames[0].save(assets / "1f319-fe0f.webp", save_all=True, append_images=frames[1:], lossless=True)
    Image.new("RGBA", (32, 32), "red").save(assets / "1f697.webp")
    return SpriteMotion(corpora, scenes=40, captions=3, seed=1, jitter=1.0, still=("🐕", "🐈"), moving=("🌙",))


def middles(frames: np.ndarray) -> np.ndarray:
    """The centroid (right, down) of what is not background in each frame."""
    off = np.abs(frames.astype(float) - 255).sum(-1)
    row, column = np.mgrid[: frames.shape[1], : frames.shape[2]]
    return np.stack([(off * column).sum((1, 2)), (off * row).sum((1, 2))], 1) / off.sum((1, 2))[:, None]


@pytest.mark.parametrize("motion", DIRECTIONS)
def test_an_object_goes_its_way_and_stays_in_the_picture(corpus: SpriteMotion, motion: str) -> None:
    frames = corpus.frames(Clip("🐕", motion), 0)
    steps = np.diff(middles(frames), axis=0)
    assert np.allclose(steps, 2.5 * np.array(DIRECTIONS[motion]), atol=0.35)
    edges = np.concatenate([frames[:, [0, -1]].reshape(-1, 3), frames[:, :, [0, -1]].reshape(-1, 3)])
    assert (edges == 255).all()


@pytest.mark.parametrize("motion", MOTIONS)
def test_every_motion_moves_smoothly(corpus: SpriteMotion, motion: str) -> None:
    frames = corpus.frames(Clip("🐈", motion), 3).astype(float)
    changes = np.abs(np.diff(frames, axis=0)).mean((1, 2, 3))
    turning = motion in ("spin", "spin-back", "swing")  # the test's sprite is a disc
    assert changes.max() < 40
    assert changes.min() > (0 if not turning else -1)
    assert len(path(motion, 30)) == 30


def test_clips_follow_from_seed_and_index(corpus: SpriteMotion) -> None:
    media = corpus.media(0, 10)
    assert media.shape == (10, 3, FRAMES, 64, 64)
    assert media.dtype == torch.float32
    assert -1 <= float(media.min()) < float(media.max()) <= 1
    assert torch.equal(corpus.media(7, 10), media[7:])
    assert [corpus.clip(i) for i in range(9)] == [corpus.clip(i) for i in range(9)]
    assert corpus.captions(4) == corpus.captions(4)
    assert len(corpus) == 40


def test_draws_reach_everything_and_never_hide_the_object() -> None:
    clips = [draw(3, i) for i in range(4000)]
    assert {clip.concept for clip in clips} == {*STILL, *MOVING}
    assert {clip.motion for clip in clips} == {*MOTIONS, None}
    assert all((clip.motion is None) == (clip.concept in MOVING) for clip in clips)
    assert all(clip.tint != clip.background for clip in clips)
    assert set(STILL) <= set(CONCEPTS)
    assert not set(STILL) & set(MOVING)


def test_a_caption_says_what_the_clip_shows(corpus: SpriteMotion) -> None:
    seen = set()
    for i in range(200):
        clip = corpus.clip(i)
        for text in corpus.captions(i):
            seen.add(text)
            if clip.background != "white":
                assert any(PHRASES[language].colours[clip.background] in text for language in MOTION_PHRASES)
            if clip.motion in DIRECTIONS:
                ends = [p for words in MOTION_PHRASES.values() for p in words.motions[clip.motion]]
                ends += [way for words in MOTION_PARAPHRASES.values() for way in words.ways[clip.motion]]
                assert any(end.replace("{x}", "").strip().casefold() in text.casefold() for end in ends)
    assert len(seen) > 300


def test_every_language_words_every_motion() -> None:
    assert tuple(MOTIONS) == tuple(WEIGHTS) == MOTION_ORDER
    assert set(MOTION_PHRASES) <= set(PHRASES)
    for language, words in MOTION_PHRASES.items():
        patterns = [pattern for line in words.motions.values() for pattern in line]
        assert all(pattern.count("{x}") == 1 for pattern in (*patterns, *words.animated, *words.subjects)), language
        assert len(set(patterns)) == len(patterns), f"{language} says two motions alike"


def test_every_language_has_freer_wordings_whose_ways_say_one_direction() -> None:
    assert tuple(MOTION_PARAPHRASES) == tuple(MOTION_PHRASES)
    for language, words in MOTION_PARAPHRASES.items():
        ways = [way for line in words.ways.values() for way in line]
        assert tuple(words.ways) == WAYS
        assert len(set(ways)) == len(ways), f"{language} says two directions alike"
        assert all(set(re.findall(r"{(.)}", one)) == {"x", "v", "w"} for one in words.sentences), language
        assert all(one.count("{x}") == 1 for one in words.subjects), language
        assert all(one.count("{s}") == 1 for one in words.frames), language
        assert len(words.verbs) >= 11
        assert set(words.names) <= set(NAMED) <= {*STILL, *MOVING}


@pytest.mark.parametrize(
    ("language", "pattern", "word", "found"),
    [
        ("en", "a {x}", "elephant", "an elephant"),
        ("en", "that {x}", "apple", "that apple"),
        ("fr", "le {x}", "éléphant", "l’éléphant"),
        ("it", "la {x}", "auto", "l’auto"),
        ("es", "la {x}", "estrella", "la estrella"),
        ("ar", "ال{x}", "قطة", "القطة"),
        ("ar", "ال{x}", "كرة قدم", "كرة قدم"),
        ("ar", "هذا ال{x}", "🐈", "هذا 🐈"),
    ],
)
def test_articles_suit_the_word(language: str, pattern: str, word: str, found: str) -> None:
    assert with_article(pattern, word, language) == found


def test_what_is_animated_moves_and_is_cut_evenly(corpus: SpriteMotion, corpora: Path) -> None:
    loop = load_loop(corpora, "🌙", FRAMES)
    widths = [int((np.asarray(frame)[64, :, 3] > 128).sum()) for frame in loop]
    assert all(0 < after - before < 12 for before, after in pairwise(widths))
    frames = corpus.frames(Clip("🌙", None, "blue"), 0, 24)
    assert len(frames) == 24
    assert tuple(frames[0, 0, 0]) == BACKGROUNDS["blue"]
    with pytest.raises(ValueError, match="one frame only"):
        load_loop(corpora, "🚗", FRAMES)
    with pytest.raises(FileNotFoundError, match="no animation of"):
        load_loop(corpora, "🐊", FRAMES)


def test_concepts_are_named_in_every_language_of_the_captions(corpus: SpriteMotion) -> None:
    concepts = corpus.concepts()
    assert list(concepts) == ["🐕", "🐈", "🌙"]
    assert all(set(names) == set(MOTION_PHRASES) for names in concepts.values())
    assert corpus.concept_facts()["motions"] == list(MOTIONS)


def test_an_empty_corpus_is_refused(corpora: Path) -> None:
    with pytest.raises(ValueError, match="needs scenes and captions"):
        SpriteMotion(corpora, scenes=0)
