"""Emoji in prompts, replaced by their English names, because the built-in encoder has no pieces for them.

Names are those of the Unicode CLDR ("red apple" for U+1F34E), for whole sequences too: joined people, skin tones,
flags, keycaps. What CLDR does not name is called by its Unicode character name.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

VARIATION_SELECTORS = {0xFE0E: None, 0xFE0F: None}
JOINER = "\u200d"
KEYCAP = "\u20e3"
TAGS = range(0xE0020, 0xE0080)
REGIONAL = range(0x1F1E6, 0x1F200)
SKIN_TONES = range(0x1F3FB, 0x1F400)


def is_pictograph(character: str) -> bool:
    """Whether a character is an emoji or another pictorial symbol rather than a letter, digit, mark or punctuation."""
    code = ord(character)
    return code >= 0x2190 and (unicodedata.category(character) == "So" or code in SKIN_TONES)


def sequence_key(sequence: str) -> str:
    """The form in which a sequence is looked up: without variation selectors (emoji or text style)."""
    return sequence.translate(VARIATION_SELECTORS)


class EmojiNames:
    """Replaces emoji in text by names. `names` maps sequences in their `sequence_key` form to English."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = dict(names)
        self.longest = max(map(len, self.names), default=1)

    def replace(self, text: str) -> str:
        """The text with every emoji written as its name; neighbouring emoji are separated by commas."""
        text = sequence_key(text)
        if text.isascii():
            return text
        out = ""
        position, after_emoji = 0, False
        while position < len(text):
            length, name = self._match(text, position)
            if length == 0:
                character = text[position]
                if after_emoji and not out[-1].isspace() and character.isalnum():
                    out += " "
                out += character
                after_emoji = after_emoji and character.isspace()
            elif name:
                if after_emoji:
                    out = out.rstrip() + ", "
                elif out and not out[-1].isspace():
                    out += " "
                out += name
                after_emoji = True
            position += max(length, 1)
        return out

    def _match(self, text: str, position: int) -> tuple[int, str]:
        """Length and name of the emoji at a position; length 0 if there is none, an empty name if it says nothing."""
        character = text[position]
        if not (is_pictograph(character) or text[position + 1 : position + 2] == KEYCAP):
            return (1, "") if ord(character) in TAGS else (0, "")
        for length in range(min(self.longest, len(text) - position), 0, -1):
            name = self.names.get(text[position : position + length])
            if name is not None:
                return length + self._tail(text, position + length), name
        if ord(character) in REGIONAL:
            return 1, chr(ord(character) - REGIONAL.start + ord("A"))
        name = unicodedata.name(character, "").lower()
        return 1 + self._tail(text, position + 1), name

    def _tail(self, text: str, position: int) -> int:
        """How many joiners and tags follow at a position and belong to the emoji before it."""
        end = position
        while end < len(text) and (
            text[end] in (JOINER, KEYCAP) or ord(text[end]) in TAGS or ord(text[end]) == 0xE007F
        ):
            end += 1
        return end - position
