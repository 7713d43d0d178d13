"""The local executor: threads of this process, one or more for each pool, so that encode, generate and export overlap.

It is the reference that other executors are compared with. Tensor work leaves Python's lock alone, so threads do run
side by side; threads on one device share one copy of each model. On a CPU every thread computes with one core, which
makes sums independent of the machine; cores are used by working on several batches at a time.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from orchestrator.executors.base import Event, Finished, Observer, Setting, Todo
from orchestrator.executors.events import events_of, expected, finished_of
from orchestrator.executors.schedule import Place, Schedule, TaskGraph, Work
from orchestrator.executors.worker import Report, Values, Worker
from orchestrator.plan import Plan
from orchestrator.stages.models import ModelStore

_AHEAD = 2
"""Pieces of work that wait at a thread's door, so that it never idles while the next one is being made ready."""
_MOST_CORES = 8
_SMALL_PARAMETERS = 200_000_000


@dataclass(frozen=True, slots=True)
class _Job:
    work: Work
    inputs: list[Sequence[Values]]


@dataclass(frozen=True, slots=True)
class _Done:
    pool: str
    work: Work
    report: Report
    values: list[Values]


@dataclass(frozen=True, slots=True)
class _Ready:
    pool: str
    worker: str
    seconds: float


class LocalExecutor:
    """Runs a plan in this process."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def run(self, plan: Plan, todo: Todo, observer: Observer) -> Iterator[Finished]:
        """Yield each exported sample as it ends. The first error that no sample is to blame for is raised."""
        graph = TaskGraph(plan, todo)
        pools = num_threads(plan, self._setting)
        schedule: Schedule[Sequence[Values]] = Schedule(graph, limit=4 * sum(pools.values()) + 4)
        for event in expected(graph):
            observer(event)
        if schedule.is_finished():
            return
        doors: dict[str, queue.Queue[_Job | None]] = {name: queue.Queue() for name in pools}
        results: queue.Queue[_Done | _Ready | Exception] = queue.Queue()
        before = torch.get_num_threads()
        threads = self._start(plan, pools, doors, results)
        room = {name: _AHEAD * workers for name, workers in pools.items()}
        try:
            yield from self._drive(schedule, room, doors, results, observer)
        finally:
            for name, door in doors.items():
                _empty(door)
                for _ in range(pools[name]):
                    door.put(None)
            for thread in threads:
                thread.join()
            torch.set_num_threads(before)

    def _start(
        self,
        plan: Plan,
        pools: dict[str, int],
        doors: dict[str, queue.Queue[_Job | None]],
        results: queue.Queue[_Done | _Ready | Exception],
    ) -> list[threading.Thread]:
        stores = {device: ModelStore(plan.models, device) for device in ("cpu", *self._setting.devices)}
        threads = []
        for pool, workers in pools.items():
            on_device = plan.pools[pool].devices > 0
            for index in range(workers):
                device = self._setting.devices[index % len(self._setting.devices)] if on_device else "cpu"
                worker = Worker(plan, pool, self._setting, f"{pool}/{index}", stores[device])
                arguments = (worker, pool, doors[pool], results)
                thread = threading.Thread(target=_serve, args=arguments, name=worker.name, daemon=True)
                thread.start()
                threads.append(thread)
        return threads

    def _drive(
        self,
        schedule: Schedule[Sequence[Values]],
        room: dict[str, int],
        doors: dict[str, queue.Queue[_Job | None]],
        results: queue.Queue[_Done | _Ready | Exception],
        observer: Observer,
    ) -> Iterator[Finished]:
        at_door = dict.fromkeys(doors, 0)
        while not schedule.is_finished():
            for pool, door in doors.items():
                while at_door[pool] < room[pool] and schedule.has_ready(pool):
                    work, inputs = schedule.next(pool)
                    door.put(_Job(work, inputs))
                    at_door[pool] += 1
            result = results.get()
            if isinstance(result, Exception):
                raise result
            if isinstance(result, _Ready):
                observer(Event(kind="ready", step=result.pool, seconds=result.seconds, worker=result.worker))
                continue
            at_door[result.pool] -= 1
            values: Sequence[Values] = result.values
            places = [Place(values, index) for index in range(len(values))]
            schedule.complete(result.work.task, places)
            for event in events_of(result.report):
                observer(event)
            yield from finished_of(result.work, result.report)


def num_threads(plan: Plan, setting: Setting) -> dict[str, int]:
    """Threads of each pool that a step uses: its workers; on a CPU, for small models, at least one for each core.

    They share the weights, so only a batch's activations are held once more for each thread.
    """
    cores = min(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, _MOST_CORES)
    found: dict[str, int] = {}
    for step in plan.steps:
        pool = plan.pools[step.pool]
        found.setdefault(pool.name, pool.workers)
        model = plan.models.get(str(step.options.get("model")), {})
        is_small = 0 < int(model.get("parameters") or 0) <= _SMALL_PARAMETERS
        if step.stage in ("generate", "extrapolate") and setting.devices == ("cpu",) and is_small:
            found[pool.name] = max(found[pool.name], cores)
    return found


def _serve(
    worker: Worker, pool: str, door: queue.Queue[_Job | None], results: queue.Queue[_Done | _Ready | Exception]
) -> None:
    """A thread's life: load, then work until None comes."""
    try:
        results.put(_Ready(pool, worker.name, worker.setup()))
        while (job := door.get()) is not None:
            report, values = worker.run(job.work, job.inputs)
            results.put(_Done(pool, job.work, report, values))
    except Exception as error:  # the worker's border: the driver raises it again
        results.put(error)


def _empty(door: queue.Queue[_Job | None]) -> None:
    while True:
        try:
            door.get_nowait()
        except queue.Empty:
            return
