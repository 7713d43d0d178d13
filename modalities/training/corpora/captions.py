"""Captions of a scene in 16 languages and in emoji. Everything follows from (seed, index, number)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modalities.training.corpora.compose import Scene
from modalities.training.corpora.concepts import CONCEPTS
from modalities.training.corpora.names import Names
from modalities.training.corpora.paraphrases import PARAPHRASES
from modalities.training.corpora.phrases import LANGUAGES, PHRASES, Phrases

EMOJI_SHARE = 0.12
ENGLISH_SHARE = 0.18
KEYWORD_SHARE = 0.08
FREE_SHARE = 0.75
"""Captions with a freer wording, where they are asked for."""


def free_caption(scene: Scene, names: Names, seed: int, index: int, number: int) -> str:
    """One caption of a scene, mostly in the freer wordings of `paraphrases.py`. It says what `caption` says."""
    rng = np.random.default_rng((seed, index, 3, number))
    languages = [language for language in LANGUAGES if language in names.names]
    language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(languages))
    phrases, free = PHRASES[language], PARAPHRASES[language]
    if rng.random() < EMOJI_SHARE:
        text = CONCEPTS[scene.concept] * scene.count
    else:
        word = str(rng.choice(list(names.names[language][scene.concept])))
        if scene.count > 1 or scene.tint is not None or rng.random() > FREE_SHARE:
            text = _subject(word, scene, language, rng)
        else:
            text = _article(str(rng.choice(list(free.frames))), word, language).format(x=word)
    if scene.says_style:
        text = str(rng.choice(list(phrases.three_d if scene.style == "3d" else phrases.flat))).format(s=text)
    if scene.says_background:
        patterns = free.backgrounds if rng.random() < FREE_SHARE else phrases.backgrounds
        colours = {"c": phrases.colours[scene.background], "b": free.colours[scene.background]}
        text = str(rng.choice(list(patterns))).format(s=text, **colours)
    return text


def caption(scene: Scene, names: Names, seed: int, index: int, number: int, concepts: Sequence[str] = CONCEPTS) -> str:
    """One caption of a scene. It says what the scene's `says_...` demand, the count and the tint, and nothing else."""
    rng = np.random.default_rng((seed, index, 2, number))
    languages = [language for language in LANGUAGES if language in names.names]
    language = "en" if rng.random() < ENGLISH_SHARE else str(rng.choice(languages))
    phrases = PHRASES[language]
    if rng.random() < EMOJI_SHARE:
        return _add(concepts[scene.concept] * scene.count, scene, phrases, rng)
    word = str(rng.choice(list(names.names[language][scene.concept])))
    keywords = names.keywords[language][scene.concept]
    if keywords and rng.random() < KEYWORD_SHARE:
        word = str(rng.choice(list(keywords)))
    return _add(_subject(word, scene, language, rng), scene, phrases, rng)


def templates() -> frozenset[str]:
    """Every pattern of the training captions, so that a benchmark can show that its prompts use none of them."""
    found: set[str] = set()
    for phrases in PHRASES.values():
        for group in ("frames", "two", "three", "tints", "backgrounds", "three_d", "flat"):
            found.update(getattr(phrases, group))
    for free in PARAPHRASES.values():
        found.update((*free.frames, *free.backgrounds))
    return frozenset(found)


def plural(name: str) -> str:
    """The English plural of a name's last word, or of the word before "of"."""
    head, of, rest = name.partition(" of ")
    if head.endswith("s") and not head.endswith(("ss", "us")):
        many = head
    elif head.endswith(("ss", "us", "sh", "ch", "x")):
        many = head + "es"
    elif head.endswith("y") and head[-2:-1] not in "aeou":
        many = head[:-1] + "ies"
    else:
        many = head + "s"
    return many + of + rest


def _subject(word: str, scene: Scene, language: str, rng: np.random.Generator) -> str:
    phrases = PHRASES[language]
    if scene.tint is not None:
        pattern = str(rng.choice(list(phrases.tints)))
        word = pattern.format(x=word, c=phrases.colours[scene.tint])
    if scene.count == 1:
        pattern = str(rng.choice(list(phrases.frames)))
        return _article(pattern, word, language).format(x=word)
    pattern = str(rng.choice(list(phrases.two if scene.count == 2 else phrases.three)))
    return pattern.format(x=plural(word) if language == "en" else word)


def _article(pattern: str, word: str, language: str) -> str:
    vowel = language == "en" and word[:1].lower() in "aeiou"
    return f" {pattern}".replace(" a {x}", " an {x}")[1:] if vowel else pattern


def _add(text: str, scene: Scene, phrases: Phrases, rng: np.random.Generator) -> str:
    if scene.says_style:
        text = str(rng.choice(list(phrases.three_d if scene.style == "3d" else phrases.flat))).format(s=text)
    if scene.says_background:
        pattern = str(rng.choice(list(phrases.backgrounds)))
        text = pattern.format(s=text, c=phrases.colours[scene.background])
    return text
