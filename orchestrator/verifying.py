"""Whether a run folder holds what its manifest says, byte for byte, and nothing else. Reads only; loads no model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.building import MEDIA
from orchestrator.errors import RunRefused
from orchestrator.fingerprint import fingerprint_of
from orchestrator.folder import FINGERPRINT
from orchestrator.item import Sample
from orchestrator.manifest import DEAD_LETTERS, JOURNAL, MANIFEST, read_rows
from orchestrator.media_files import ASIDE, facts_of
from orchestrator.plan import Plan, Step
from orchestrator.plan_json import plan_from_json
from orchestrator.recipe import recipe

PLAN = "plan.json"
FILE_FACTS = ("file", "bytes", "sha256", "files")
"""What a row holds of its file; the rest says how the sample was made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What was found. samples: rows whose file is as they say. bytes: of those. failed: dead letters.

    faults: a line each, which names the sample or the file.
    """

    samples: int
    failed: int
    bytes: int
    faults: tuple[str, ...]


def verify(folder: Path) -> Verdict:
    """Hash every file of a run folder again. RunRefused when the folder holds no run."""
    plan = read_plan(folder)
    faults = list(_identity_faults(folder, plan))
    rows = list(read_rows(folder / MANIFEST))
    if (folder / JOURNAL).exists():
        faults.append(f"{JOURNAL}: the run has not ended; the same `parhelion run` finishes it")
    by_sample = {(row.get("step"), row.get("id")): row for row in rows}
    letters = {(row.get("step"), row.get("id")) for row in read_rows(folder / DEAD_LETTERS)}
    sound, size = 0, 0
    for step, sample in exported(plan):
        row = by_sample.pop((step.name, sample.id), None)
        if row is None:
            if (step.name, sample.id) not in letters:
                faults.append(f"sample `{sample.id}` of step `{step.name}`: neither made nor a dead letter")
            continue
        wrong = [*_recipe_faults(plan, step, sample, row), *_file_faults(folder, row)]
        faults += [f"sample `{sample.id}` of step `{step.name}`: {fault}" for fault in wrong]
        sound, size = sound + (not wrong), size + int(row["bytes"])
    faults += [f"{MANIFEST}: sample `{name}` of step `{step}` is none of the plan" for step, name in by_sample]
    faults += _strangers(folder, {str(row.get("file")) for row in rows})
    return Verdict(samples=sound, failed=len(letters), bytes=size, faults=tuple(faults))


def read_plan(folder: Path) -> Plan:
    """The plan of a run folder; RunRefused when there is none that can be read."""
    if not (folder / FINGERPRINT).is_file():
        raise RunRefused(f"{folder} holds no run: it has no {FINGERPRINT}")
    try:
        return plan_from_json((folder / PLAN).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError) as error:
        raise RunRefused(f"{folder / PLAN} cannot be read: {error}") from error


def read_identity(folder: Path) -> dict[str, Any]:
    """What decided the files of a run, as it was written down; RunRefused when it cannot be read."""
    path = folder / FINGERPRINT
    try:
        identity = json.loads(path.read_text(encoding="utf-8"))["identity"]
        return dict(identity)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunRefused(f"{path} cannot be read: {error}") from error


def exported(plan: Plan) -> Iterator[tuple[Step, Sample]]:
    """Every sample that the plan writes, with its export step."""
    for task in plan.tasks():
        step = plan.step(task.step)
        if step.stage == "export":
            for sample in plan.samples(task):
                yield step, sample


def _identity_faults(folder: Path, plan: Plan) -> Iterator[str]:
    if fingerprint_of(read_identity(folder)) != plan.fingerprint:
        yield f"{FINGERPRINT}: is not that of {PLAN}"


def _recipe_faults(plan: Plan, step: Step, sample: Sample, row: Mapping[str, Any]) -> Iterator[str]:
    told = {key: value for key, value in row.items() if key not in FILE_FACTS}
    meant = json.loads(json.dumps(recipe(plan, step, sample)))
    wrong = [key for key in {**meant, **told} if told.get(key) != meant.get(key)]
    if wrong:
        yield f"its row says another {', '.join(wrong)} than {PLAN}"
    if not {"file", "bytes", "sha256"} <= set(row):
        yield "its row names no file with length and hash"


def _file_faults(folder: Path, row: Mapping[str, Any]) -> Iterator[str]:
    name = str(row.get("file"))
    path = folder / name
    if not name.startswith(f"{MEDIA}/") or ".." in path.parts:
        yield f"{name} is no place below {MEDIA}/"
    elif path.is_symlink() or not path.exists():
        yield f"{name} is {'a link' if path.is_symlink() else 'missing'}"
    else:
        found = facts_of(path)
        for key, what in (("files", "files"), ("bytes", "bytes"), ("sha256", "as hash")):
            if found.get(key) != row.get(key):
                yield f"{name} has {found.get(key)} {what}; the manifest says {row.get(key)}"
                return


def _strangers(folder: Path, known: set[str]) -> Iterator[str]:
    """Files below media/ that no row names, half-written ones among them."""
    media = folder / MEDIA
    for path in sorted(media.rglob("*")):
        name = path.relative_to(folder).as_posix()
        above = {parent.relative_to(folder).as_posix() for parent in path.parents if parent.is_relative_to(media)}
        if path.is_dir() and not path.is_symlink():
            continue
        if any(part.startswith(".") and part.endswith(ASIDE) for part in path.relative_to(media).parts):
            yield f"{name}: half-written, left by a run that was killed"
        elif name not in known and not above & known:
            yield f"{name}: no row of the manifest names it"
