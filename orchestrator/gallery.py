"""The page to look at: `index.html` in a run folder, one file that works offline.

Prompts are not trusted: facts travel as JSON in a script element with `<`, `>` and `&` escaped, and the page sets
them as text, never as markup. The first pictures are embedded as thumbnails; later ones are read from `media/` when
scrolled to.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader
from PIL import Image

from orchestrator.manifest import write_aside

PAGE = "index.html"
_EMBEDDED = 240
_MOST_CARDS = 20_000
_THUMBNAIL = 192
_SHOWN = ("negative_prompt", "size", "sampler", "steps", "schedule", "guidance", "method", "strength", "seed", "model")
_MAIN = ("name", "scale")
"""The entry of a sampler, schedule or guidance that goes without saying."""
_IMAGES = (".png", ".jpg", ".webp")


def write_gallery(
    folder: Path, title: str, rows: Iterable[Mapping[str, Any]], letters: Iterable[Mapping[str, Any]]
) -> Path:
    """Write the page of a run folder. rows: of the manifest, letters: of the dead letters. Returns its path."""
    cards = []
    total = 0
    for row in rows:
        if total < _MOST_CARDS:
            cards.append(_card(folder, row, total < _EMBEDDED))
        total += 1
    failed = [{"prompt": letter["prompt"], "id": letter["id"], "error": letter["error"]} for letter in letters]
    environment = Environment(loader=PackageLoader("orchestrator", "."), autoescape=True)
    template = environment.get_template("gallery.html.jinja")
    page = template.render(
        title=title, data=_script_safe({"cards": cards, "failed": failed}), total=total, shown=len(cards)
    )
    write_aside(folder / PAGE, page)
    return folder / PAGE


def _card(folder: Path, row: Mapping[str, Any], is_embedded: bool) -> dict[str, Any]:
    file = str(row["file"])
    facts = {**{name: row[name] for name in _SHOWN if row.get(name) is not None}, **row["cell"]}
    return {
        "id": row["id"],
        "prompt": row["prompt"],
        "step": row["step"],
        "file": quote(file),
        "cell": sorted(row["cell"]),
        "facts": {name: _shown(value) for name, value in facts.items()},
        "thumbnail": _thumbnail(folder / file) if is_embedded else "",
    }


def _shown(value: Any) -> str:
    """A value as people write it: `128 × 128`, `4`, `dopri5, rtol 1e-05`. What is not set is left out."""
    if isinstance(value, list | tuple):
        return " × ".join(_shown(entry) for entry in value)
    if isinstance(value, Mapping):
        told = {name: entry for name, entry in value.items() if entry is not None and entry not in ([0, 1], (0, 1))}
        return ", ".join(_shown(entry) if name in _MAIN else f"{name} {_shown(entry)}" for name, entry in told.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _thumbnail(path: Path) -> str:
    """A picture as a data address, at most `_THUMBNAIL` pixels wide and high; nothing when the file is no picture."""
    if path.suffix not in _IMAGES:
        return ""
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
    except OSError:
        return ""
    small.thumbnail((_THUMBNAIL, _THUMBNAIL))
    encoded = io.BytesIO()
    small.save(encoded, format="WEBP", quality=88, method=4)
    return "data:image/webp;base64," + base64.b64encode(encoded.getvalue()).decode()


def _script_safe(value: Any) -> str:
    """JSON that can stand inside a script element: it can neither close the element nor start a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
