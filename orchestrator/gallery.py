"""The page to look at: `index.html` in a run folder, one file that works offline.

Prompts are not trusted: facts travel as JSON in a script element with `<`, `>` and `&` escaped, and the page sets
them as text, never as markup. What one prompt gave in several media stands together. The files of one sample (a sound
and its spectrogram, points and their turntable) share a card. The first files are embedded (`orchestrator.previews`);
later ones are read from `media/` when scrolled to.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader

from orchestrator.manifest import write_aside
from orchestrator.plan import Plan
from orchestrator.previews import Previews
from orchestrator.sizes import shown_size

PAGE = "index.html"
_MOST_CARDS = 20_000
_SHOWN = ("negative_prompt", "size", "sampler", "steps", "schedule", "guidance", "method", "strength", "seed", "model")
_MAIN = ("name", "scale")
"""The entry of a sampler, schedule or guidance that goes without saying."""
_KINDS = {
    ".mp4": "video",
    ".webm": "video",
    ".wav": "sound",
    ".flac": "sound",
    ".ogg": "sound",
    ".ply": "points",
    ".xyz": "points",
    ".png": "picture",
    ".jpg": "picture",
    ".gif": "picture",
    ".webp": "picture",
}
"""How a file is shown, by its suffix; everything else (a folder of frames, a mesh) is linked."""
_RANKS = ("video", "sound", "points", "picture", "link")
"""Of several files of one sample, the first kind is shown; pictures beside it accompany it."""


_PARTS = {"style": ".css", "viewer": "_points.js", "program": ".js"}
"""What the page is put together from, and how the names of those files end."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export step writes. media: the step that it writes the media of. axes: its matrix parameters."""

    modality: str
    media: str
    axes: tuple[str, ...]


def exported_by(plan: Plan) -> dict[str, Exported]:
    """The export steps of a plan."""
    return {
        step.name: Exported(
            str(step.options["modality"]),
            step.reads["media"],
            plan.step(step.reads["media"]).axes,
        )
        for step in plan.steps
        if step.stage == "export"
    }


def write_gallery(
    folder: Path,
    title: str,
    exports: Mapping[str, Exported],
    rows: Iterable[Mapping[str, Any]],
    letters: Iterable[Mapping[str, Any]],
) -> Path:
    """Write the page of a run folder. rows: of the manifest, letters: of the dead letters. Returns its path."""
    cards: dict[str, dict[str, Any]] = {}
    total = 0
    for row in rows:
        step = exports[str(row["step"])]
        key = json.dumps([step.media, row["prompt_id"], row["repetition"], [row["cell"].get(n) for n in step.axes]])
        if key not in cards:
            total += 1
            if total > _MOST_CARDS:
                continue
            cards[key] = _card(row, step)
        if key in cards:
            cards[key]["files"].append(_file(row, folder))
    is_grouped = len({step.media for step in exports.values()}) > 1
    if is_grouped:
        first = {card["prompt_id"]: n for n, card in reversed(list(enumerate(cards.values())))}
        cards = dict(sorted(cards.items(), key=lambda entry: first[entry[1]["prompt_id"]]))
    previews = Previews()
    for card in cards.values():
        _show(card, folder, previews)
    failed = [{"prompt": letter["prompt"], "id": letter["id"], "error": letter["error"]} for letter in letters]
    page = _render(title, {"cards": list(cards.values()), "failed": failed, "grouped": is_grouped}, total)
    write_aside(folder / PAGE, page)
    return folder / PAGE


def _render(title: str, data: Mapping[str, Any], total: int) -> str:
    environment = Environment(loader=PackageLoader("orchestrator", "."), autoescape=True)
    template = environment.get_template("gallery.html.jinja")
    here = Path(__file__).parent
    parts = {name: (here / f"gallery{ending}").read_text(encoding="utf-8") for name, ending in _PARTS.items()}
    return template.render(
        title=title,
        data=_script_safe(data),
        total=total,
        shown=len(data["cards"]),
        tile=240 if data["grouped"] else 168,
        **parts,
    )


def _card(row: Mapping[str, Any], step: Exported) -> dict[str, Any]:
    facts = {**{name: row[name] for name in _SHOWN if row.get(name) is not None}, **row["cell"]}
    shown = {name: _shown(value) for name, value in facts.items()}
    if "size" in facts:
        shown["size"] = shown_size(facts["size"], step.modality)
    return {
        "id": row["id"],
        "prompt": row["prompt"],
        "prompt_id": row["prompt_id"],
        "step": row["step"],
        "medium": step.modality,
        "cell": sorted(row["cell"]),
        "facts": shown,
        "files": [],
    }


def _file(row: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What a row names, and the path of what is shown of it: of a folder, its first picture."""
    file = shown = str(row["file"])
    if "files" in row:
        inside = sorted(path.name for path in (folder / file).glob("*.png"))
        shown = f"{file}/{inside[0]}" if inside else file
    kind = _KINDS.get(Path(shown).suffix, "link")
    return {"step": str(row["step"]), "name": file, "file": quote(file), "kind": kind, "path": shown}


def _show(card: dict[str, Any], folder: Path, previews: Previews) -> None:
    """Choose what a card shows of its files, and embed it."""
    files = card["files"]
    main = min(files, key=lambda each: _RANKS.index(each["kind"]))
    beside = next((each for each in files if each["kind"] == "picture" and each is not main), None)
    path = folder / main["path"]
    embed = {"picture": previews.picture, "video": previews.whole, "sound": previews.whole, "points": previews.points}
    small = embed[main["kind"]](path) if main["kind"] in embed else ""
    card |= {"kind": main["kind"], "file": quote(main["path"]), "step": main["step"], "small": small}
    if main["kind"] == "points" and not small:
        card["kind"] = "link"
    if beside is not None:
        card["picture"] = {"file": quote(beside["path"]), "small": previews.picture(folder / beside["path"])}
    card["files"] = [{name: each[name] for name in ("step", "file", "name")} for each in files]


def _shown(value: Any) -> str:
    """A value as people write it: `128 × 128`, `4`, `dopri5, rtol 1e-05`. What is not set is left out."""
    if isinstance(value, list | tuple):
        return " × ".join(_shown(entry) for entry in value)
    if isinstance(value, Mapping):
        told = {name: entry for name, entry in value.items() if entry is not None and entry not in ([0, 1], (0, 1))}
        return ", ".join(_shown(entry) if name in _MAIN else f"{name} {_shown(entry)}" for name, entry in told.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _script_safe(value: Any) -> str:
    """JSON that can stand inside a script element: it can neither close the element nor start a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
