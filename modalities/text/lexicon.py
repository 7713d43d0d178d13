"""Names of things in languages that the built-in encoder lacks, replaced by English before it reads a prompt.

The phrases are CLDR's (see `lexicon_build`). A phrase is replaced where it stands as whole words; in scripts that write
no spaces, wherever it stands. Text in the encoder's own languages stays as it is: phrases that occur in their names
and keywords are not in the lexicon (but for those with characters that the encoder has no piece for), and a prompt in
a script that its languages use is left alone where most of its words are known.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping

SEPARATORS = re.compile(r"[\s,.;:!?\"'()\[\]{}/|«»„“”‘’、。，·।]+")
UNSPACED = ("LAO", "KHMER", "MYANMAR", "THAI", "CJK", "HIRAGANA", "KATAKANA", "HANGUL")
SHARED_SCRIPTS = ("LATIN", "CYRILLIC", "ARABIC")
"""Scripts in which both the encoder's languages and others are written with spaces."""
OWN_SCRIPTS = (*SHARED_SCRIPTS, "THAI", "CJK", "HIRAGANA", "KATAKANA", "HANGUL", "DIGIT", "FULLWIDTH", "HALFWIDTH")
LONGEST_UNSPACED = 24


def normal_form(text: str) -> str:
    """The form in which phrases are compared: composed, without case, single spaces."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def words_of(text: str) -> list[str]:
    """Words of a text, without the punctuation between them."""
    return [word for word in SEPARATORS.split(text) if word]


def script_of(word: str) -> str:
    """The script of a word's first letter as in Unicode's character names: LATIN, DEVANAGARI, ..."""
    letter = next((character for character in word if character.isalpha()), word[:1])
    return unicodedata.name(letter, "UNKNOWN").split()[0]


def is_foreign_script(word: str) -> bool:
    """Whether a word is written in a script that none of the encoder's languages uses."""
    return any(character.isalpha() for character in word) and script_of(word) not in OWN_SCRIPTS


class Lexicon:
    """English by phrase, and how to find phrases in a text."""

    def __init__(self, meanings: Mapping[str, str]) -> None:
        """meanings: English by phrase in `normal_form`."""
        self.meanings = dict(meanings)
        self.most_words = max((phrase.count(" ") + 1 for phrase in self.meanings), default=0)

    @classmethod
    def from_compact(cls, by_meaning: Mapping[str, list[str]]) -> Lexicon:
        """A lexicon from phrases listed by their English meaning."""
        return cls({phrase: meaning for meaning, phrases in by_meaning.items() for phrase in phrases})

    def matches(self, text: str) -> Iterator[str]:
        """Phrases that stand in a text as whole words, longest first from the left."""
        for _, _, phrase in self._spans(text):
            yield phrase

    def replace(self, text: str, is_known: Callable[[str], bool]) -> str:
        """The text with its foreign phrases in English.

        is_known: whether the encoder knows a word. In shared scripts phrases are replaced only when at least half of
        the text's words are unknown, or when the whole text is one phrase.
        """
        spans = list(self._spans(text))
        if not spans:
            return text
        words = words_of(text)
        unknown = sum(not is_known(word) for word in words)
        everywhere = 2 * unknown >= len(words) or normal_form(text) in self.meanings
        out, end = "", 0
        for start, stop, phrase in spans:
            if everywhere or script_of(phrase) not in SHARED_SCRIPTS:
                before, after = text[start - 1 : start], text[stop : stop + 1]
                out += text[end:start] + " " * before.isalnum() + self.meanings[phrase] + " " * after.isalnum()
                end = stop
        return out + text[end:]

    def _spans(self, text: str) -> Iterator[tuple[int, int, str]]:
        """Start, end and phrase of each match, from left to right, without overlap."""
        words = [found.span() for found in re.finditer(rf"[^{SEPARATORS.pattern[1:-2]}]+", text)]
        i = 0
        while i < len(words):
            for count in range(min(self.most_words, len(words) - i), 0, -1):
                start, stop = words[i][0], words[i + count - 1][1]
                phrase = normal_form(text[start:stop])
                if phrase in self.meanings:
                    yield start, stop, phrase
                    i += count
                    break
            else:
                if script_of(text[words[i][0] : words[i][1]]) in UNSPACED:
                    yield from self._inside(text, *words[i])
                i += 1

    def _inside(self, text: str, start: int, stop: int) -> Iterator[tuple[int, int, str]]:
        """Matches inside an unspaced stretch of text, longest first from the left."""
        while start < stop:
            for end in range(min(stop, start + LONGEST_UNSPACED), start, -1):
                phrase = normal_form(text[start:end])
                if phrase in self.meanings:
                    yield start, end, phrase
                    start = end
                    break
            else:
                start += 1
