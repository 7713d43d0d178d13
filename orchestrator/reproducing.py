"""Samples of a finished run made once more, from the plan in its folder, and compared by the hashes of its manifest."""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from modalities.weights.description import describe
from orchestrator.building import MEDIA
from orchestrator.catalog import EXECUTORS, resolve
from orchestrator.errors import ModelError, RunRefused, nearest
from orchestrator.executors.base import Executor, Finished, Observer, Setting
from orchestrator.fingerprint import identity_of
from orchestrator.folder import FINGERPRINT, differences
from orchestrator.manifest import MANIFEST, read_rows
from orchestrator.plan import Plan, Task
from orchestrator.verifying import exported, read_identity, read_plan

Wanted = tuple[str, str]
"""An export step and a sample of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A file made again. before, after: SHA-256; after is empty when the sample failed, and `fault` says why."""

    file: str
    before: str
    after: str
    fault: str = ""

    @property
    def is_equal(self) -> bool:
        """Whether both are the same, byte for byte."""
        return self.before == self.after


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """What came of it. notes: packages that have other versions here than when the run was made."""

    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]


def run_folder_of(path: Path) -> Path:
    """The run folder that a path is, or lies in; RunRefused when there is none."""
    for folder in (path, *path.parents):
        if (folder / FINGERPRINT).is_file():
            return folder
    raise RunRefused(f"{path} is neither a run folder nor a file in one: no {FINGERPRINT} there or above")


def reproduce(
    path: Path, samples: Sequence[str], devices: Sequence[str], threads: int, observer: Observer
) -> Reproduction:
    """Make samples of a run again, in a folder that is removed afterwards.

    path: a file below media/, which is then made again; or the run folder. samples: ids; all their files are made.
    Without any, the first sample of each export step. devices, threads: as in `Setting`. The whole batches of the
    samples are computed, as the plan fixes them, so that the bytes can be equal. RunRefused when a sample is not in
    the manifest, or when weights or the kind of device are not those of the run.
    """
    path = path.absolute()
    folder = run_folder_of(path)
    plan = read_plan(folder)
    rows = {(str(row["step"]), str(row["id"])): row for row in read_rows(folder / MANIFEST)}
    wanted = _wanted(rows, path, folder, samples)
    notes = _changes(folder, plan, devices[0].partition(":")[0])
    with tempfile.TemporaryDirectory(prefix="parhelion-") as place:
        made = _made_again(plan, wanted, Path(place), tuple(devices), threads, observer)
    comparisons = []
    for key in wanted:
        end, row = made[key], rows[key]
        after = str(end.file["sha256"]) if end.file is not None else ""
        fault = end.failure.error if end.failure is not None else ""
        comparisons.append(Comparison(file=str(row["file"]), before=str(row["sha256"]), after=after, fault=fault))
    return Reproduction(comparisons=tuple(comparisons), notes=notes)


def _wanted(rows: dict[Wanted, Any], path: Path, folder: Path, samples: Sequence[str]) -> list[Wanted]:
    """The rows to make again, in the order of the manifest."""
    if not rows:
        raise RunRefused(f"{folder} has no finished samples in its {MANIFEST}")
    if path != folder:
        inside = path.relative_to(folder).as_posix()
        found = [key for key, row in rows.items() if inside == row["file"] or inside.startswith(f"{row['file']}/")]
        if not found:
            known = [str(row["file"]) for row in rows.values()]
            raise RunRefused(f"{inside} is no file of the run; {nearest(inside, known[:1000])}")
        return found
    ids = dict.fromkeys(name for _, name in rows)
    for name in samples:
        if name not in ids:
            raise RunRefused(f"unknown sample `{name}`; {nearest(name, list(ids)[:1000])}")
    if samples:
        return [key for key in rows if key[1] in samples]
    first = {key[0]: key for key in reversed(rows)}
    return [key for key in rows if first[key[0]] == key]


def _changes(folder: Path, plan: Plan, device: str) -> tuple[str, ...]:
    """Packages that differ from those of the run; RunRefused for other differences."""
    models = {name: {**facts, "weights_hash": _hash_of(name, facts)} for name, facts in plan.models.items()}
    now = identity_of(
        seed=plan.seed, prompts=plan.prompts, matrix=plan.matrix, steps=plan.steps, models=models, device=device
    )
    found = differences(read_identity(folder), now)
    grave = [line for line in found if not line.startswith("packages.")]
    if grave:
        raise RunRefused(f"{folder} cannot be made again here:\n" + "\n".join(f"  {line}" for line in grave))
    return tuple(found)


def _hash_of(name: str, facts: Mapping[str, Any]) -> str | None:
    if facts["weights_hash"] is None:
        return None
    try:
        return describe(str(facts["source"]), dict(facts["overrides"])).weights_hash()
    except (ValueError, OSError) as error:
        raise ModelError(f"model `{name}`: {error}") from error


def _made_again(
    plan: Plan, wanted: Sequence[Wanted], place: Path, devices: tuple[str, ...], threads: int, observer: Observer
) -> dict[Wanted, Finished]:
    """The ends of the wanted samples, exported below `place`."""
    (place / MEDIA).mkdir()
    chosen = set(wanted)

    def todo(task: Task) -> list[bool]:
        return [(task.step, sample.id) in chosen for sample in plan.samples(task)]

    kind = cast(type[Executor], resolve(EXECUTORS, "local"))
    executor = kind(Setting(folder=place, token=uuid.uuid4().hex, devices=devices[:1], threads=threads))
    known = {(step.name, sample.id) for step, sample in exported(plan)}
    absent = sorted(chosen - known)
    if absent:
        raise RunRefused(f"sample `{absent[0][1]}` of step `{absent[0][0]}` is none of the plan")
    return {(each.task.step, each.sample.id): each for each in executor.run(plan, todo, observer)}
