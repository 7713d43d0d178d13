"""The Ray executor: the bytes of the local one, whatever the workers and batches, and however many of them die."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from orchestrator.catalog import STAGES
from orchestrator.errors import ExecutorError, ModelError
from orchestrator.executors.base import Event
from orchestrator.placement import Placement
from orchestrator.plan import Plan
from orchestrator.run import RunResult, run
from tests.orchestrator import fragile
from tests.reading import letters_of, media_of, rows_of

pytestmark = pytest.mark.usefixtures("ray_session")
RAY = Placement(executor="ray")


@pytest.fixture(autouse=True)
def _known_stage() -> Iterator[None]:
    fragile.install()
    yield
    del STAGES["fragile"]


def elsewhere(plan: Plan, name: str, **workers: int) -> Plan:
    """The plan with another run folder, and other numbers of workers."""
    pools = {
        key: dataclasses.replace(pool, workers=workers.get(key.partition(":")[0], pool.workers))
        for key, pool in plan.pools.items()
    }
    return dataclasses.replace(plan, output=str(Path(plan.output).with_name(name)), pools=pools)


def assert_same(one: RunResult, other: RunResult) -> None:
    assert media_of(one.folder) == media_of(other.folder)
    assert (one.folder / "manifest.jsonl").read_bytes() == (other.folder / "manifest.jsonl").read_bytes()


def worker_processes() -> list[psutil.Process]:
    """The actors of this test process's own Ray."""
    mine = psutil.Process().children(recursive=True)
    alive = [process for process in mine if process.status() != psutil.STATUS_ZOMBIE]
    return [process for process in alive if "WorkerActor" in " ".join(process.cmdline())]


@pytest.mark.parametrize(("workers", "batch"), [(1, 8), (2, 3), (3, 1)])
def test_local_and_ray_make_the_same_bytes(make_plan, workers: int, batch: int):
    plan = make_plan(prompts=5, batch=batch)
    local = run(elsewhere(plan, "local"), Placement(), lambda event: None)
    ray = run(elsewhere(plan, "ray", model=workers), RAY, lambda event: None)
    assert (ray.made, ray.failed) == (10, 0)
    assert_same(local, ray)


def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(make_plan):
    plan = make_plan(prompts=8, batch=2)
    local = run(elsewhere(plan, "local"), Placement(), lambda event: None)
    killed: list[int] = []

    def kill_one(event: Event) -> None:
        if event.kind == "batch" and event.step == "large" and len(killed) < 2:
            victim = next(process for process in worker_processes() if process.pid not in killed)
            killed.append(victim.pid)
            os.kill(victim.pid, signal.SIGKILL)

    ray = run(elsewhere(plan, "ray", model=2), RAY, kill_one)
    assert len(killed) == 2
    assert (ray.made, ray.failed) == (16, 0)
    assert len(rows_of(ray.folder)) == 16
    assert_same(local, ray)


@pytest.mark.slow
@pytest.mark.parametrize("then", ["raise", "crash"])
def test_a_sample_that_fails_or_crashes_is_alone_in_the_dead_letters(make_plan, then: str):
    plan = fragile.with_fragile(make_plan(prompts=4), "三只猫", then)
    result = run(plan, RAY, lambda event: None)
    assert (result.made, result.failed) == (6, 2)
    letters = letters_of(result.folder)
    assert [letter["prompt"] for letter in letters] == ["三只猫 2"] * 2
    expected = "cannot look at a 三只猫" if then == "raise" else "its worker died each time"
    assert all(expected in letter["error"] for letter in letters)


def test_an_error_that_no_sample_is_to_blame_for_comes_without_its_wrapper(make_plan, tmp_path: Path):
    plan = make_plan(prompts=1)
    models = {"image": {**plan.models["image"], "weights_hash": "0" * 64}}
    with pytest.raises(ModelError, match="differ from those that the plan was made with"):
        run(dataclasses.replace(plan, models=models), RAY, lambda event: None)


def test_a_cluster_without_the_devices_is_refused(make_plan):
    plan = make_plan(prompts=1)
    pools = {name: dataclasses.replace(pool, devices=1.0) for name, pool in plan.pools.items()}
    with pytest.raises(ExecutorError, match="3 GPUs together and the cluster has 0"):
        run(dataclasses.replace(plan, pools=pools), Placement(executor="ray", devices=("cuda:0",)), lambda event: None)
