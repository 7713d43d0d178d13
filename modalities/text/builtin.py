"""The text encoder that ships with the package: 16 languages in one space, small and exact for each prompt alone.

Arabic, Chinese (both scripts), Dutch, English, French, German, Indonesian, Italian, Japanese, Korean, Polish,
Portuguese, Russian, Spanish, Thai and Turkish. Emoji are replaced by their names first. Weights are those of the
Universal Sentence Encoder (multilingual, version 3), pruned and quantised by `convert_builtin.py`.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from modalities.contracts import Conditioning
from modalities.text.emoji import EmojiNames
from modalities.text.files import (
    EMOJI_FILE,
    LEXICON_FILE,
    NETWORK_FILE,
    TABLE_FILE,
    TOKENIZER_FILE,
    read_json,
)
from modalities.text.lexicon import UNSPACED, Lexicon, is_foreign_script, script_of, words_of
from modalities.text.network import SENTENCE, SentenceNetwork
from modalities.text.quantised import PackedTable
from modalities.text.tokenizer import SPACE, UNKNOWN, read_tokenizer
from modalities.weights.checkpoint import read_tensors

FOLDER = Path(__file__).parent.parent / "weights" / "text"
HALFWIDTH_KANA = re.compile("[\uff65-\uff9f]+")
CODE_VERSION = 1
"""Raised whenever the same weights would give other outputs, so that caches notice."""


class BuiltinText:
    """Prompts to tokens `[B, L, width]`: reduced features of each piece, then the sentence embedding times sqrt(512).

    The sentence embedding is repeated on every token, so that a mean over tokens carries it unchanged. Arithmetic is
    in float32 whatever the dtype of the result; every prompt is computed by itself, so its bits never depend on its
    batch mates.
    """

    def __init__(self, folder: Path = FOLDER, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        """Read the weights in `folder`; CheckpointError when a file is missing or damaged."""
        state = read_tensors(folder / NETWORK_FILE)
        table = read_tensors(folder / TABLE_FILE)
        self.device, self.dtype = torch.device(device), dtype
        self.tokenizer = read_tokenizer(folder / TOKENIZER_FILE)
        self.emoji = EmojiNames(read_json(folder / EMOJI_FILE))
        self.lexicon = Lexicon.from_compact(read_json(folder / LEXICON_FILE))
        self.unknown = self.tokenizer.token_to_id(UNKNOWN)
        self.table = PackedTable(table["narrow"], table["wide"], table["step"], table["offset"]).to(device)
        self.begin, self.end = len(self.table) - 2, len(self.table) - 1
        self.mean = state.pop("reduce.mean").to(device)
        self.components = state.pop("reduce.components").T.contiguous().to(device)
        self.network = SentenceNetwork()
        self.network.load_state_dict(state)
        self.network.to(device).eval().requires_grad_(False)
        self.width = self.components.shape[1] + SENTENCE
        self.fingerprint = fingerprint(folder, dtype)

    def encode(self, prompts: Sequence[str]) -> Conditioning:
        """Encode prompts; an empty prompt gives the two tokens that begin and end every prompt."""
        return Conditioning.stack([self._encode_one(prompt) for prompt in prompts])

    def sentence_embeddings(self, prompts: Sequence[str]) -> Tensor:
        """Embeddings `[B, 512]` of unit length in float32: their products are similarities of meaning."""
        return torch.stack([self._features(prompt)[1] for prompt in prompts])

    def piece_features(self, prompt: str) -> Tensor:
        """Features `[L, 1280]` of a prompt's pieces before they are reduced, with begin and end."""
        return self._features(prompt)[0]

    def plain_text(self, prompt: str) -> str:
        """The prompt as the tokenizer gets it: emoji, and phrases of languages that the encoder lacks, in English."""
        text = HALFWIDTH_KANA.sub(lambda found: unicodedata.normalize("NFKC", found.group()), prompt)
        return self.lexicon.replace(self.emoji.replace(text), self.is_word)

    def is_word(self, word: str) -> bool:
        """Whether a word is one piece of the vocabulary."""
        pieces = self.tokenizer.encode(word).ids
        return len(pieces) == 1 and pieces[0] != self.unknown

    def unknown_words(self, prompt: str) -> list[str]:
        """Words of the prompt that the encoder has no meaning for, in order, each once.

        These are words in a script of none of its languages, characters without a piece in scripts without spaces, and
        words that fall into single letters (or into single letters and a few pairs).
        """
        found: dict[str, None] = {}
        for word in words_of(self.plain_text(prompt)):
            encoding = self.tokenizer.encode(word)
            if script_of(word) in UNSPACED:
                for piece, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
                    if piece == self.unknown:
                        found[word[start:end]] = None
            elif is_foreign_script(word) or falls_apart(word, encoding.tokens):
                found[word] = None
        return list(found)

    def ids(self, prompt: str) -> list[int]:
        """Rows of the table for a prompt, with begin and end."""
        pieces = self.tokenizer.encode(self.plain_text(prompt), add_special_tokens=False).ids
        return [self.begin, *pieces, self.end]

    @torch.no_grad()
    def _features(self, prompt: str) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(self.ids(prompt), device=self.device)
        features = self.network.features(self.table(ids))
        return features, self.network.sentence(features)

    @torch.no_grad()
    def _encode_one(self, prompt: str) -> Conditioning:
        features, sentence = self._features(prompt)
        reduced = (features - self.mean) @ self.components
        whole = (sentence * SENTENCE**0.5).expand(len(reduced), -1)
        tokens = torch.cat([reduced, whole], dim=1).to(self.dtype)[None]
        return Conditioning(tokens=tokens, mask=torch.ones(tokens.shape[:2], dtype=torch.bool, device=self.device))


def falls_apart(word: str, pieces: Sequence[str]) -> bool:
    """Whether a word's pieces are too small to carry meaning: single letters, or on average less than 1.5 letters."""
    lengths = [len(piece.strip(SPACE)) for piece in pieces if piece not in (SPACE, UNKNOWN)]
    letters = sum(character.isalpha() for character in word)
    longest = max(lengths, default=0)
    return (letters >= 4 and longest <= 1) or (letters >= 5 and longest <= 2 and letters < 1.5 * len(lengths))


def fingerprint(folder: Path, dtype: torch.dtype) -> str:
    """Hash of every file that decides the output, the code's version and the dtype of the result."""
    digest = hashlib.sha256(json.dumps(["builtin", CODE_VERSION, str(dtype)]).encode())
    for path in sorted(folder.iterdir()):
        digest.update(f"{path.name}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def load(spec: Mapping[str, object], device: torch.device | str, dtype: torch.dtype) -> BuiltinText:
    """The encoder of a description `{"kind": "builtin"}`, optionally with another `folder` of converted weights."""
    unknown = set(spec) - {"kind", "folder"}
    if unknown:
        raise ValueError(f"unknown options of the builtin text encoder: {', '.join(sorted(unknown))}")
    return BuiltinText(Path(str(spec.get("folder", FOLDER))), device, dtype)
