"""What a run has made: the ledger of finished samples, the manifest, and the dead letters.

While a run goes on, each finished sample is one line of `journal.jsonl`, appended after its file has its final name.
When it ends, the lines become `manifest.jsonl` in the plan's order: steps, then prompts, then cells of the matrix.
Lines are copied, never rewritten, so a run that was killed and resumed ends with the same bytes as one that was left
alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from orchestrator.executors.base import Failure, Finished
from orchestrator.item import Sample
from orchestrator.media_files import is_intact
from orchestrator.plan import Plan, Step, Task
from orchestrator.recipe import recipe

MANIFEST = "manifest.jsonl"
JOURNAL = "journal.jsonl"
DEAD_LETTERS = "dead_letters.jsonl"
_SYNC_SECONDS = 1.0

Ordinal = tuple[int, int, int]
"""Where a sample stands in a manifest: step, number within its cell, cell."""


class Ledger:
    """Which exported samples of a plan are finished, kept in a run folder so that it outlives the process."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        """Read what an earlier run left. A sample counts as finished when its file is there with the right length."""
        self.plan = plan
        self.folder = folder
        self._index = _Index(plan)
        self._finished = {
            (step.name, cell): bytearray(plan.num_samples(step)) for step, cell in self._index.exported_cells()
        }
        self._journal = _Lines(folder / JOURNAL)
        self._letters = _Lines(folder / DEAD_LETTERS)
        self.num_resumed = sum(1 for _ in self._read_finished())

    @property
    def num_samples(self) -> int:
        """Exported samples of the whole plan."""
        return sum(len(marks) for marks in self._finished.values())

    @property
    def num_finished(self) -> int:
        """Exported samples that are finished."""
        return sum(sum(marks) for marks in self._finished.values())

    def todo(self, task: Task) -> list[bool]:
        """For a task that exports, which samples are unfinished; nothing is wanted of other tasks."""
        marks = self._finished.get((task.step, task.cell))
        step = self.plan.step(task.step)
        first = task.batch * step.batch_size
        last = min(first + step.batch_size, self.plan.num_samples(step))
        return [False] * (last - first) if marks is None else [not mark for mark in marks[first:last]]

    def begin(self) -> None:
        """Open the journal for appending and start the dead letters of this run."""
        self._letters.clear()
        self._journal.open()
        self._letters.open()

    def add(self, finished: Finished) -> None:
        """Take down the end of a sample. A sample that failed stays unfinished, so that the next run tries it again."""
        step = self.plan.step(finished.task.step)
        if finished.file is not None:
            self._journal.add(row(self.plan, step, finished.sample, finished.file))
            n = finished.task.batch * step.batch_size + finished.position
            self._finished[finished.task.step, finished.task.cell][n] = 1
        if finished.failure is not None:
            self._letters.add(dead_letter(finished.sample, finished.failure))

    def close(self) -> None:
        """Make durable what was taken down. The run can be resumed from here."""
        self._journal.close()
        self._letters.close()

    def conclude(self) -> None:
        """Turn the journal into the manifest, in the plan's order, and put the dead letters in that order too."""
        self.close()
        manifest, journal = self.folder / MANIFEST, self.folder / JOURNAL
        _sort_lines([manifest, journal], manifest, self._finished_ordinal)
        journal.unlink(missing_ok=True)
        letters = self.folder / DEAD_LETTERS
        if letters.exists() and letters.stat().st_size == 0:
            letters.unlink()
        elif letters.exists():
            _sort_lines([letters], letters, self._index.ordinal)

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows of the manifest, in order."""
        yield from read_rows(self.folder / MANIFEST)

    def _read_finished(self) -> Iterator[Ordinal]:
        for path in (self.folder / MANIFEST, self.folder / JOURNAL):
            for line in read_rows(path):
                ordinal = self._index.ordinal(line)
                if ordinal is None or not is_intact(self.folder / str(line.get("file")), line):
                    continue
                key = self._index.key(ordinal)
                if not self._finished[key][ordinal[1]]:
                    self._finished[key][ordinal[1]] = 1
                    yield ordinal

    def _finished_ordinal(self, line: Mapping[str, Any]) -> Ordinal | None:
        ordinal = self._index.ordinal(line)
        if ordinal is None or not self._finished[self._index.key(ordinal)][ordinal[1]]:
            return None
        return ordinal


def row(plan: Plan, step: Step, sample: Sample, file: Mapping[str, Any]) -> dict[str, Any]:
    """A sample's row of the manifest: what made it, then its file, length and hash. Equal runs give equal rows."""
    return {**recipe(plan, step, sample), **file}


