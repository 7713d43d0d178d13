"""Results in parts that are measured at different times: the newest of each, in one file with the date of the last."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from builtin_image import RESULTS, machine


def newest(benchmark: str) -> Path | None:
    """The file of a benchmark's results with the latest date."""
    found = sorted(RESULTS.glob(f"{benchmark}-????-??-??.json"))
    return found[-1] if found else None


def write_part(benchmark: str, part: str, found: dict[str, Any]) -> Path:
    """Put one part, with today's date and the machine, beside the others; returns the file.

    The others come from the newest file, which other parts may be writing at the same time; an older one goes.
    """
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    old, path = newest(benchmark), RESULTS / f"{benchmark}-{today}.json"
    parts: dict[str, Any] = {} if old is None else json.loads(old.read_text(encoding="utf-8"))["parts"]
    parts[part] = {"date": today, **found, "machine": machine()}
    path.write_text(json.dumps({"parts": parts}, indent=1) + "\n", encoding="utf-8")
    if old is not None and old != path:
        old.unlink()
    return path


def dates(parts: dict[str, Any]) -> str:
    """When the parts were measured."""
    found = sorted({part["date"] for part in parts.values()})
    return found[0] if len(found) == 1 else f"{found[0]} to {found[-1]}"
