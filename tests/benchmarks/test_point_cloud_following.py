"""The point-cloud benchmark: its measure, and that its prompts are no training captions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nearest_shape import ShapeIndex, chamfer, colour_shares, has_colour
from point_cloud_following import luck, oracle, read_prompts, score

from modalities.training.corpora.furniture import MODELS, Furniture
from modalities.training.corpora.shape_words import COLOUR_WORDS, FORM_WORDS, FRAMES, LANGUAGES, NOUNS, SUBJECTS
from modalities.training.corpora.shapes import PALETTE, Shape, Shapes
from modalities.training.corpora.solids import SOLIDS


def solids() -> Shapes:
    """The corpus without the furniture packages."""
    nothing = np.zeros((0, 4096, 3), dtype=np.float32)
    return Shapes(Furniture([], nothing, nothing), scenes=10, each=1, seed=3)


def normalised(text: str) -> str:
    return " ".join("".join(c if c.isalnum() else " " for c in text.lower()).split())


def test_the_prompts_are_eighty_in_ten_languages_and_ask_for_what_is_known() -> None:
    prompts = read_prompts()
    assert len(prompts) == len({prompt.id for prompt in prompts}) == 80
    assert {prompt.language for prompt in prompts} == set(LANGUAGES)
    assert all(prompt.noun in NOUNS for prompt in prompts)
    assert len({prompt.noun for prompt in prompts}) > 45
    assert {prompt.colour for prompt in prompts} == {None, *PALETTE}


def captions_like(text: str, noun: str, language: str, colours: list[str]) -> set[str]:
    """All captions of a noun that are made of words that `text` has: a frame around name, colour and form."""

    def found(words: list[str]) -> list[str]:
        return [word for word in words if normalised(word) in text]

    forms = found([word for words in FORM_WORDS[language].values() for word in words])
    return {
        normalised(frame.format(s=subject.format(x=name, c=colour, f=form)))
        for frame in FRAMES[language]
        for subject in SUBJECTS[language]
        for name in found(NOUNS[noun].names[language])
        for colour in found(colours)
        for form in ["", *forms]
    }


def test_no_prompt_is_a_caption() -> None:
    for prompt in read_prompts():
        words, text = COLOUR_WORDS[prompt.language].values(), normalised(prompt.text)
        colours = [form for forms in words for form in forms] if prompt.colour else [""]
        assert text not in captions_like(text, prompt.noun, prompt.language, colours)
        assert text not in {normalised(name) for name in MODELS}


def test_a_caption_is_found_among_the_captions_like_it() -> None:
    colour = COLOUR_WORDS["en"]["red"]
    for frame in FRAMES["en"]:
        text = normalised(frame.format(s=SUBJECTS["en"][0].format(x=NOUNS["chair"].names["en"][0], c=colour[0], f="")))
        assert text in captions_like(text, "chair", "en", list(colour))


def test_chamfer_is_the_mean_distance_to_the_other_set() -> None:
    first = torch.tensor([[[0.0, 0, 0], [1, 0, 0]]])
    second = torch.tensor([[[0.0, 0, 0], [0, 0, 2], [1, 0, 0]]])
    assert float(chamfer(first, second)) == pytest.approx((0 + 2 / 3) / 2)
    assert float(chamfer(second, second)) == 0


def test_colours_are_counted_by_points() -> None:
    cloud = torch.zeros(6, 10)
    cloud[3:] = torch.tensor(PALETTE["red"])[:, None] * 2 - 1
    cloud[3:, :4] = torch.tensor(PALETTE["blue"])[:, None] * 2 - 1
    assert colour_shares(cloud)["red"] == pytest.approx(0.6)
    assert has_colour(cloud, "red")
    assert has_colour(cloud, "blue")
    assert not has_colour(cloud, "green")


def test_a_perfect_model_scores_high_and_luck_low() -> None:
    corpus = solids()
    index = ShapeIndex.of(corpus, seed=1)
    prompts = [prompt for prompt in read_prompts() if prompt.noun in SOLIDS][::4]
    best = oracle(corpus, prompts, index)
    assert best["noun"] > 0.9
    assert best["colour"] > 0.9
    clouds = corpus.clouds(
        [Shape(p.noun, None, p.colour, None) for p in prompts], [(8, i) for i in range(len(prompts))]
    )
    chance = luck(torch.from_numpy(np.ascontiguousarray(clouds)), prompts, index)
    assert chance["noun"] < 0.15
    assert chance["colour"] < 0.3
    nouns, colours = score(torch.zeros(len(prompts), 6, 256), prompts, index)
    assert np.mean(nouns) < 0.2
    assert np.mean(colours) < 0.3
