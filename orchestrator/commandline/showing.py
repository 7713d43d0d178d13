"""`parhelion plan`: an estimate as a table for people, or as plain values for programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from orchestrator.estimate import Estimate, StepEstimate
from orchestrator.placement import Placement
from orchestrator.plan import Plan, Step
from orchestrator.progress import shown_seconds
from orchestrator.recipe import resolved_options
from orchestrator.sizes import shown_size

_HEADINGS = ("step", "stage", "samples", "batch", "size", "tokens", "evals", "FLOPs", "time", "memory", "pool")


def plan_lines(plan: Plan, estimate: Estimate, where: Placement) -> list[str]:
    """The plan as text."""
    export = [step for step in plan.steps if step.stage == "export"]
    files = sum(entry.samples for entry in estimate.steps if entry.stage == "export")
    return [
        f"workflow {plan.name}: {len(plan.prompts)} prompts, seed {plan.seed}, {files} files",
        *(f"  {model_line(name, facts)}" for name, facts in plan.models.items()),
        "",
        *_table([_HEADINGS, *(_row(plan, entry) for entry in estimate.steps)]),
        "",
        *_pool_lines(plan, estimate, where),
        _time_line(estimate),
        _fit_line(estimate, where),
        *(f"files: {plan.output}/media/{step.options['path']}" for step in export),
        f"fingerprint: {plan.fingerprint[:16]}",
    ]


def model_line(name: str, facts: Any) -> str:
    """One line about a model."""
    known = facts["native_size"]
    size = shown_size(known, facts["modality"]) if known else "a size unknown before it is downloaded"
    count = f"{facts['parameters'] / 1e6:,.1f} M parameters, " if facts["parameters"] else ""
    return f"model {name}: {facts['source']} ({facts['modality']}, {count}{facts['precision']}, trained at {size})"


def plan_values(plan: Plan, estimate: Estimate, where: Placement) -> dict[str, Any]:
    """The plan and its estimate as plain values for JSON."""
    return {
        "name": plan.name,
        "seed": plan.seed,
        "prompts": len(plan.prompts),
        "matrix": {axis: list(values) for axis, values in plan.matrix.items()},
        "output": plan.output,
        "fingerprint": plan.fingerprint,
        "executor": where.chosen_executor(),
        "devices": list(where.devices),
        "models": {name: dict(facts) for name, facts in plan.models.items()},
        "pools": {name: dataclasses.asdict(pool) for name, pool in plan.pools.items()},
        "steps": [
            {
                **dataclasses.asdict(entry),
                "batch_size": plan.step(entry.step).batch_size,
                "reads": dict(plan.step(entry.step).reads),
                "options": dict(plan.step(entry.step).options),
            }
            for entry in estimate.steps
        ],
        "seconds": estimate.seconds,
        "memory_bytes": dict(estimate.memory_bytes),
        "limit_bytes": estimate.limit_bytes,
        "total_bytes": estimate.total_bytes,
        "fits": estimate.fits,
    }


def _row(plan: Plan, entry: StepEstimate) -> tuple[str, ...]:
    tokens = "" if entry.tokens is None else "-".join(f"{count:,}" for count in dict.fromkeys(entry.tokens))
    return (
        entry.step,
        entry.stage,
        f"{entry.samples:,}",
        str(plan.step(entry.step).batch_size),
        _sizes(plan, plan.step(entry.step)),
        tokens,
        str(entry.evaluations or ""),
        "" if not entry.flops else _short(entry.flops),
        "unknown" if entry.seconds is None else shown_seconds(entry.seconds) + ("" if entry.is_measured else " *"),
        "" if entry.memory_bytes is None else shown_bytes(entry.memory_bytes),
        entry.pool,
    )


def _sizes(plan: Plan, step: Step) -> str:
    """The sizes that a step makes in the cells of the matrix: one, or the first and the last."""
    if "size" not in step.options:
        return ""
    modality = str(plan.models[str(step.options["model"])]["modality"])
    sizes = [shown_size(resolved_options(step, dict(cell))["size"], modality) for cell in plan.cells(step)]
    every = list(dict.fromkeys(sizes))
    return every[0] if len(every) == 1 else f"{every[0]} .. {every[-1]}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 1, 4, len(widths) - 1}
    return [
        "  ".join(
            f"{cell:<{width}}" if n in left else f"{cell:>{width}}"
            for n, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _pool_lines(plan: Plan, estimate: Estimate, where: Placement) -> list[str]:
    lines = [
        f"executor {where.chosen_executor()} on {', '.join(where.devices)}"
        + (f", cluster {where.address}" if where.address else "")
    ]
    for name, pool in plan.pools.items():
        need = estimate.memory_bytes[name]
        memory = "memory unknown" if need is None else f"about {shown_bytes(need)} each"
        share = f", {pool.devices:g} device each" if pool.devices else ""
        lines.append(f"  {name}: {pool.workers} worker{'s' if pool.workers > 1 else ''}, {memory}{share}")
    return lines


def _time_line(estimate: Estimate) -> str:
    if estimate.seconds is None:
        return "time: unknown until the model is on this machine"
    if all(entry.is_measured for entry in estimate.steps):
        return f"time: about {shown_seconds(estimate.seconds)}, from rates measured on this machine"
    return f"time: about {shown_seconds(estimate.seconds)} (* from a cautious constant; a run measures this machine)"


def _fit_line(estimate: Estimate, where: Placement) -> str:
    if estimate.limit_bytes is None:
        return "memory: not compared; " + ("the cluster decides" if where.address else "this machine does not tell")
    limit = shown_bytes(estimate.limit_bytes)
    if estimate.total_bytes is None:
        return f"memory: unknown need; there are {limit}"
    verdict = "fits" if estimate.fits else "does NOT fit"
    return f"memory: {verdict}: about {shown_bytes(estimate.total_bytes)} of {limit}"


def shown_bytes(count: float) -> str:
    """`850 MiB`, `3.2 GiB`."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"


def _short(number: float) -> str:
    for unit, scale in (("E", 1e18), ("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6)):
        if number >= scale:
            return f"{number / scale:.3g} {unit}"
    return f"{number:.0f}"
