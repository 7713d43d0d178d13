"""WorkflowSpec -> Plan: defaults filled in, samples counted, batches and pools fixed, file names checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

from orchestrator.catalog import EXPORTERS, STAGES
from orchestrator.families import planned_options
from orchestrator.fingerprint import fingerprint_of, identity_of
from orchestrator.models import PlannedModel
from orchestrator.options import encode_options, export_options
from orchestrator.paths import DEFAULT_TEMPLATE, fields_of, file_name
from orchestrator.placement import Placement
from orchestrator.plan import Plan, Pool, Step, sample_id
from orchestrator.recipe import resolved_options
from orchestrator.sizes import planned_size, resolved_size
from orchestrator.spec import WorkflowSpec, readers_of
from orchestrator.validation import cells_of, substitute

MEDIA = "media"
"""The folder of a run folder that holds what was made."""
BATCH_TOKENS = 4096
"""Default batches of generate and extrapolate hold at most so many tokens; more rarely pays (docs/workflow.md)."""
BATCH_UNITS = 2**20
"""Default batches of decode hold at most so many media units (pixels, samples, points)."""


def build_plan(spec: WorkflowSpec, where: Placement, *, hash_weights: bool = True) -> Plan:
    """The plan of a workflow. Equal workflows, weights, versions and kinds of device give equal fingerprints.

    where: decides pools and precision. hash_weights: read all weight files; without it the fingerprint stands for the
    workflow alone. WorkflowError when two samples would be written to one file.
    """
    steps: list[Step] = []
    for name in spec.graph.order:
        steps.append(_step(spec, name, {step.name: step for step in steps}))
    steps = [_without_unused_latents(step) for step in steps]
    models = {name: _model_facts(spec.models[name], where, hash_weights) for name in spec.models}
    pools = _pools(steps, spec, where)
    identity = identity_of(
        seed=spec.seed, prompts=spec.prompts, matrix=spec.matrix, steps=steps, models=models, device=where.kind
    )
    plan = Plan(
        name=spec.name,
        seed=spec.seed,
        prompts=spec.prompts,
        steps=tuple(steps),
        matrix=spec.matrix,
        pools=pools,
        models=models,
        output=spec.output,
        fingerprint=fingerprint_of(identity),
        identity=identity,
        workflow_text=spec.text,
    )
    _check_files(spec, plan)
    spec.document.raise_problems()
    return plan


def _step(spec: WorkflowSpec, name: str, earlier: Mapping[str, Step]) -> Step:
    raw, graph = spec.raw[name], spec.graph
    stage = graph.shapes[name].stage
    facts = STAGES[stage].facts
    is_stochastic = any(STAGES[graph.shapes[step].stage].facts.get("stochastic") for step in graph.above(name))
    options = _options(spec, name)
    return Step(
        name=name,
        stage=stage,
        options=options,
        reads=dict(graph.reads[name]),
        axes=spec.axes(name),
        repetitions=spec.repetitions if is_stochastic else 1,
        batch_size=int(raw.get("batch_size") or _default_batch(spec, name, options, earlier)),
        pool=_pool(spec, name, str(facts["pool"])),
    )


def _options(spec: WorkflowSpec, name: str) -> dict[str, Any]:
    raw, stage = spec.raw[name], spec.graph.shapes[name].stage
    if stage == "export":
        several = sum(shape.stage == "export" for shape in spec.graph.shapes.values()) > 1
        default = f"{name}/{DEFAULT_TEMPLATE}" if several else DEFAULT_TEMPLATE
        model = spec.models[spec.chosen[spec.graph.reads[name]["media"]]]
        return export_options(raw, default, model.modality, model.rate)
    model = spec.models[spec.chosen[name]]
    if stage == "encode":
        return encode_options(raw, model.name, readers_of(spec.graph, spec.chosen, name))
    if stage == "decode":
        return {"model": model.name}
    description = model.description
    has_latents = "latents" in spec.graph.reads[name]
    size = planned_size(raw, description.default_size, model.units[0], model.rate, model.offset[0])
    return planned_options(raw, model, size, has_latents)


def _without_unused_latents(step: Step) -> Step:
    """An extrapolate step that always starts from noise does not read earlier latents."""
    if step.options.get("strength") != 1 or "latents" not in step.reads:
        return step
    reads = {kind: writer for kind, writer in step.reads.items() if kind != "latents"}
    return replace(step, reads=reads)


def _default_batch(spec: WorkflowSpec, name: str, options: Mapping[str, Any], earlier: Mapping[str, Step]) -> int:
    """The stage's usual batch, or fewer large samples. It depends on the workflow alone, never on the machine."""
    stage = spec.graph.shapes[name].stage
    usual = int(STAGES[stage].facts["batch"])
    if stage not in ("generate", "extrapolate", "decode"):
        return usual
    model = spec.models[spec.chosen[name]]
    size = earlier[spec.graph.reads[name]["latents"]].options["size"] if stage == "decode" else options["size"]
    sizes = [resolved_size(substitute(size, dict(cell))) for cell in cells_of(spec.axes(name), spec.matrix)]
    if stage == "decode":
        return max(1, min(usual, BATCH_UNITS // max(map(prod, sizes))))
    return max(1, min(usual, BATCH_TOKENS // max(map(model.num_tokens, sizes)))) if model.is_known else usual


def _pool(spec: WorkflowSpec, name: str, group: str) -> str:
    if group == "export":
        return "export"
    model = spec.models[spec.chosen[name]]
    return f"text:{model.encoder_name}" if group == "text" else f"model:{model.name}"


def _model_facts(model: PlannedModel, where: Placement, hash_weights: bool) -> dict[str, Any]:
    description = model.description
    precision = model.precision
    if precision == "auto":
        precision = "bfloat16" if where.kind == "cuda" else "float32"
    return {
        "source": model.source,
        "overrides": dict(model.overrides),
        "precision": precision,
        "weights_hash": description.weights_hash() if hash_weights and description.folder is not None else None,
        "modality": description.modality,
        "family": description.family,
        "parameters": description.parameters,
        "native_size": list(description.native_size),
        "text_encoder": model.encoder_name,
        "codec": str(description.codec.get("kind")),
        "parts": [str(description.text_encoder.get("kind")), *_codec_kinds(description.codec)],
    }


def _codec_kinds(codec: Mapping[str, Any]) -> list[str]:
    """The kind of a codec, and those of the codecs inside it."""
    inner = codec.get("codec")
    return [str(codec.get("kind")), *(_codec_kinds(inner) if isinstance(inner, Mapping) else [])]


def _pools(steps: list[Step], spec: WorkflowSpec, where: Placement) -> dict[str, Pool]:
    """Workers of each pool, and what share of a device each of them gets: pools that need one divide them evenly."""
    names = list(dict.fromkeys(step.pool for step in steps))
    workers = {name: where.workers_of(name) for name in names}
    on_device = [name for name in names if where.kind == "cuda" and name != "export" and name != "text:builtin"]
    wanted = sum(workers[name] for name in on_device)
    share = min(1.0, int(100 * len(where.devices) / wanted) / 100) if wanted else 0.0
    return {
        name: Pool(
            name=name,
            workers=workers[name],
            devices=share if name in on_device else 0.0,
            memory_bytes=where.memory_bytes or 0,
        )
        for name in names
    }


def _check_files(spec: WorkflowSpec, plan: Plan) -> None:
    """Report samples that would be written to one file, case left aside, names that are too long, and links outside."""
    taken: dict[str, str] = {}
    parents: set[str] = set()
    for step in plan.steps:
        if step.stage != "export":
            continue
        at = ("steps", step.name, "path") if "path" in spec.raw[step.name] else ("steps", step.name)
        try:
            clash = _clash(plan, step, taken, parents)
        except ValueError as error:
            clash = str(error)
        if clash:
            spec.document.report(at, clash)
    for parent in sorted(parents):
        if parent.casefold() in taken:
            what = f"media/{parent} would be {taken[parent.casefold()]} and a folder of others"
            spec.document.report(("steps",), f"{what}; give one of the steps another path", at_key=True)
    folder = Path(plan.output)
    if (folder / MEDIA).exists():
        home = folder.resolve()
        for parent in sorted(parents):
            target = (folder / MEDIA / parent).resolve()
            if not target.is_relative_to(home):
                spec.document.report(("output",), f"{folder / MEDIA / parent} is a link that leads to {target}")


def _clash(plan: Plan, step: Step, taken: dict[str, str], parents: set[str]) -> str:
    """What is wrong with the files of a step, or nothing. Adds them to `taken`, and their folders to `parents`."""
    for cell in plan.cells(step):
        suffix = str(EXPORTERS[str(resolved_options(step, dict(cell))["format"]["name"])].facts["suffix"])
        for prompt in plan.prompts:
            for repetition in range(step.repetitions):
                name = sample_id(prompt.id, repetition, step.repetitions, cell)
                fields = fields_of(name, prompt.id, step.name, repetition, dict(cell), suffix)
                file = file_name(str(step.options["path"]), fields)
                parents |= {"", *accumulate(file.split("/")[:-1], "{}/{}".format)}
                other = taken.setdefault(file.casefold(), f"sample `{name}` of step `{step.name}`")
                if other != f"sample `{name}` of step `{step.name}`":
                    return (
                        f"sample `{name}` and {other} would both be written to media/{file}; "
                        "add {id}, {step} or a matrix parameter to the path"
                    )
    return ""
