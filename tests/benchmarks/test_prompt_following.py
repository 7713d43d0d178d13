"""The prompts are new to the model, and the measure recognises what it is shown."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from prompt_following import held_captions, luck, missed, outcomes, read_prompts, summary

from modalities.training.corpora.captions import caption, free_caption
from modalities.training.corpora.compose import Scene, compose, draw_scene
from modalities.training.corpora.concepts import BACKGROUNDS, CONCEPTS, STYLES
from modalities.training.corpora.names import load_names
from modalities.training.corpora.nearest_sprite import (
    Nearest,
    SpriteIndex,
    border_colour,
    composite,
    lab,
    nearest_colour,
)
from modalities.training.corpora.paraphrases import PARAPHRASES
from modalities.training.corpora.phrases import PHRASES

CORPORA = Path(__file__).resolve().parents[2] / ".corpora"
PROMPTS = read_prompts()


def drawn(shape: str, colour: str, outline: str) -> np.ndarray:
    """A sprite of 128 x 128: one shape in one colour, with a hole so that it is not a blob."""
    picture = Image.new("RGBA", (128, 128))
    draw = ImageDraw.Draw(picture)
    {"ellipse": draw.ellipse, "box": draw.rectangle}.get(shape, draw.rectangle)((6, 6, 121, 121), fill=colour)
    if shape == "cross":
        for corner in ((6, 6), (80, 6), (6, 80), (80, 80)):
            draw.rectangle((*corner, corner[0] + 41, corner[1] + 41), fill=(0, 0, 0, 0))
    draw.line((30, 30, 96, 96), fill=outline, width=10)
    return np.asarray(picture)


@pytest.fixture(scope="module")
def sprites() -> np.ndarray:
    shapes = [("ellipse", "gold"), ("box", "teal"), ("cross", "brown"), ("ellipse", "navy"), ("cross", "silver")]
    return np.stack([[drawn(shape, colour, line) for line in ("white", "black")] for shape, colour in shapes])


@pytest.fixture(scope="module")
def index(sprites) -> SpriteIndex:
    return SpriteIndex(sprites)


def as_pictures(arrays) -> torch.Tensor:
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 255


def test_there_are_enough_prompts_in_every_language():
    assert len(PROMPTS) >= 200
    counts = Counter(prompt.language for prompt in PROMPTS)
    assert set(counts) == {"en", "fr", "es", "de", "ja", "zh", "ru", "ar", "emoji"}
    assert min(counts.values()) >= 22
    assert len({prompt.id for prompt in PROMPTS}) == len({prompt.text for prompt in PROMPTS}) == len(PROMPTS)


def test_prompts_ask_for_what_the_model_knows():
    assert {prompt.concept for prompt in PROMPTS} <= set(CONCEPTS)
    assert {prompt.background for prompt in PROMPTS} - {None} == set(BACKGROUNDS)
    assert {prompt.style for prompt in PROMPTS} - {None} == set(STYLES)
    assert {prompt.count for prompt in PROMPTS} == {1, 2, 3}


def bare(text: str) -> str:
    """Small letters and single spaces; of punctuation only slashes stay, because the rest makes no new wording."""
    kept = (c if c == "/" or unicodedata.category(c)[0] != "P" else " " for c in text.casefold())
    return " ".join("".join(kept).split())


def background_patterns() -> list[re.Pattern[str]]:
    """Whatever its object is called, a training caption that says a background is one of these."""
    worded = [(p.backgrounds, (p.colours,)) for p in PHRASES.values()]
    worded += [(p.backgrounds, (p.colours, PHRASES[name].colours)) for name, p in PARAPHRASES.items()]
    found = []
    for patterns, tables in worded:
        for pattern in patterns:
            words = {word for table in tables for word in table.values()}
            choice = "(?:" + "|".join(re.escape(bare(word)) for word in words) + ")"
            slots = bare(re.sub(r"\{(\w)\}", r"<\1>", pattern))
            pieces = re.split(r"(<\w>)", slots)
            found.append("".join({"<s>": ".+", "<b>": choice, "<c>": choice}.get(p, re.escape(p)) for p in pieces))
    return [re.compile(expression) for expression in found]


def test_no_prompt_is_worded_as_training_words_a_background():
    patterns = background_patterns()
    assert any(pattern.fullmatch(bare("a dog, BLUE background")) for pattern in patterns)
    assert any(pattern.fullmatch(bare("пингвин. Цвет фона: жёлтый")) for pattern in patterns)
    for prompt in PROMPTS:
        if prompt.background is not None:
            assert not any(pattern.fullmatch(bare(prompt.text)) for pattern in patterns), prompt


def test_prompts_without_a_background_are_no_training_frames():
    frames = {bare(frame.replace("{x}", "x")) for phrases in PHRASES.values() for frame in phrases.frames}
    frames |= {bare(frame.replace("{x}", "x")) for free in PARAPHRASES.values() for frame in free.frames}
    for prompt in PROMPTS:
        if prompt.background is None:
            assert bare(prompt.text.replace(prompt.concept, "x")) not in frames, prompt


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not fetched")
def test_no_prompt_is_drawn_as_a_training_caption():
    names = load_names(CORPORA)
    worded = [
        make(draw_scene(23, i, len(CONCEPTS)), names, 23, i, 0) for i in range(8000) for make in (caption, free_caption)
    ]
    assert not {bare(text) for text in worded} & {bare(prompt.text) for prompt in PROMPTS}


@pytest.mark.skipif(not CORPORA.is_dir(), reason="the corpora are not fetched")
def test_held_captions_are_none_of_the_benchmark_and_miss_no_background():
    held = held_captions(40, CORPORA)
    assert held == held_captions(40, CORPORA)
    assert not {bare(prompt.text) for prompt in held} & {bare(prompt.text) for prompt in PROMPTS}
    overall = summary(outcomes(held, Nearest(*(torch.zeros(40, dtype=torch.long) for _ in fields(Nearest)))))
    wanted = {"concept": 0.0, "language": 0.0, "background": 1.0}
    assert missed({"overall": overall, "languages": {}, "thresholds": wanted}) == []


@pytest.mark.parametrize("count", [1, 2, 3])
def test_every_composed_picture_is_recognised(index, sprites, count):
    colours = list(BACKGROUNDS)
    asked = [(concept, style, (3 * concept + style) % len(colours)) for concept in range(5) for style in range(2)]
    scenes = [Scene(concept, STYLES[style], colours[colour], count) for concept, style, colour in asked]
    found = index.nearest(as_pictures([compose(scene, sprites, seed=1, index=i) for i, scene in enumerate(scenes)]))
    assert list(zip(found.concept.tolist(), found.style.tolist(), found.colour.tolist(), strict=True)) == asked
    assert found.count.tolist() == [count] * len(asked)
    assert (found.margin > 0).all()


def test_distance_is_the_pixel_difference_to_the_composite(index, sprites):
    exact = composite(sprites[2, 0], BACKGROUNDS["blue"])
    found = index.nearest(as_pictures([exact]))
    assert float(found.distance) < 3e-3  # what rounding to bytes leaves
    changed = exact.copy()
    changed[20:30, 20:30] = 255 - changed[20:30, 20:30]
    difference = (changed.astype(float) - exact) / 255
    expected = float(np.sqrt((difference**2).mean()))
    assert abs(float(index.nearest(as_pictures([changed])).distance) - expected) < 5e-3


def test_noise_and_blur_do_not_change_the_answer(index, sprites):
    pictures = as_pictures([composite(sprites[concept, 1], BACKGROUNDS["white"]) for concept in range(5)])
    noisy = pictures + 0.1 * torch.randn(pictures.shape, generator=torch.Generator().manual_seed(0))
    blurred = torch.nn.functional.avg_pool2d(pictures, 5, 1, 2, count_include_pad=False)
    for shown in (noisy.clamp(0, 1), blurred):
        assert index.nearest(shown).concept.tolist() == [0, 1, 2, 3, 4]


def test_a_picture_is_looked_up_by_itself(index, sprites):
    pictures = as_pictures([composite(sprites[i % 5, 0], BACKGROUNDS["red"]) for i in range(11)])
    together = index.nearest(pictures)
    alone = index.nearest(pictures[9:10])
    assert together.concept[9] == alone.concept[0]
    torch.testing.assert_close(together.distance[9:10], alone.distance, rtol=0, atol=1e-5)


def test_named_colours_are_their_own_nearest():
    named = torch.tensor(list(BACKGROUNDS.values())).float() / 255
    assert nearest_colour(named).tolist() == list(range(len(BACKGROUNDS)))


def test_lab_of_known_colours():
    known = lab(torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]))
    expected = torch.tensor([[100.0, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])
    torch.testing.assert_close(known, expected, rtol=0, atol=0.05)


def test_border_colour_ignores_the_middle():
    picture = torch.full((1, 3, 64, 64), 0.25)
    picture[:, :, 4:-4, 4:-4] = 1.0
    torch.testing.assert_close(border_colour(picture), torch.full((1, 3), 0.25))


def perfect() -> Nearest:
    """The outcomes of a model that shows exactly what is asked."""
    colours = list(BACKGROUNDS)
    return Nearest(
        concept=torch.tensor([CONCEPTS.index(p.concept) for p in PROMPTS]),
        style=torch.tensor([STYLES.index(p.style or "3d") for p in PROMPTS]),
        count=torch.tensor([p.count for p in PROMPTS]),
        distance=torch.zeros(len(PROMPTS)),
        margin=torch.ones(len(PROMPTS)),
        background=torch.zeros(len(PROMPTS), 3),
        colour=torch.tensor([colours.index(p.background or "white") for p in PROMPTS]),
    )


def test_shares_and_thresholds():
    found = perfect()
    rows = outcomes(PROMPTS, found)
    total = summary(rows)
    assert total["concept"] == total["background"] == total["count"] == total["style"] == total["all"] == 1.0
    results = {"overall": total, "languages": {"ja": total}}
    assert missed(results) == []
    results["languages"]["ja"] = {**total, "concept": 0.4}
    assert missed(results) == ["concept 40.0% in ja, wanted 50%"]


def test_luck_of_a_perfect_model_is_the_share_of_equal_concepts():
    assert luck(PROMPTS, perfect()) < 0.01
