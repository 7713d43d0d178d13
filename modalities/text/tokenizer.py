"""The built-in encoder's tokenizer: unigram pieces with the normalisation that they were made with.

Kudo 2018, "Subword Regularization", section 3.2 (the most probable segmentation). The `tokenizers` library does the
work; its JSON is shipped compressed. Begin and end of a prompt are rows of the table that no text can reach.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers

SPACE = "▁"
UNKNOWN = "<unk>"


def build_tokenizer(pieces: Sequence[tuple[str, float]], unknown: int, character_map: bytes) -> Tokenizer:
    """A unigram tokenizer of (piece, log probability) in id order.

    character_map: SentencePiece's precompiled map of the normalisation rule (NFKC with the rules of `nmt_nfkc`).
    """
    tokenizer = Tokenizer(models.Unigram(list(pieces), unk_id=unknown, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Precompiled(character_map), normalizers.Strip(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="always", split=True)
    return tokenizer


def write_tokenizer(tokenizer: Tokenizer, path: Path) -> None:
    """Write a tokenizer's JSON, compressed; equal tokenizers give equal bytes."""
    path.write_bytes(gzip.compress(tokenizer.to_str().encode(), compresslevel=9, mtime=0))


def read_tokenizer(path: Path) -> Tokenizer:
    """Read what `write_tokenizer` wrote."""
    return Tokenizer.from_str(gzip.decompress(path.read_bytes()).decode())
