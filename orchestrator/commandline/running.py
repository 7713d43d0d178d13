"""`parhelion run`: read, plan, run, and say where the files are."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.building import build_plan
from orchestrator.commandline.placing import check_workers
from orchestrator.estimate import Estimate, estimate, report_memory
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.progress import Progress, shown_seconds, watching
from orchestrator.rates import rate_key, write_rates
from orchestrator.spec import WorkflowSpec, read_workflow

if TYPE_CHECKING:
    from orchestrator.run import RunResult

LEAST_MEASURED_SECONDS = 0.5
"""A rate is kept when at least so much work stands behind it."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asked for. style: see `orchestrator.progress.watching`."""

    workflow: Path
    where: Placement
    output: str | None
    limit: int | None
    fresh: bool
    style: str


def run_workflow(request: Request) -> int:
    """Run a workflow to its end; answers the exit status: 0, or 1 when samples are in the dead letters."""
    from orchestrator.commandline.application import narrowed

    spec = _read(request)
    spec = narrowed(spec, request.output, request.limit)
    plan = build_plan(spec, request.where)
    check_workers(plan, request.where.workers)
    report_memory(spec, plan, request.where)
    predicted = estimate(spec, plan, request.where)
    _say(request, f"{plan.name}: {len(plan.prompts)} prompts -> {plan.output}; {_expected(predicted)}")
    runner = importlib.import_module("orchestrator.run")
    stream = sys.stdout if request.style == "json" else sys.stderr
    with watching(plan, request.style, stream) as (progress, observer):
        seconds = {entry.step: entry.seconds for entry in predicted.steps if entry.seconds is not None}
        result: RunResult = runner.run(plan, request.where, observer, request.fresh, seconds)
    write_rates(_measured(predicted, progress, plan, request.where))
    _conclude(request, result)
    return 1 if result.failed else 0


def _read(request: Request) -> WorkflowSpec:
    """The workflow, after hub models that are not here were downloaded; its other faults come first."""
    spec = read_workflow(request.workflow)
    absent = [model.source for model in spec.models.values() if model.description.folder is None]
    if not absent:
        return spec
    _say(request, f"downloading {', '.join(absent)}")
    return read_workflow(request.workflow, fetch=True)


def _say(request: Request, text: str) -> None:
    if request.style not in {"quiet", "json"}:
        print(text, file=sys.stderr, flush=True)


def _expected(predicted: Estimate) -> str:
    return "time unknown" if predicted.seconds is None else f"about {shown_seconds(predicted.seconds)}"


def _measured(predicted: Estimate, progress: Progress, plan: Plan, where: Placement) -> dict[str, float]:
    """Units a second of one worker, for each step that did enough."""
    found: dict[str, float] = {}
    for entry in predicted.steps:
        count = progress.counts[entry.step]
        if entry.units and entry.samples and count.done and count.busy >= LEAST_MEASURED_SECONDS:
            units = entry.units * count.done / entry.samples
            found[rate_key(where.kind, entry.stage, entry.part)] = units / count.busy
    return found


def _conclude(request: Request, result: RunResult) -> None:
    if request.style == "json":
        print(json.dumps({"kind": "finished", **_plain(result)}, ensure_ascii=False), flush=True)
        return
    if request.style == "quiet":
        return
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    resumed = f", {result.resumed} were there already" if result.resumed else ""
    failed = f", {result.failed} failed (see {result.folder / 'dead_letters.jsonl'})" if result.failed else ""
    print(f"{result.made} made{resumed}{failed} in {shown_seconds(result.seconds)}: {_shown(result.folder)}")
    print(f"look at them: {_shown(result.page)}")


def _plain(result: RunResult) -> Mapping[str, Any]:
    values = {name: getattr(result, name) for name in ("made", "resumed", "failed", "seconds", "notes")}
    return {**values, "folder": str(result.folder), "page": str(result.page)}


def _shown(path: Path) -> str:
    """A path as short as it can be said from here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
