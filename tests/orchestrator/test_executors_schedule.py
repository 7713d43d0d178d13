"""The bookkeeping that executors share: order, release of results, bounded memory, resume."""

from __future__ import annotations

import random

import pytest

from orchestrator.executors.schedule import Place, Schedule, TaskGraph
from orchestrator.plan import Plan, Pool, Prompt, Step, Task


def step(name: str, stage: str, reads: dict[str, str], batch: int, pool: str, axes=(), repetitions=1) -> Step:
    return Step(
        name=name, stage=stage, options={}, reads=reads, axes=axes, repetitions=repetitions, batch_size=batch, pool=pool
    )


def make_plan(num_prompts: int, batches=(8, 3, 4, 5), repetitions: int = 1, guidance=(2, 4)) -> Plan:
    """Two branches (small and large) that share one encoding; the matrix acts from `small` on."""
    axes = ("guidance",) if guidance else ()
    common = {"axes": axes, "repetitions": repetitions}
    steps = (
        step("text", "encode", {}, batches[0], "text"),
        step("small", "generate", {"conditioning": "text"}, batches[1], "model", **common),
        step("large", "extrapolate", {"conditioning": "text", "latents": "small"}, batches[2], "model", **common),
        step("pixels", "decode", {"latents": "large"}, batches[1], "model", **common),
        step("files", "export", {"media": "pixels"}, batches[3], "export", **common),
        step("thumbs", "export", {"media": "small"}, batches[0], "export", **common),
    )
    return Plan(
        name="t",
        seed=1,
        prompts=tuple(Prompt(f"p{n}", f"prompt {n}") for n in range(num_prompts)),
        steps=steps,
        matrix={"guidance": tuple(guidance)} if guidance else {},
        pools={name: Pool(name=name, workers=1, devices=0, memory_bytes=0) for name in ("text", "model", "export")},
        models={},
        output="",
        fingerprint="",
        workflow_text="",
    )


def everything(plan: Plan):
    return lambda task: [True] * len(plan.samples(task))


def simulate(plan: Plan, todo, limit: int = 8, chance: random.Random | None = None) -> tuple[list[Task], int]:
    """Run all tasks, several at a time and ending in any order.

    A result is the list of (task, position) it stands for.
    """
    chance = chance or random.Random(0)
    schedule: Schedule[list[tuple[Task, int]]] = Schedule(TaskGraph(plan, todo), limit)
    done: list[Task] = []
    running = []
    most_open = 0
    while not schedule.is_finished():
        for pool in plan.pools:
            while len(running) < 6 and schedule.has_ready(pool):
                running.append(schedule.next(pool))
        work, handles = running.pop(chance.randrange(len(running)))
        for kind, places in work.sources.items():
            expected = plan.inputs(work.task)[kind]
            assert [handles[index][position] for index, position in places] == expected
        result = [(work.task, position) for position in range(len(work.samples))]
        schedule.complete(work.task, [Place(result, position) for position in range(len(result))])
        done.append(work.task)
        most_open = max(most_open, schedule.num_open)
    assert schedule.num_open == 0, "results are still held after the last task"
    return done, most_open


@pytest.mark.parametrize("seed", range(12))
def test_every_task_runs_once_with_the_values_that_the_plan_says(seed: int):
    chance = random.Random(seed)
    batches = tuple(chance.randint(1, 9) for _ in range(4))
    plan = make_plan(chance.randint(1, 23), batches, chance.randint(1, 3), guidance=(2, 4) if seed % 2 else ())
    done, _ = simulate(plan, everything(plan), limit=chance.randint(1, 9), chance=chance)
    assert len(done) == len(set(done))
    assert set(done) == set(plan.tasks())


def test_memory_does_not_grow_with_the_prompts():
    most = [simulate(plan, everything(plan))[1] for plan in (make_plan(100), make_plan(2000))]
    assert max(most) < 60


def test_the_first_prompts_are_finished_first():
    plan = make_plan(64)
    done, _ = simulate(plan, everything(plan), limit=1)
    first_export = next(index for index, task in enumerate(done) if task.step == "files")
    assert first_export < len(done) / 4


@pytest.mark.parametrize("seed", range(6))
def test_only_what_unfinished_samples_need_is_done_again(seed: int):
    chance = random.Random(seed)
    plan = make_plan(40, repetitions=2)
    missing = {(chance.choice(["files", "thumbs"]), chance.randrange(80)) for _ in range(2)}

    def todo(task: Task) -> list[bool]:
        first = task.batch * plan.step(task.step).batch_size
        return [(task.step, first + n) in missing for n in range(len(plan.samples(task)))]

    done, _ = simulate(plan, todo)
    targets = [task for task in done if task.step in ("files", "thumbs")]
    assert {(task.step, task.batch) for task in targets} == {
        (name, n // plan.step(name).batch_size) for name, n in missing
    }
    reached = set(targets)
    for task in reversed(list(plan.tasks())):
        if task in reached:
            reached |= {origin for places in plan.inputs(task).values() for origin, _ in places}
    missing_inputs = {origin for task in reached for places in plan.inputs(task).values() for origin, _ in places}
    assert set(done) == reached | missing_inputs


def test_nothing_to_do_is_finished_at_once():
    plan = make_plan(5)
    assert simulate(plan, lambda task: [False] * len(plan.samples(task))) == ([], 0)


def test_expected_samples_follow_what_is_unfinished():
    plan = make_plan(10, batches=(8, 3, 4, 5), guidance=())
    graph = TaskGraph(plan, lambda task: [task.step == "files" and task.batch == 1] * len(plan.samples(task)))
    needed = {each.name: graph.num_needed_samples(each) for each in plan.steps}
    assert needed == {"text": 10, "small": 10, "large": 10, "pixels": 7, "files": 5, "thumbs": 0}


def test_a_part_of_a_work_keeps_its_own_samples():
    plan = make_plan(9, guidance=())
    schedule: Schedule[str] = Schedule(TaskGraph(plan, everything(plan)), 4)
    assert not schedule.has_ready("export")
    assert schedule.has_ready("text")
    work, _ = schedule.next("text")
    part = work.part(2, 4)
    assert part.positions == (2, 3)
    assert [sample.prompt_id for sample in part.samples] == ["p2", "p3"]
