"""How a sample is made, read off the plan alone: resolved options, seeds, sizes, and the row that manifests hold.

Nothing here depends on when, where or in which order the sample was made, so equal runs give equal rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from orchestrator.item import Sample
from orchestrator.plan import Plan, Step, derive_seed
from orchestrator.sizes import resolved_size
from orchestrator.validation import substitute


def resolved_options(step: Step, cell: Mapping[str, Any]) -> dict[str, Any]:
    """What a stage is constructed with in one cell of the matrix."""
    options = {name: substitute(value, cell) for name, value in step.options.items()}
    return {**options, "size": resolved_size(options["size"])} if "size" in options else options


def making_steps(plan: Plan, step: Step) -> list[Step]:
    """`step` and every step that feeds it, in the plan's order."""
    found = {step.name}
    for earlier in reversed(plan.steps):
        if earlier.name in found:
            found |= set(earlier.reads.values())
    return [earlier for earlier in plan.steps if earlier.name in found]


def recipe(plan: Plan, step: Step, sample: Sample) -> dict[str, Any]:
    """What made a sample of `step`: prompt, matrix parameters, and for each generating step its seed and options.

    The seed, size, sampler and guidance of the last generating step stand at the top; earlier ones are under `after`.
    """
    made: list[dict[str, Any]] = []
    model = None
    negative = None
    for earlier in making_steps(plan, step):
        cell = {axis: sample.cell[axis] for axis in earlier.axes}
        options = resolved_options(earlier, cell)
        if earlier.stage == "encode":
            negative = options.get("negative_prompt") or None
        if earlier.stage not in ("generate", "extrapolate"):
            continue
        model = options.get("model", model)
        repetition = sample.repetition if earlier.repetitions > 1 else 0
        made.append(
            {
                "step": earlier.name,
                "stage": earlier.stage,
                "seed": derive_seed(plan.seed, sample.prompt_id, earlier.name, repetition),
                **{name: value for name, value in sorted(options.items()) if name != "model" and value is not None},
            }
        )
    description = plan.models.get(model, {}) if model is not None else {}
    last: dict[str, Any] = dict(made[-1]) if made else {}
    last.pop("step", None)
    last.pop("stage", None)
    return {
        "id": sample.id,
        "prompt_id": sample.prompt_id,
        "prompt": sample.prompt,
        **({"negative_prompt": negative} if negative else {}),
        "step": sample.step,
        "repetition": sample.repetition,
        "cell": dict(sample.cell),
        **last,
        **({"after": made[:-1]} if len(made) > 1 else {}),
        "model": model,
        "model_hash": description.get("weights_hash"),
    }
