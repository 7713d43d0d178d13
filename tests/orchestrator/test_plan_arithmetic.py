"""The plan's arithmetic: every sample once, inputs that match, tasks in an order that can be run."""

from __future__ import annotations

import itertools
import random

import pytest

from orchestrator.plan import Plan, Prompt, Step, Task, derive_seed, sample_id
from orchestrator.plan_json import plan_from_json, plan_to_json

AXES = {"guidance": (2, 4.5), "size": ((64, 64), (128, 64))}


def make_plan(num_prompts: int, repetitions: int, batches: tuple[int, ...], axes: tuple[str, ...]) -> Plan:
    """encode -> generate -> extrapolate (reads both) -> decode -> export; the second axis acts from extrapolate on."""

    def step(name, stage, reads, at, own, count):
        return Step(
            name=name,
            stage=stage,
            options={},
            reads=reads,
            axes=own,
            repetitions=count,
            batch_size=batches[at],
            pool=stage,
        )

    steps = (
        step("text", "encode", {}, 0, (), 1),
        step("small", "generate", {"conditioning": "text", "negative": "text"}, 1, axes[:1], repetitions),
        step("large", "extrapolate", {"conditioning": "text", "latents": "small"}, 2, axes, repetitions),
        step("pixels", "decode", {"latents": "large"}, 3, axes, repetitions),
        step("files", "export", {"media": "pixels"}, 4, axes, repetitions),
    )
    return Plan(
        name="t",
        seed=3,
        prompts=tuple(Prompt(f"p{n}", f"prompt {n}") for n in range(num_prompts)),
        steps=steps,
        matrix={axis: AXES[axis] for axis in axes},
        pools={},
        models={},
        output="",
        fingerprint="",
        workflow_text="",
    )


def cases():
    yield make_plan(1, 1, (1, 1, 1, 1, 1), ())
    yield make_plan(8, 1, (8, 3, 4, 5, 2), ())
    chance = random.Random(0)
    for _ in range(60):
        batches = tuple(chance.randint(1, 9) for _ in range(5))
        axes = tuple(AXES)[: chance.randint(0, 2)]
        yield make_plan(chance.randint(1, 23), chance.randint(1, 4), batches, axes)


CASES = list(cases())


@pytest.mark.parametrize("plan", CASES)
def test_tasks_cover_every_sample_once_and_follow_their_inputs(plan):
    seen: set[Task] = set()
    samples = []
    for task in plan.tasks():
        assert task not in seen
        for places in plan.inputs(task).values():
            assert all(source in seen for source, _ in places)
        seen.add(task)
        samples += [(sample.step, sample.id) for sample in plan.samples(task)]
    assert len(samples) == len(set(samples))
    for step in plan.steps:
        made = sum(name == step.name for name, _ in samples)
        cells = len(list(plan.cells(step)))
        assert made == cells * len(plan.prompts) * step.repetitions


@pytest.mark.parametrize("plan", CASES)
def test_inputs_are_the_same_prompt_repetition_and_cell(plan):
    for task in plan.tasks():
        samples = plan.samples(task)
        for kind, places in plan.inputs(task).items():
            assert len(places) == len(samples)
            writer = plan.step(plan.step(task.step).reads[kind])
            for sample, (source, position) in zip(samples, places, strict=True):
                origin = plan.samples(source)[position]
                assert source.step == writer.name
                assert origin.prompt_id == sample.prompt_id
                assert origin.repetition == (sample.repetition if writer.repetitions > 1 else 0)
                assert all(sample.cell[axis] == value for axis, value in origin.cell.items())


@pytest.mark.parametrize("plan", CASES[:20])
def test_a_plan_survives_json(plan):
    assert plan_from_json(plan_to_json(plan)) == plan
    assert plan_to_json(plan_from_json(plan_to_json(plan))) == plan_to_json(plan)


def test_what_is_no_plan_is_refused():
    for text in ("{}", "[]", '{"format": "parhelion-plan/1"}', '{"format": "parhelion-plan/2"}'):
        with pytest.raises(ValueError, match="plan"):
            plan_from_json(text)


def test_early_prompts_finish_before_late_ones_begin():
    plan = make_plan(100, 1, (4, 4, 4, 4, 4), ())
    order = [(task.step, task.batch) for task in plan.tasks()]
    assert order.index(("files", 0)) < order.index(("text", 2))


def test_seeds_belong_to_samples_and_leave_the_matrix_out():
    assert derive_seed(1, "a", "small", 0) == derive_seed(1, "a", "small", 0)
    seeds = {derive_seed(*key) for key in itertools.product((1, 2), ("a", "b"), ("small", "large"), (0, 1))}
    assert len(seeds) == 16
    assert all(0 <= seed < 2**63 for seed in seeds)
    plan = make_plan(2, 2, (2, 2, 2, 2, 2), ("guidance",))
    by_cell = [
        [sample.seed for sample in plan.samples(Task("small", cell, 0))] for cell in plan.cells(plan.step("small"))
    ]
    assert by_cell[0] == by_cell[1]


def test_sample_ids_are_unique_and_safe():
    cells = [(), (("g", 4),), (("g", 4.5), ("s", "dpm-solver++")), (("g", "a/b"), ("s", (64, 128)))]
    names = [
        sample_id(prompt, n, 3, cell) for prompt in ("p1", "p1-r0", "a/b", "a-b") for n in range(3) for cell in cells
    ]
    assert len(set(names)) == len(names)
    assert sample_id("p1", 0, 1, cells[2]) == "p1-g=4.5-s=dpm-solver++"
    assert sample_id("p1", 2, 3, cells[3]).endswith("-s=64x128")
    assert not any(sign in name for name in names for sign in "/\\:*?")
