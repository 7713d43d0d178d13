"""The cache gives the bytes of its encoder, from memory and from disk, and computes each prompt once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from modalities.contracts import Conditioning, TextEncoder
from modalities.text.cache import CachedTextEncoder


class LetterEncoder:
    """A tiny encoder: one token per letter, its code point in three scales. Counts what it computes."""

    width = 3

    def __init__(self, fingerprint: str = "letters") -> None:
        self.fingerprint, self.computed = fingerprint, []

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        self.computed += list(prompts)
        parts = []
        for prompt in prompts:
            codes = torch.tensor([1.0, *map(ord, prompt)])
            tokens = torch.stack([codes, codes / 7, codes.sqrt()], dim=1)[None]
            parts.append(Conditioning(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool)))
        return Conditioning.stack(parts)

    def unknown_words(self, prompt: str) -> list[str]:
        return [word for word in prompt.split() if "q" in word]


PROMPTS = ["apple", "", "a longer prompt", "apple", "りんご"]


def test_equal_bytes_and_each_prompt_once() -> None:
    inner = LetterEncoder()
    cached = CachedTextEncoder(inner)
    assert isinstance(cached, TextEncoder)
    expected = LetterEncoder().encode(PROMPTS)
    for _ in range(2):
        got = cached.encode(PROMPTS)
        assert torch.equal(got.tokens, expected.tokens)
        assert torch.equal(got.mask, expected.mask)
    assert sorted(inner.computed) == sorted(set(PROMPTS))
    assert cached.unknown_words("a qzx") == ["qzx"]


def test_a_folder_outlives_the_process(tmp_path: Path) -> None:
    CachedTextEncoder(LetterEncoder(), tmp_path).encode(PROMPTS)
    inner = LetterEncoder()
    again = CachedTextEncoder(inner, tmp_path).encode(PROMPTS)
    assert inner.computed == []
    assert torch.equal(again.tokens, LetterEncoder().encode(PROMPTS).tokens)
    assert not list(tmp_path.rglob("*.part"))


def test_another_fingerprint_is_another_content(tmp_path: Path) -> None:
    CachedTextEncoder(LetterEncoder("one"), tmp_path).encode(["apple"])
    inner = LetterEncoder("two")
    CachedTextEncoder(inner, tmp_path).encode(["apple"])
    assert inner.computed == ["apple"]


def test_a_damaged_file_is_made_again(tmp_path: Path) -> None:
    CachedTextEncoder(LetterEncoder(), tmp_path).encode(["apple"])
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(b"half a file")
    inner = LetterEncoder()
    CachedTextEncoder(inner, tmp_path).encode(["apple"])
    assert inner.computed == ["apple"]
    CachedTextEncoder(inner, tmp_path).encode(["apple"])
    assert inner.computed == ["apple"]


def test_memory_is_bounded_and_drops_the_least_recent() -> None:
    inner = LetterEncoder()
    one = LetterEncoder().encode(["ab"]).tokens.nbytes
    cached = CachedTextEncoder(inner, max_bytes=2 * one)
    for prompt in ("ab", "cd", "ab", "ef", "ab", "cd"):
        cached.encode([prompt])
        assert cached.bytes_in_memory <= 2 * one
    assert inner.computed == ["ab", "cd", "ef", "cd"]


def test_negative_bound_is_refused() -> None:
    with pytest.raises(ValueError, match="max_bytes"):
        CachedTextEncoder(LetterEncoder(), max_bytes=-1)
