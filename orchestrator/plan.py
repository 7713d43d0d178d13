"""WorkflowSpec to Plan: order, samples, batches, seeds, pools. Pure: imports neither torch nor Ray.

The plan, not the scheduler, fixes the batches. A task is one batch of one step; which tasks feed it follows from
arithmetic on indices, so a plan of a million samples costs no more memory than its prompts.

Samples of a step are the product of the prompts, the repetitions (once a stochastic stage is upstream) and the matrix
parameters the step depends on. Within one cell of the matrix, sample n is prompt n // repetitions, repetition
n % repetitions; batch b holds the samples b * batch_size up to (b + 1) * batch_size.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from orchestrator.item import Sample
from orchestrator.paths import shown, slug


@dataclass(frozen=True, slots=True)
class Prompt:
    """One line of the prompt list."""

    id: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One resolved step.

    options: what the stage is constructed with, defaults filled in, short forms written out; matrix parameters are
    still `${matrix.name}` strings. By stage (`orchestrator/options.py` makes them):
        encode      model, negative_prompt
        generate    model, size, sampler {name, ...}, steps, schedule {name, ...}, guidance {scale, interval, channels},
                    method, watershed, proportional_attention, context_drop, scale
        extrapolate as generate, and strength
        decode      model
        export      format, path
    reads: kind of value -> the step that writes it. axes: the matrix parameters it depends on, in matrix order.
    repetitions: 1 when nothing upstream is stochastic. pool: steps of equal pool share workers and loaded models.
    """

    name: str
    stage: str
    options: Mapping[str, Any]
    reads: Mapping[str, str]
    axes: tuple[str, ...]
    repetitions: int
    batch_size: int
    pool: str


@dataclass(frozen=True, slots=True)
class Task:
    """One batch of one step in one cell of the matrix. The order of work is that of `Plan.tasks`."""

    step: str
    cell: tuple[tuple[str, Any], ...]
    batch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """Workers that host the same models. workers: how many; devices and memory are what each of them needs."""

    name: str
    workers: int
    devices: float
    memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that decides what a run makes, resolved. Equal plans make equal files."""

    name: str
    seed: int
    prompts: tuple[Prompt, ...]
    steps: tuple[Step, ...]
    matrix: Mapping[str, tuple[Any, ...]]
    pools: Mapping[str, Pool]
    models: Mapping[str, Mapping[str, Any]]
    """Model name -> source and overrides (what `modalities.weights.description.describe` takes), precision,
    weights_hash (None before a hub model is downloaded), and facts for people: modality, family, parameters, ..."""
    output: str
    """The run folder: absolute, or relative to where the command was given."""
    fingerprint: str
    """Hash of `identity`."""
    identity: Mapping[str, Any] = field(default_factory=dict)
    """Everything that decides what the files hold, so that a difference between two runs can be named."""
    workflow_text: str

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(step for step in self.steps if step.name == name)

    def cells(self, step: Step) -> Iterator[tuple[tuple[str, Any], ...]]:
        """The combinations of matrix parameters that a step depends on."""
        for values in itertools.product(*(self.matrix[axis] for axis in step.axes)):
            yield tuple(zip(step.axes, values, strict=True))

    def num_samples(self, step: Step) -> int:
        """Samples of a step in one cell."""
        return len(self.prompts) * step.repetitions

    def num_batches(self, step: Step) -> int:
        """Batches of a step in one cell."""
        return -(-self.num_samples(step) // step.batch_size)

    def samples(self, task: Task) -> list[Sample]:
        """The samples of a task, in order."""
        step = self.step(task.step)
        first = task.batch * step.batch_size
        last = min(first + step.batch_size, self.num_samples(step))
        return [self._sample(step, task.cell, n) for n in range(first, last)]

    def inputs(self, task: Task) -> dict[str, list[tuple[Task, int]]]:
        """For each kind read: which task makes it and at which position of its batch, one per sample."""
        step = self.step(task.step)
        found: dict[str, list[tuple[Task, int]]] = {}
        for kind, writer_name in step.reads.items():
            writer = self.step(writer_name)
            cell = tuple(pair for pair in task.cell if pair[0] in writer.axes)
            first = task.batch * step.batch_size
            last = min(first + step.batch_size, self.num_samples(step))
            places = []
            for n in range(first, last):
                index = n if writer.repetitions == step.repetitions else n // step.repetitions
                places.append((Task(writer_name, cell, index // writer.batch_size), index % writer.batch_size))
            found[kind] = places
        return found

    def tasks(self) -> Iterator[Task]:
        """Every task, in waves over the prompts: what feeds a task comes before it, and early prompts finish early."""
        prompts_per_wave = max(-(-step.batch_size // step.repetitions) for step in self.steps)
        done = dict.fromkeys((step.name for step in self.steps), 0)
        for wave_end in itertools.count(prompts_per_wave, prompts_per_wave):
            for step in self.steps:
                ready = self._ready_samples(step, done, min(wave_end, len(self.prompts)))
                is_whole = ready == self.num_samples(step)
                until = -(-ready // step.batch_size) if is_whole else ready // step.batch_size
                for batch in range(done[step.name], until):
                    for cell in self.cells(step):
                        yield Task(step.name, cell, batch)
                done[step.name] = until
            if wave_end >= len(self.prompts):
                return

    def _ready_samples(self, step: Step, done: Mapping[str, int], num_prompts: int) -> int:
        """Samples of a step within the first prompts whose inputs are all among the finished batches."""
        ready = num_prompts * step.repetitions
        for name in step.reads.values():
            writer = self.step(name)
            made = min(done[name] * writer.batch_size, self.num_samples(writer))
            ready = min(ready, made if writer.repetitions == step.repetitions else made * step.repetitions)
        return ready

    def _sample(self, step: Step, cell: tuple[tuple[str, Any], ...], n: int) -> Sample:
        prompt = self.prompts[n // step.repetitions]
        repetition = n % step.repetitions
        return Sample(
            id=sample_id(prompt.id, repetition, step.repetitions, cell),
            step=step.name,
            prompt_id=prompt.id,
            prompt=prompt.text,
            repetition=repetition,
            cell=dict(cell),
            seed=derive_seed(self.seed, prompt.id, step.name, repetition),
        )


def derive_seed(workflow_seed: int, prompt_id: str, step: str, repetition: int) -> int:
    """A 63-bit seed. Matrix parameters are left out: every cell starts from the same noise and can be compared."""
    text = f"{workflow_seed}\x1f{prompt_id}\x1f{step}\x1f{repetition}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def sample_id(prompt_id: str, repetition: int, repetitions: int, cell: tuple[tuple[str, Any], ...]) -> str:
    """The sample's name in manifests and file names, unique in its step and safe on every file system."""
    parts = [slug(prompt_id)]
    if repetitions > 1:
        parts.append(f"r{repetition}")
    parts += [f"{axis}={shown(value)}" for axis, value in cell]
    return "-".join(parts)
