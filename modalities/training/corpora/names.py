"""What the concepts are called: CLDR names and keywords in each language."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modalities.training.corpora.concepts import CONCEPTS, ENGLISH, EVERYDAY
from modalities.training.corpora.packages import CLDR, CLDR_DERIVED
from modalities.training.corpora.phrases import LANGUAGES

KEYWORDS = 3
"""Most keywords of one concept that captions use."""


@dataclass(frozen=True, slots=True)
class Names:
    """names: for each language and concept the name first, then synonyms. keywords: weaker words, maybe none."""

    names: Mapping[str, Sequence[Sequence[str]]]
    keywords: Mapping[str, Sequence[Sequence[str]]]


def load_names(corpora: Path, concepts: Sequence[str] = CONCEPTS, languages: Sequence[str] = LANGUAGES) -> Names:
    """Read the names of `concepts` from the unpacked CLDR packages; FileNotFoundError when those are not there.

    A keyword is kept only when no other of the concepts has it in that language ("fruit" says too little).
    """
    names: dict[str, list[tuple[str, ...]]] = {}
    keywords: dict[str, list[tuple[str, ...]]] = {}
    for language in languages:
        table = read_annotations(corpora, language)
        rows = [table[emoji] for emoji in concepts]
        shared = Counter(word for row in rows for word in set(row.get("default", [])))
        own = [_names(language, emoji, row) for emoji, row in zip(concepts, rows, strict=True)]
        names[language] = own
        keywords[language] = [
            tuple(w for w in row.get("default", []) if shared[w] == 1 and w not in known)[:KEYWORDS]
            for row, known in zip(rows, own, strict=True)
        ]
    return Names(names, keywords)


def read_annotations(corpora: Path, language: str) -> dict[str, dict[str, list[str]]]:
    """CLDR's table of a language: emoji to {"tts": [name], "default": keywords}."""
    table: dict[str, dict[str, list[str]]] = {}
    for package, key in ((CLDR, "annotations"), (CLDR_DERIVED, "annotationsDerived")):
        path = corpora / package.stem / key / language / "annotations.json"
        table |= json.loads(path.read_text(encoding="utf-8"))[key]["annotations"]
    return table


def _names(language: str, emoji: str, row: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    told = tuple(row["tts"])
    if language == "en" and emoji in ENGLISH:
        return ENGLISH[emoji]
    everyday = EVERYDAY.get(language, {}).get(emoji)
    return told if everyday is None or everyday in told else (everyday, *told)
