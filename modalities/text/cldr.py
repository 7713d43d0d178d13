"""Reads the annotations of the Unicode CLDR (packages `cldr-annotations-full` and `cldr-annotations-derived-full`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from modalities.text.emoji import sequence_key

PARTS = (
    ("cldr-annotations-full/annotations", "annotations"),
    ("cldr-annotations-derived-full/annotationsDerived", "annotationsDerived"),
)


@dataclass(frozen=True, slots=True)
class Annotation:
    """The name of an emoji or symbol in one language, and its keywords."""

    name: str
    keywords: tuple[str, ...]


def read_annotations(folder: Path, language: str) -> dict[str, Annotation]:
    """Annotations of one language by `sequence_key`; the folder holds the two unpacked packages."""
    found: dict[str, Annotation] = {}
    for place, key in PARTS:
        path = folder / place / language / "annotations.json"
        if not path.is_file():
            continue
        for sequence, entry in json.loads(path.read_text(encoding="utf-8"))[key]["annotations"].items():
            if name := entry.get("tts", [""])[0]:
                found[sequence_key(sequence)] = Annotation(name, tuple(entry.get("default", ())))
    if not found:
        raise ValueError(f"{folder} holds no CLDR annotations of `{language}`")
    return found


def languages(folder: Path) -> list[str]:
    """Languages that have annotations, sorted."""
    return sorted(path.name for path in (folder / PARTS[0][0]).iterdir() if path.is_dir())