def dead_letter(sample: Sample, failure: Failure) -> dict[str, Any]:
    """A sample that could not be made: who it is, where and why it failed, with which parameters and seed."""
    return {
        "id": sample.id,
        "prompt_id": sample.prompt_id,
        "prompt": sample.prompt,
        "step": sample.step,
        "repetition": sample.repetition,
        "cell": dict(sample.cell),
        "failed_step": failure.step,
        "failed_sample": failure.sample,
        "error": failure.error,
        "parameters": dict(failure.parameters),
        "seed": failure.seed,
        "attempts": failure.attempts,
        "worker": failure.worker,
        "trace": failure.trace,
    }


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of a file of JSON lines. A line that was cut short by the end of its process is left out."""
    for _, _, line in _whole_lines(path):
        yield line


def write_aside(path: Path, text: str) -> None:
    """Write a file so that it is either the old one or the whole new one, whatever happens."""
    aside = path.with_name(f".{path.name}.part")
    with aside.open("w", encoding="utf-8", newline="\n") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


class _Index:
    """From a row to its place in the plan's order, and back."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._steps = [step for step in plan.steps if step.stage == "export"]
        self._step_numbers = {step.name: number for number, step in enumerate(self._steps)}
        self._prompts = {prompt.id: number for number, prompt in enumerate(plan.prompts)}
        self._cells = [list(plan.cells(step)) for step in self._steps]
        self._cell_numbers = [{_cell_key(dict(cell)): n for n, cell in enumerate(cells)} for cells in self._cells]

    def exported_cells(self) -> Iterator[tuple[Step, tuple[tuple[str, Any], ...]]]:
        for step, cells in zip(self._steps, self._cells, strict=True):
            for cell in cells:
                yield step, cell

    def ordinal(self, line: Mapping[str, Any]) -> Ordinal | None:
        try:
            step = self._step_numbers[line["step"]]
            cell = self._cell_numbers[step][_cell_key(line["cell"])]
            number = self._prompts[line["prompt_id"]] * self._steps[step].repetitions + int(line["repetition"])
        except (KeyError, TypeError, ValueError):
            return None
        return step, number, cell

    def key(self, ordinal: Ordinal) -> tuple[str, tuple[tuple[str, Any], ...]]:
        step, _, cell = ordinal
        return self._steps[step].name, self._cells[step][cell]


class _Lines:
    """A file of JSON lines that grows. Every line reaches the system at once and the disk about once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._synced = 0.0

    def clear(self) -> None:
        self._path.unlink(missing_ok=True)

    def open(self) -> None:
        file = self._path.open("ab", buffering=0)
        if file.tell() and not self._path.read_bytes().endswith(b"\n"):
            file.write(b"\n")
        self._file = file

    def add(self, line: Mapping[str, Any]) -> None:
        assert self._file is not None, "the file is not open"
        self._file.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        if time.monotonic() - self._synced > _SYNC_SECONDS:
            os.fsync(self._file.fileno())
            self._synced = time.monotonic()

    def close(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None


def _cell_key(cell: Mapping[str, Any]) -> str:
    return json.dumps(cell, sort_keys=True)


def _whole_lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """(offset, length, value) of each line that is whole and holds a JSON object."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        offset = 0
        for raw in file:
            if raw.endswith(b"\n"):
                try:
                    value = json.loads(raw)
                except ValueError:
                    value = None
                if isinstance(value, dict):
                    yield offset, len(raw), value
            offset += len(raw)


def _sort_lines(sources: list[Path], target: Path, ordinal_of: Any) -> None:
    """Write the lines of `sources` to `target` in the order of their ordinals, each sample once.

    Holds no line in memory.
    """
    places: dict[Ordinal, tuple[int, int, int]] = {}
    for number, source in enumerate(sources):
        for offset, length, line in _whole_lines(source):
            ordinal = ordinal_of(line)
            if ordinal is not None:
                places[ordinal] = (number, offset, length)
    aside = target.with_name(f".{target.name}.part")
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(source.open("rb")) if source.exists() else None for source in sources]
        output = stack.enter_context(aside.open("wb"))
        for ordinal in sorted(places):
            number, offset, length = places[ordinal]
            file = files[number]
            assert file is not None
            file.seek(offset)
            output.write(file.read(length))
        output.flush()
        os.fsync(output.fileno())
    aside.replace(target)
