"""Reading run folders in tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def media_of(folder: Path) -> dict[str, bytes]:
    """Every file below `media/`, by its path in the run folder."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted((folder / "media").rglob("*"))
        if path.is_file()
    }


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of the manifest."""
    return _lines(folder / "manifest.jsonl")


def letters_of(folder: Path) -> list[dict[str, Any]]:
    """The dead letters; none when there is no such file."""
    return _lines(folder / "dead_letters.jsonl")


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
