"""The prompts are new to the video model, and the measure sees what clips show."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from moving_sprite import DIRECTIONS, MovingSprites, Seen, direction_of, foreground, middles, reduced, slope_of
from PIL import Image, ImageDraw
from video_extrapolation import objects
from video_following import cut_change, luck, missed, outcomes, read_prompts, summary
from video_page import strips, to_bytes, wall

from modalities.training.corpora.motion_paraphrases import MOTION_PARAPHRASES
from modalities.training.corpora.motion_phrases import MOTION_PHRASES
from modalities.training.corpora.motions import FRAMES, draw_clip, path
from modalities.training.corpora.nearest_sprite import SpriteIndex
from modalities.training.corpora.sprite_motion import MOVING, STILL, SpriteMotion

CORPORA = Path(__file__).resolve().parents[2] / ".corpora"
TRAINING = CORPORA.parent / "workflows" / "train" / "video.yaml"
PROMPTS = read_prompts()


def drawn(shape: str, colour: str) -> Image.Image:
    picture = Image.new("RGBA", (128, 128))
    draw = ImageDraw.Draw(picture)
    {"ellipse": draw.ellipse, "box": draw.rectangle}[shape]((8, 8, 119, 119), fill=colour)
    draw.line((30, 30, 96, 96), fill="white", width=12)
    return picture


SPRITES = [drawn(shape, colour) for shape in ("ellipse", "box") for colour in ("brown", "teal", "navy")]


@pytest.fixture(scope="module")
def sprites() -> MovingSprites:
    """A measure that knows six made-up sprites."""
    measure = MovingSprites.__new__(MovingSprites)
    measure.names = [str(i) for i in range(len(SPRITES))]
    measure.index = SpriteIndex(np.stack([np.asarray(sprite) for sprite in SPRITES])[:, None])
    return measure


def clip(sprite: int, motion: str, background: tuple[int, int, int] = (255, 255, 255)) -> torch.Tensor:
    frames = draw_clip([SPRITES[sprite]], path(motion), background, (1.0, -0.5), 1.02)
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float() / 255


def plain(text: str) -> str:
    return re.sub(r"\W+", " ", unicodedata.normalize("NFKC", text).casefold()).strip()


def test_there_are_sixty_prompts_evenly_spread():
    assert len(PROMPTS) == 60
    assert min(Counter(prompt.language for prompt in PROMPTS).values()) >= 5
    assert set(Counter(prompt.language for prompt in PROMPTS)) == set(MOTION_PHRASES)
    counts = Counter(prompt.direction for prompt in PROMPTS)
    assert set(counts) == set(DIRECTIONS)
    assert min(counts.values()) >= 13
    assert {prompt.concept for prompt in PROMPTS} <= set(STILL)
    assert len({prompt.id for prompt in PROMPTS}) == len({prompt.text for prompt in PROMPTS}) == 60


def wordings(language: str, text: str) -> set[str]:
    """Every wording that captions have for a direction, with `{x}` for the subject, as far as `text` could have it."""
    found = {pattern for line in MOTION_PHRASES[language].motions.values() for pattern in line}
    more = MOTION_PARAPHRASES[language]
    verbs = [verb for verb in more.verbs if plain(verb) in text]
    ways = [way for line in more.ways.values() for way in line if plain(way) in text]
    free = {s.format(x="{x}", v=v, w=w) for s, v, w in product(set(more.sentences), verbs, ways)}
    return {frame.format(s=pattern) for frame, pattern in product({"{s}", *more.frames}, found | free)}


def test_no_prompt_is_worded_like_a_training_caption():
    for prompt in PROMPTS:
        text = plain(prompt.text)
        for pattern in wordings(prompt.language, text):
            # With the subject's place left open, no pattern may match the prompt from end to end.
            before, after = plain(pattern.replace("{x}", "OBJECT")).split("object")
            middle = text[len(before) : len(text) - len(after)]
            matches = text == before + middle + after and re.fullmatch(r"\w+( \w+)?", middle)
            assert not matches, f"{prompt.id} is worded as `{pattern}`"


def test_a_prompt_in_a_wording_of_the_captions_would_be_seen():
    assert any("{x} heads leftwards" in pattern for pattern in wordings("en", plain("My big robot heads leftwards")))


@pytest.mark.skipif(not (CORPORA / "cldr-annotations-full-48.2.0").is_dir(), reason="the corpora are not here")
def test_no_prompt_is_a_training_caption():
    data = yaml.safe_load(TRAINING.read_text(encoding="utf-8"))["data"]
    data.pop("workers")
    corpus = SpriteMotion(CORPORA, **data)
    captions = {plain(text) for i in range(0, len(corpus), 17) for text in corpus.captions(i)}
    assert not captions & {plain(prompt.text) for prompt in PROMPTS}


@pytest.mark.parametrize("background", [(255, 255, 255), (45, 95, 210)])
def test_the_measure_sees_direction_and_object(sprites: MovingSprites, background: tuple[int, int, int]):
    asked = [(i % 6, DIRECTIONS[i % 4]) for i in range(4)]
    seen = sprites.see(torch.stack([clip(sprite, motion, background) for sprite, motion in asked]))
    assert seen.direction == [motion for _, motion in asked]
    assert seen.concept == [str(sprite) for sprite, _ in asked]
    assert np.allclose(seen.slope.abs().amax(1), 2.5, atol=0.1)
    assert seen.path.shape == (4, FRAMES, 2)
    assert 0 < float(seen.change.min()) < float(seen.change.max()) < 30


def test_larger_clips_are_looked_at_as_small_ones(sprites: MovingSprites):
    small = clip(4, "up")[None]
    large = small.repeat_interleave(2, 3).repeat_interleave(2, 4)
    assert reduced(large).shape == small.shape
    assert sprites.see(large).direction == ["up"]
    assert sprites.see(large).concept == ["4"]


def test_what_does_not_move_or_is_not_there_is_said_to_be_so(sprites: MovingSprites):
    still = clip(0, "spin")[None]
    empty = torch.ones(1, 3, FRAMES, 64, 64)
    seen = sprites.see(torch.cat([still, empty]))
    assert seen.direction == ["still", "still"]
    assert seen.concept[1] == "nothing"
    assert bool(middles(foreground(empty[0])).isnan().all())
    assert slope_of(torch.full((FRAMES, 2), torch.nan)).tolist() == [0, 0]
    assert direction_of(torch.tensor([0.2, -0.3]), FRAMES) == "still"


def test_objects_are_counted():
    one = clip(0, "left")
    two = torch.cat([one, one], dim=3)
    assert objects(torch.stack([one])).tolist() == [1.0]
    assert objects(two[None]).tolist() == [2.0]


def test_shares_luck_cuts_and_misses():
    prompts = PROMPTS[:4]
    change = torch.tensor([[1.0, 2.0]]).repeat(4, 1)
    wrong = [prompts[0].direction, prompts[1].direction, "still", "still"]
    concepts = [prompt.concept for prompt in prompts[:3]] + [MOVING[0]]
    seen = Seen(torch.zeros(4, 3, 2), torch.zeros(4, 2), wrong, concepts, change)
    found = summary(outcomes(prompts, seen))
    assert (found["direction"], found["object"], found["both"]) == (0.5, 0.75, 0.5)
    assert (found["least_change"], found["largest_median"], found["largest_change"]) == (1.0, 1.0, 2.0)
    assert 0 <= luck(prompts, seen)["object"] < 0.2
    results = {"overall": found, "cut": 0.5}
    assert missed(results)[0] == "direction 50.0%, wanted 80%"
    assert len(missed(results)) == 2
    assert not missed({"overall": {**found, "direction": 0.8, "object": 0.6}, "cut": 2.5})
    assert cut_change(torch.stack([clip(0, "left"), clip(4, "left")])) > 5


def test_walls_and_strips_show_every_frame():
    clips = to_bytes(torch.stack([clip(i, "left") for i in range(3)]))
    assert wall(clips, [(0, 0, 0)] * 3, columns=2).shape == (FRAMES, 2 * 68, 2 * 68, 3)
    assert strips(list(clips)).size == (FRAMES * 64, 3 * 64)
