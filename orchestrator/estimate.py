"""What a plan will cost, before anything loads: samples, tokens, operations, seconds, memory, fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from modalities.catalog import CODECS, SAMPLERS
from orchestrator.models import PlannedModel
from orchestrator.paths import shown
from orchestrator.placement import Placement, cuda_memory, machine_memory
from orchestrator.plan import Plan, Step
from orchestrator.rates import START_SECONDS, rate_of, read_rates
from orchestrator.recipe import resolved_options
from orchestrator.sizes import word_given
from orchestrator.spec import WorkflowSpec
from orchestrator.validation import shown_cell

PROCESS_BYTES = 400 * 2**20
"""A Python process with torch loaded."""
TEXT_TOKENS = {"builtin": 16, "huggingface": 64, "class-names": 1}
"""Tokens of a prompt, where only a tokenizer could tell."""
BYTES_OF = {"float32": 4, "bfloat16": 2, "float16": 2}
DECODE_BYTES = 1600
"""Peak memory of decoding one media unit, where the codec's catalog entry does not say (`decode_bytes`)."""
BUILTIN_TEXT_BYTES = 120 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """One step over all cells. None where a model is not on this machine and not known.

    tokens: least and most of one sample. evaluations: network evaluations of one sample, guidance counted twice.
    flops: of the whole step. seconds: of one worker doing all of it. is_measured: whether an earlier run here gave the
    rate. units: what the rate counts, of the whole step. part: whose rate it is. memory_bytes: of one batch, weights
    left out.
    """

    step: str
    stage: str
    pool: str
    samples: int
    tokens: tuple[int, int] | None
    evaluations: int
    flops: int | None
    units: float | None
    part: str
    seconds: float | None
    is_measured: bool
    memory_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A plan's cost.

    seconds: of the slowest pool (of all together, where they share the cores of one process), and the start.
    memory_bytes: pool -> one worker, all included.
    limit_bytes: what one worker may use; None when the machine is not this one or cannot be asked.
    """

    steps: tuple[StepEstimate, ...]
    seconds: float | None
    memory_bytes: Mapping[str, int | None]
    limit_bytes: int | None
    total_bytes: int | None

    @property
    def fits(self) -> bool | None:
        """Whether the workers fit where they run; None when that cannot be told."""
        if self.limit_bytes is None or self.total_bytes is None or None in self.memory_bytes.values():
            return None
        largest = max((need for need in self.memory_bytes.values() if need is not None), default=0)
        return largest <= self.limit_bytes and self.total_bytes <= self.limit_bytes


def estimate(spec: WorkflowSpec, plan: Plan, where: Placement) -> Estimate:
    """Predict what a plan costs where it will run."""
    measured = read_rates()
    steps = tuple(_step(spec, plan, step, where, measured) for step in plan.steps)
    memory = {pool: _pool_bytes(spec, plan, pool, steps) for pool in plan.pools}
    by_pool = {pool: [step.seconds for step in steps if step.pool == pool] for pool in plan.pools}
    seconds = None
    if all(entry is not None for entries in by_pool.values() for entry in entries):
        busy = [sum(entry or 0 for entry in entries) / plan.pools[pool].workers for pool, entries in by_pool.items()]
        shares_cores = where.kind == "cpu" and where.chosen_executor() == "local"
        seconds = START_SECONDS + (sum(busy) if shares_cores else max(busy))
    return Estimate(
        steps=steps,
        seconds=seconds,
        memory_bytes=memory,
        limit_bytes=memory_limit(where),
        total_bytes=_total_bytes(plan, memory, where),
    )


def memory_limit(where: Placement) -> int | None:
    """Bytes that the workers on one device may use: told, or found; None on a cluster, whose machines are not known."""
    if where.memory_bytes is not None:
        return where.memory_bytes
    if where.address is not None:
        return None
    if where.kind == "cuda":
        return min(cuda_memory(), default=None)
    return machine_memory()


def report_memory(spec: WorkflowSpec, plan: Plan, where: Placement) -> None:
    """WorkflowError when a batch of some step cannot fit, at the place of its size."""
    limit = memory_limit(where)
    if limit is None:
        return
    for step in plan.steps:
        model = spec.models.get(str(step.options.get("model")))
        if step.stage not in {"generate", "extrapolate", "decode"} or model is None or not model.is_known:
            continue
        sized = plan.step(step.reads["latents"]) if step.stage == "decode" else step
        for cell in plan.cells(step):
            size = resolved_options(sized, dict(cell))["size"]
            if step.stage == "decode":
                work = step.batch_size * prod(size) * _decode_bytes(str(model.description.codec.get("kind")))
            else:
                work = _batch_bytes(plan, step, model, size)
            need = PROCESS_BYTES + _weights_bytes(plan, model) + work
            if need > limit:
                raw = spec.raw[sized.name]
                spec.document.report(
                    ("steps", sized.name, word_given(raw) or "size"),
                    _too_large(step, model, size, need, limit) + shown_cell(cell),
                )
    spec.document.raise_problems()


def _too_large(step: Step, model: PlannedModel, size: list[int], need: int, limit: int) -> str:
    batch = f"a batch of {step.batch_size} samples" if step.batch_size > 1 else "one sample"
    what = f"decoding {batch}" if step.stage == "decode" else batch
    also = f" or batch_size of step {step.name}" if step.batch_size > 1 else ""
    return (
        f"{what} of {shown(size)} {model.axes[0] if len(size) == 1 else ''}".rstrip()
        + f" ({model.num_tokens(size):,} tokens) needs about {need / 2**30:.1f} GiB; a worker here has "
        f"{limit / 2**30:.1f} GiB; choose a smaller size{also}"
    )


def _decode_bytes(codec: str) -> int:
    """Peak memory of decoding one media unit."""
    entry = CODECS.get(codec)
    return int(entry.facts.get("decode_bytes", DECODE_BYTES)) if entry else DECODE_BYTES


def _step(spec: WorkflowSpec, plan: Plan, step: Step, where: Placement, measured: Mapping[str, float]) -> StepEstimate:
    model, part = _model_and_part(spec, plan, step)
    per_cell = plan.num_samples(step)
    cells = [dict(cell) for cell in plan.cells(step)]
    options = [resolved_options(step, cell) for cell in cells]
    tokens, flops, memory = None, None, None
    evaluations = 0
    units: float | None = float(per_cell * len(cells))
    if step.stage in {"generate", "extrapolate"} and model is not None:
        evaluations = max(_evaluations(model, found) for found in options)
        units = None
        if model.is_known:
            counts = [model.num_tokens(found["size"]) for found in options]
            tokens = (min(counts), max(counts))
            flops = per_cell * sum(_flops(model, found, count) for found, count in zip(options, counts, strict=True))
            units = float(flops)
            memory = max(_batch_bytes(plan, step, model, found["size"]) for found in options)
    elif step.stage in {"decode", "export"}:
        sizes = [_media_size(plan, step, cell) for cell in cells]
        known = [prod(size) for size in sizes if size]
        units = float(per_cell * sum(known)) if len(known) == len(sizes) else None
        if known and step.stage == "decode":
            memory = step.batch_size * max(known) * _decode_bytes(part)
    rate = rate_of(where.kind, step.stage, part, measured)
    return StepEstimate(
        step=step.name,
        stage=step.stage,
        pool=step.pool,
        samples=per_cell * len(cells),
        tokens=tokens,
        evaluations=evaluations,
        flops=flops,
        units=units,
        part=part,
        seconds=None if units is None else units / rate.per_second,
        is_measured=rate.is_measured,
        memory_bytes=memory,
    )


def _model_and_part(spec: WorkflowSpec, plan: Plan, step: Step) -> tuple[PlannedModel | None, str]:
    """The model of a step, and what its speed depends on."""
    if step.stage == "export":
        return None, str(step.options["format"]["name"])
    model = spec.models[step.options["model"]]
    facts = plan.models[model.name]
    if step.stage == "encode":
        return model, str(facts["text_encoder"]).partition(":")[0]
    return model, str(facts["codec"]) if step.stage == "decode" else model.source


def _media_size(plan: Plan, step: Step, cell: Mapping[str, Any]) -> list[int]:
    """The size of the media that a decode or export step works on."""
    while "size" not in step.options:
        step = plan.step(step.reads["media"] if "media" in step.reads else step.reads["latents"])
    size: list[int] = resolved_options(step, cell)["size"]
    return size


def _evaluations(model: PlannedModel, options: Mapping[str, Any]) -> int:
    """Network evaluations of one sample, expected ones rounded up; with guidance, prompt and negative are two."""
    own = getattr(model.cost(), "evaluations", None)
    if own is not None and model.is_known:
        return int(own(model.description.generator_config, options))
    times = _grid(options)
    per_step = _evaluations_of_steps(options["sampler"], len(times))
    guidance = options["guidance"]
    first, last = guidance.get("interval", (0.0, 1.0))
    is_guided = float(guidance["scale"]) != 1
    return ceil(sum(n * (2 if is_guided and first <= t <= last else 1) for n, t in zip(per_step, times, strict=True)))


def _evaluations_of_steps(sampler: Mapping[str, Any], steps: int) -> list[float]:
    """Evaluations of each step; of the Poisson midpoint method, the expected ones."""
    entry = SAMPLERS.get(str(sampler["name"]))
    facts = entry.facts if entry else {}
    if "k" in facts:
        return [2 - 1 / int(sampler.get("k", facts["k"]))] * (steps - 1) + [1.0]
    return [int(facts.get("evaluations", 1))] * steps


def _grid(options: Mapping[str, Any]) -> list[float]:
    """The times at which steps begin; schedules other than shifted are taken as uniform."""
    steps, schedule = int(options["steps"]), options["schedule"]
    shift = float(schedule.get("shift", 4.0)) if schedule["name"] in {"shifted", "resolution-shifted"} else 1.0
    times = [u / (u + shift * (1 - u)) for u in (n / steps for n in range(steps + 1))]
    start = 1 - float(options.get("strength", 1.0))
    return [start, *(t for t in times[:-1] if t > start)] if start > 0 else times[:-1]


def _flops(model: PlannedModel, options: Mapping[str, Any], tokens: int) -> int:
    cost = model.cost()
    if cost is None:
        return 0
    config = model.description.generator_config
    text = TEXT_TOKENS.get(str(model.description.text_encoder.get("kind")), 64)
    prepared = 2 * int(cost.text_flops(config, text))
    own = getattr(cost, "sample_flops", None)
    if own is not None:
        return int(own(config, text, options)) + prepared
    return int(cost.flops(config, tokens, text)) * _evaluations(model, options) + prepared


def _batch_bytes(plan: Plan, step: Step, model: PlannedModel, size: list[int]) -> int:
    """Memory of one batch of a generate or extrapolate step beyond the weights: both halves of guidance at once."""
    cost = model.cost()
    if cost is None:
        return 0
    width = BYTES_OF[str(plan.models[model.name]["precision"])]
    config = model.description.generator_config
    return int(cost.activation_bytes(config, model.num_tokens(size), 2 * step.batch_size, width))


def _weights_bytes(plan: Plan, model: PlannedModel) -> int:
    return model.description.parameters * BYTES_OF[str(plan.models[model.name]["precision"])]


def _pool_bytes(spec: WorkflowSpec, plan: Plan, pool: str, steps: tuple[StepEstimate, ...]) -> int | None:
    """Memory of one worker of a pool; None when a part of it is not on this machine."""
    group, _, name = pool.partition(":")
    if group == "export":
        return PROCESS_BYTES
    batches = [step.memory_bytes for step in steps if step.pool == pool]
    if group == "text":
        model = next(model for model in spec.models.values() if model.encoder_name == name)
        if name == "builtin":
            return PROCESS_BYTES + BUILTIN_TEXT_BYTES
        files = [path for path in model.description.weight_files() if path.suffix == ".safetensors"]
        text = [path for path in files if "text" in str(path.parent)]
        return PROCESS_BYTES + sum(path.stat().st_size for path in text) if text else None
    model = spec.models[name]
    if not model.is_known:
        return None
    return PROCESS_BYTES + _weights_bytes(plan, model) + max((need or 0 for need in batches), default=0)


def _total_bytes(plan: Plan, memory: Mapping[str, int | None], where: Placement) -> int | None:
    """Memory of all workers on one device: shared among devices when there are several, one process when local."""
    if any(need is None for need in memory.values()):
        return None
    needs = {pool: (need or 0) for pool, need in memory.items()}
    if where.chosen_executor() == "local":
        return PROCESS_BYTES + sum(need - PROCESS_BYTES for need in needs.values())
    everything = sum(need * plan.pools[pool].workers for pool, need in needs.items())
    return everything // max(1, len(where.devices))
