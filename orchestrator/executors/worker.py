"""The worker: the stages of one pool and the models they share. The same code runs in a thread and in a Ray actor.

A batch that fails is halved until the failing sample is alone; that one is tried again, and then a Failure takes its
place. Later steps pass a Failure on untouched, so the rest of the run goes on.
"""

from __future__ import annotations

import functools
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import torch

from orchestrator.catalog import STAGES, resolve
from orchestrator.errors import ParhelionError, StageError
from orchestrator.executors.base import Failure, Setting
from orchestrator.executors.schedule import Work
from orchestrator.item import Item
from orchestrator.plan import Plan, Task
from orchestrator.recipe import recipe, resolved_options
from orchestrator.stages.base import Outcome, Stage
from orchestrator.stages.models import ModelStore

Values = Mapping[str, Any] | Failure
"""What travels from task to task for one sample: the values that the step writes, or the failure in their place."""

_LONGEST_TRACE = 4000
_MOST_STAGES = 256
_LONGEST_WORKFLOW = 16_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a worker says of a piece of work. Small: it travels through the driver.

    ends: for an exporting task, (position in the batch, file facts, failure) of each sample that was to be written.
    failed: samples that failed in this step (not those that arrived failed).
    """

    task: Task
    worker: str
    samples: int
    failed: int
    seconds: float
    notes: tuple[str, ...]
    ends: tuple[tuple[int, Mapping[str, Any] | None, Failure | None], ...]


class Worker:
    """Holds the stages of one pool. `plan` may be without prompts: work brings its samples along."""

    def __init__(self, plan: Plan, pool: str, setting: Setting, name: str, models: ModelStore) -> None:
        self.plan = plan
        self.name = name
        self._pool = pool
        self._setting = setting
        self._models = models
        self._stage = functools.lru_cache(maxsize=_MOST_STAGES)(self._make_stage)
        read = {writer for step in plan.steps for writer in step.reads.values()}
        self._targets = {step.name for step in plan.steps if step.name not in read}

    def setup(self) -> float:
        """Load the models of the pool; answers the seconds it took. Raises ModelError."""
        started = time.perf_counter()
        torch.set_num_threads(self._setting.threads)
        for step in self.plan.steps:
            if step.pool == self._pool:
                self._stage(step.name, next(iter(self.plan.cells(step))))
        return time.perf_counter() - started

    def run(self, work: Work, inputs: Sequence[Sequence[Values]]) -> tuple[Report, list[Values]]:
        """Do a piece of work. inputs: the values of the tasks that feed it, in the order that `work.sources` counts."""
        started = time.perf_counter()
        step = self.plan.step(work.task.step)
        stage = self._stage(work.task.step, work.task.cell)
        values: list[Values] = [{} for _ in work.samples]
        live: list[int] = []
        items: list[Item] = []
        for index, sample in enumerate(work.samples):
            gathered = _gather(work, index, inputs)
            if isinstance(gathered, Failure):
                values[index] = gathered
            elif work.wanted[index]:
                live.append(index)
                items.append(Item(sample=sample, values={**gathered, "recipe": recipe(self.plan, step, sample)}))
        with torch.inference_mode():
            outcomes = self._isolate(stage, items) if items else []
        failed = 0
        for index, outcome in zip(live, outcomes, strict=True):
            failed += isinstance(outcome, Failure)
            values[index] = outcome if isinstance(outcome, Failure) else _written(outcome, stage)
        notes, stage.notes = tuple(stage.notes), []
        is_target = work.task.step in self._targets
        report = Report(
            task=work.task,
            worker=self.name,
            samples=len(work.samples),
            failed=failed,
            seconds=time.perf_counter() - started,
            notes=notes,
            ends=tuple(_ends(work, values)) if is_target else (),
        )
        return report, [] if is_target else values

    def _make_stage(self, step_name: str, cell: tuple[tuple[str, Any], ...]) -> Stage:
        step = self.plan.step(step_name)
        options = resolved_options(step, dict(cell))
        stage_class = cast(type[Stage], resolve(STAGES, step.stage))
        if "file" in stage_class.writes:
            options |= {"folder": str(self._setting.folder), "workflow": shown_workflow(self.plan.workflow_text)}
        stage = stage_class(options, self._models)
        stage.setup()
        return stage

    def _isolate(self, stage: Stage, items: Sequence[Item]) -> list[Item | Failure]:
        """What a stage makes of items, each on its own merits. Errors that no sample is to blame for are raised."""
        outcomes: Sequence[Outcome] | Exception
        attempts = 1 if len(items) > 1 else self._setting.attempts
        for _ in range(attempts):
            outcomes = self._attempt(stage, items)
            if not isinstance(outcomes, Exception):
                return [
                    self._failure(item, outcome, 1) if isinstance(outcome, StageError) else outcome
                    for item, outcome in zip(items, outcomes, strict=True)
                ]
        if len(items) == 1:
            return [self._failure(items[0], cast(Exception, outcomes), attempts)]
        middle = len(items) // 2
        return self._isolate(stage, items[:middle]) + self._isolate(stage, items[middle:])

    def _attempt(self, stage: Stage, items: Sequence[Item]) -> Sequence[Outcome] | Exception:
        try:
            return stage.process(items)
        except ParhelionError as error:
            if not isinstance(error, StageError):
                raise
            return error
        except Exception as error:  # the worker's border: whatever a model may raise becomes a sample's failure
            if isinstance(error, torch.OutOfMemoryError):
                torch.cuda.empty_cache()
            return error

    def _failure(self, item: Item, error: Exception, attempts: int) -> Failure:
        step = self.plan.step(item.sample.step)
        reason = error.reason if isinstance(error, StageError) else f"{type(error).__name__}: {error}"
        cell = {axis: item.sample.cell[axis] for axis in step.axes}
        return Failure(
            step=item.sample.step,
            sample=item.sample.id,
            error=reason,
            trace="".join(traceback.format_exception(error))[-_LONGEST_TRACE:],
            parameters=resolved_options(step, cell),
            seed=item.sample.seed,
            attempts=attempts,
            worker=self.name,
        )


def failed_report(plan: Plan, work: Work, reason: str, worker: str, *, is_target: bool) -> tuple[Report, list[Values]]:
    """The report, and the values, of work that ended its workers: every sample of it has failed."""
    step = plan.step(work.task.step)
    failures = [
        Failure(
            step=step.name,
            sample=sample.id,
            error=reason,
            trace="",
            parameters=resolved_options(step, dict(work.task.cell)),
            seed=sample.seed,
            attempts=1,
            worker=worker,
        )
        for sample in work.samples
    ]
    report = Report(
        task=work.task,
        worker=worker,
        samples=len(failures),
        failed=len(failures),
        seconds=0.0,
        notes=(),
        ends=tuple(_ends(work, failures)) if is_target else (),
    )
    return report, list(failures)


def without_prompts(plan: Plan) -> Plan:
    """The plan that a worker needs: everything but the prompts, which work brings along."""
    return replace(plan, prompts=(), workflow_text=shown_workflow(plan.workflow_text))


def shown_workflow(text: str) -> str:
    """The workflow as files hold it: whole, or a pointer when a long list of prompts would swell every file."""
    return text if len(text) <= _LONGEST_WORKFLOW else f"left out for its length of {len(text)}; see workflow.yaml"


def _gather(work: Work, index: int, inputs: Sequence[Sequence[Values]]) -> Values:
    """The values that one sample of the work reads, or the failure that stands in for any of them."""
    gathered: dict[str, Any] = {}
    for kind, places in work.sources.items():
        handle, position = places[index]
        found = inputs[handle][position]
        if isinstance(found, Failure):
            return found
        gathered[kind] = found[kind]
    return gathered


def _written(item: Item, stage: Stage) -> Mapping[str, Any]:
    return {kind: item.values[kind] for kind in stage.writes}


def _ends(work: Work, values: Sequence[Values]) -> list[tuple[int, Mapping[str, Any] | None, Failure | None]]:
    ends: list[tuple[int, Mapping[str, Any] | None, Failure | None]] = []
    for index, value in enumerate(values):
        if not work.wanted[index]:
            continue
        if isinstance(value, Failure):
            ends.append((work.positions[index], None, value))
        else:
            ends.append((work.positions[index], value.get("file"), None))
    return ends
