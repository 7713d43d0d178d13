"""Emoji and sequences of them become English names."""

from __future__ import annotations

import pytest

from modalities.text.builtin import FOLDER
from modalities.text.emoji import EmojiNames
from modalities.text.files import EMOJI_FILE, read_json


@pytest.fixture(scope="module")
def names() -> EmojiNames:
    return EmojiNames(read_json(FOLDER / EMOJI_FILE))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("🍎", "red apple"),
        ("a 🍎 on blue", "a red apple on blue"),
        ("a🍎b", "a red apple b"),
        ("🍎🍎", "red apple, red apple"),
        ("🍎 🚗", "red apple, automobile"),
        ("🍎, 🚗!", "red apple, automobile!"),
        ("❤️", "red heart"),
        ("❤", "red heart"),
        ("👩‍🚀", "woman astronaut"),
        ("👩🏽‍🚀", "woman astronaut medium skin tone"),
        ("👍🏿", "thumbs up dark skin tone"),
        ("🇫🇷", "flag France"),
        ("🏴󠁧󠁢󠁥󠁮󠁧󠁿", "flag England"),
        ("3️⃣", "keycap 3"),
        ("🏳️‍🌈", "rainbow flag"),
        ("plain text: 1 + 1 = 2", "plain text: 1 + 1 = 2"),
        ("price 5€ ™ ½ → 日本 नमस्ते", "price 5€ ™ ½ → 日本 नमस्ते"),
        ("می‌خواهم", "می‌خواهم"),
        ("", ""),
    ],
)
def test_replacement(names: EmojiNames, text: str, expected: str) -> None:
    assert names.replace(text) == expected


def test_what_cldr_does_not_name_is_called_by_its_character_name() -> None:
    assert EmojiNames({}).replace("🍎") == "red apple"
    assert EmojiNames({}).replace("🇽🇽") == "X, X"


def test_an_unknown_joined_sequence_falls_into_its_parts(names: EmojiNames) -> None:
    assert names.replace("🐶‍🚗") == "dog face, automobile"
