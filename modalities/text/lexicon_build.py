"""Builds the lexicon of languages that the built-in encoder lacks, from the names and keywords of CLDR alone.

A name of an emoji translates to its English name. A keyword, or a word of names, translates to the English term that
marks most nearly the same emoji: both are sets of emoji, compared by Dice's coefficient 2 |A and B| / (|A| + |B|).
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping

from modalities.text.cldr import Annotation
from modalities.text.lexicon import Lexicon, normal_form, words_of

LEXICON_LANGUAGES = (
    "hi",
    "bn",
    "ur",
    "vi",
    "fa",
    "sw",
    "mr",
    "te",
    "ta",
    "uk",
    "pa",
    "gu",
    "kn",
    "ml",
    "ro",
    "el",
    "hu",
    "cs",
    "sv",
    "he",
    "da",
    "fi",
    "no",
    "bg",
    "sr",
    "hr",
    "sk",
    "sl",
    "sr-Latn",
    "lt",
    "lv",
    "et",
    "ca",
    "gl",
    "eu",
    "cy",
    "ga",
    "ka",
    "hy",
    "az",
    "kk",
    "uz",
    "mn",
    "ne",
    "si",
    "my",
    "km",
    "lo",
    "am",
    "ha",
    "yo",
    "zu",
    "fil",
    "ms",
    "sq",
    "mk",
    "bs",
    "is",
    "be",
    "af",
    "ky",
    "jv",
    "ps",
    "as",
    "or",
)
"""Languages by number of speakers, roughly: where two give one phrase two meanings, more votes, then the first wins."""
SMALLEST_AGREEMENT = 0.45
LARGEST_SPREAD = 200
Terms = dict[str, set[str]]


def is_thing(sequence: str) -> bool:
    """Whether an annotated sequence is a single emoji-like symbol; arrows and geometric shapes are not."""
    return len(sequence) == 1 and ord(sequence) >= 0x2600


def terms_of(annotations: Mapping[str, Annotation]) -> Terms:
    """Which base pictographs each keyword or word of a name marks, by normal form."""
    found: Terms = defaultdict(set)
    for sequence, annotation in annotations.items():
        if is_thing(sequence):
            for phrase in (annotation.name, *annotation.keywords):
                found[normal_form(phrase)].add(sequence)
            for word in words_of(normal_form(annotation.name)):
                found[word].add(sequence)
    return found


def translate_terms(foreign: Terms, english: Terms) -> dict[str, str]:
    """The English term of each foreign one, where the two mark nearly the same emoji."""
    by_emoji: dict[str, list[str]] = defaultdict(list)
    for term, marked in english.items():
        if len(marked) <= LARGEST_SPREAD and len(term) > 1:
            for sequence in marked:
                by_emoji[sequence].append(term)
    found = {}
    for term, marked in foreign.items():
        shared = Counter(word for sequence in marked for word in by_emoji.get(sequence, ()))
        scores = {word: 2 * n / (len(marked) + len(english[word])) for word, n in shared.items()}
        if len(marked) > 1 and scores:
            best = max(scores, key=lambda word: (scores[word], -abs(len(words_of(word)) - len(words_of(term))), word))
            if scores[best] >= SMALLEST_AGREEMENT:
                found[term] = best
    return found


def names_of(foreign: Mapping[str, Annotation], english: Mapping[str, Annotation]) -> dict[str, str]:
    """English names by foreign names, for single pictographs."""
    return {
        normal_form(annotation.name): english[sequence].name
        for sequence, annotation in foreign.items()
        if is_thing(sequence) and sequence in english
    }


def build_lexicon(
    by_language: Mapping[str, Mapping[str, Annotation]],
    own_languages: Mapping[str, Mapping[str, Annotation]],
    has_pieces: Callable[[str], bool],
) -> dict[str, str]:
    """English by foreign phrase, over all languages given in order.

    own_languages: those of the encoder. A phrase that is one of their names or keywords, or that would be replaced
    inside one of them, is left out, unless the encoder has no pieces for it: such phrases of its own languages are in.
    """
    english = own_languages["en"]
    english_terms = terms_of(english)
    votes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for rank, found in enumerate([*by_language.values(), *own_languages.values()]):
        weight = 1 + math.exp(-rank)
        translated = translate_terms(terms_of(found), english_terms) | names_of(found, english)
        for phrase, meaning in translated.items():
            if (rank < len(by_language) and phrase) or not has_pieces(phrase):
                votes[phrase][meaning] += weight
    phrases = {x for own in own_languages.values() for a in own.values() for x in (a.name, *a.keywords)}
    own_forms = {form for form in map(normal_form, phrases) if has_pieces(form)}
    lexicon = {
        phrase: max(meanings, key=lambda word: meanings[word])
        for phrase, meanings in votes.items()
        if phrase not in own_forms
    }
    reader = Lexicon(lexicon)
    guilty = {phrase for text in own_forms for phrase in reader.matches(text)}
    return {phrase: meaning for phrase, meaning in sorted(lexicon.items()) if phrase not in guilty}


def compact(lexicon: Mapping[str, str]) -> dict[str, list[str]]:
    """The lexicon by meaning, which compresses better; `Lexicon.from_compact` reads it."""
    by_meaning: dict[str, list[str]] = defaultdict(list)
    for phrase, meaning in sorted(lexicon.items(), key=lambda item: (item[1], item[0])):
        by_meaning[meaning].append(phrase)
    return dict(by_meaning)
