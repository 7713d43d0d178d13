"""Write `workflows/things.csv`: what 50 things are called in 6 languages, from the CLDR annotations of the corpus.

    python benchmarks/things_csv.py

It needs the corpora (see docs/training.md); the file is committed, so that nobody else does.
"""

from __future__ import annotations

import csv
from pathlib import Path

from modalities.training.corpora.concepts import CONCEPTS
from modalities.training.corpora.names import load_names

ROOT = Path(__file__).resolve().parent.parent
LANGUAGES = ("en", "fr", "es", "ja", "ru", "ar")
NUM_THINGS = 50


def main() -> None:
    stride = len(CONCEPTS) / NUM_THINGS
    chosen = [CONCEPTS[int(index * stride)] for index in range(NUM_THINGS)]
    names = load_names(ROOT / ".corpora", chosen, LANGUAGES).names
    path = ROOT / "workflows" / "things.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["key", "language", "name"])
        for number, row in enumerate(zip(*(names[language] for language in LANGUAGES), strict=True)):
            for language, words in zip(LANGUAGES, row, strict=True):
                writer.writerow([f"{number:02d}-{language}", language, words[0]])


if __name__ == "__main__":
    main()
