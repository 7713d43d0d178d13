"""The actors of the Ray executor: what one is, and what it needs of the cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from orchestrator.errors import ExecutorError
from orchestrator.executors.base import Setting
from orchestrator.executors.schedule import Work
from orchestrator.executors.worker import Report, Values, Worker, without_prompts
from orchestrator.folder import LOCK
from orchestrator.plan import Plan, Pool
from orchestrator.stages.models import ModelStore

_REPEATS = 1
"""How often Ray repeats work whose actor died, and computes again a result that was lost with its machine."""


class WorkerActor:
    """A worker in a process of its own. Ray may start it anew at any time; it loads its models when first used."""

    def __init__(self, plan: Plan, pool: str, setting: Setting, name: str, device: str) -> None:
        self._worker = Worker(plan, pool, setting, name, ModelStore(plan.models, device))
        self._writes = any(step.pool == pool and step.stage == "export" for step in plan.steps)
        self._setting = setting
        self._seconds: float | None = None

    def ready(self) -> float:
        """Load the models; answers the seconds it took. Raises ModelError, and ExecutorError without the run folder."""
        if self._seconds is None:
            if self._writes:
                check_folder(self._setting)
            self._seconds = self._worker.setup()
        return self._seconds

    def run(self, work: Work, *inputs: Sequence[Values]) -> tuple[Report, list[Values]]:
        """See Worker.run. Ray has replaced references by their values."""
        self.ready()
        return self._worker.run(work, inputs)


@dataclass(slots=True)
class Seat:
    """One actor's place in a pool. is_reserved: it runs work under suspicion, with nothing beside it."""

    pool: str
    name: str
    make: Callable[[], Any]
    actor: Any = None
    ready: Any = None
    is_ready: bool = False
    is_reserved: bool = False
    in_flight: int = 0


def replacement(seat: Seat) -> None:
    """Put a new actor on a seat whose actor is gone for good."""
    seat.actor = seat.make()
    seat.ready = seat.actor.ready.remote()


def make_seats(plan: Plan, setting: Setting, cluster: Mapping[str, float]) -> dict[str, list[Seat]]:
    """The actors of every pool that a step uses, started. cluster: the resources there are, as Ray counts them.

    Raises ExecutorError when the cluster can never hold them.
    """
    used = {step.pool for step in plan.steps}
    pools = [pool for name, pool in plan.pools.items() if name in used]
    share = _cpu_share(pools, cluster)
    bare = without_prompts(plan)
    kind = setting.devices[0].partition(":")[0]
    _check_devices(pools, kind, cluster)
    actor_class = ray.remote(WorkerActor)
    seats: dict[str, list[Seat]] = {}
    for pool in pools:
        on_device = kind != "cpu" and pool.devices > 0
        options = {
            "num_cpus": share,
            "num_gpus": pool.devices if on_device else 0,
            "max_restarts": -1,
            "max_task_retries": _REPEATS,
        }
        seats[pool.name] = []
        for index in range(pool.workers):
            name = f"{pool.name}/{index}"
            arguments = (bare, pool.name, setting, name, kind if on_device else "cpu")
            seat = Seat(pool=pool.name, name=name, make=_maker(actor_class, options, arguments))
            replacement(seat)
            seats[pool.name].append(seat)
    return seats


def check_folder(setting: Setting) -> None:
    """Raise ExecutorError when this machine does not see the run folder that the driver writes to."""
    try:
        is_same = setting.token in (setting.folder / LOCK).read_text(encoding="utf-8")
    except OSError:
        is_same = False
    if not is_same:
        raise ExecutorError(
            f"the machine {_host()} does not see the run folder {setting.folder}; exporting workers write there, "
            "so put `output` on a file system that every machine of the cluster shares"
        )


def _host() -> str:
    return os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "?")


def _maker(actor_class: Any, options: Mapping[str, Any], arguments: tuple[Any, ...]) -> Callable[[], Any]:
    def make() -> Any:
        return actor_class.options(**options).remote(*arguments)

    return make


def _cpu_share(pools: Sequence[Pool], cluster: Mapping[str, float]) -> float:
    """The part of a CPU that each actor asks for: a whole one, or less when there are more actors than CPUs."""
    workers = sum(pool.workers for pool in pools)
    cpus = cluster.get("CPU", 0.0)
    return 1.0 if cpus >= workers else max(0.01, int(100 * cpus / workers) / 100) if cpus else 0.0


def _check_devices(pools: Sequence[Pool], kind: str, cluster: Mapping[str, float]) -> None:
    needed = sum(pool.workers * pool.devices for pool in pools) if kind != "cpu" else 0.0
    there = cluster.get("GPU", 0.0)
    if needed > there:
        raise ExecutorError(
            f"the workers need {needed:g} GPUs together and the cluster has {there:g}; ask for fewer workers or `cpu`"
        )
