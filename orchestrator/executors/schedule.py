"""Which task may run now, and which result may be forgotten: the bookkeeping that every executor shares.

Work is pulled from its end. The exporting tasks are taken in the order of their prompts; each brings in the tasks that
feed it. A result is forgotten as soon as nothing that is still to run reads it. Only a bounded number of tasks is
open at a time, so memory does not grow with the number of prompts. Nothing here knows what a result is: executors
hand in opaque handles (values of this process, or Ray references).
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from orchestrator.executors.base import Todo
from orchestrator.item import Sample
from orchestrator.plan import Plan, Step, Task

Handle = TypeVar("Handle")
Cell = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Place(Generic[Handle]):
    """Where one sample's values are: entry `position` of the list behind `handle`."""

    handle: Handle
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A task, or a part of one, made ready for a worker.

    positions: which samples of the task's batch these are. sources: for each kind read, one (input, position) per
    sample, where `input` counts the handles that travel beside the work. wanted: for an exporting task, which samples
    to write.
    """

    task: Task
    positions: tuple[int, ...]
    samples: tuple[Sample, ...]
    sources: Mapping[str, tuple[tuple[int, int], ...]]
    wanted: tuple[bool, ...]

    def part(self, first: int, last: int) -> Work:
        """The work for samples `first` to `last` - 1 of this one. It takes the same inputs."""
        return replace(
            self,
            positions=self.positions[first:last],
            samples=self.samples[first:last],
            sources={kind: places[first:last] for kind, places in self.sources.items()},
            wanted=self.wanted[first:last],
        )


class TaskGraph:
    """Arithmetic over a plan: what feeds a task, what reads it, and whether anything unfinished needs it."""

    def __init__(self, plan: Plan, todo: Todo) -> None:
        self.plan = plan
        self.steps = {step.name: step for step in plan.steps}
        self._todo = todo
        self._order = {step.name: index for index, step in enumerate(plan.steps)}
        self._readers = {
            step.name: [other for other in plan.steps if step.name in other.reads.values()] for step in plan.steps
        }
        self._cells = {step.name: list(plan.cells(step)) for step in plan.steps}
        self._needed: dict[tuple[str, Cell], bytearray] = {}
        for step in reversed(plan.steps):
            self._find_needed(step)

    def is_target(self, step: Step) -> bool:
        """Whether nothing reads a step: it is there for what it exports."""
        return not self._readers[step.name]

    def wanted(self, task: Task) -> tuple[bool, ...]:
        """For an exporting task, which of its samples are still to be written."""
        return tuple(self._todo(task))

    def is_needed(self, task: Task) -> bool:
        """Whether a sample that was unfinished at the start depends on a task."""
        return bool(self._needed[task.step, task.cell][task.batch])

    def num_needed_samples(self, step: Step) -> int:
        """How many samples of a step the unfinished ones depend on."""
        full = sum(sum(self._needed[step.name, cell]) for cell in self._cells[step.name]) * step.batch_size
        missing = self.plan.num_batches(step) * step.batch_size - self.plan.num_samples(step)
        return full - missing * sum(self._needed[step.name, cell][-1] for cell in self._cells[step.name])

    def pending_targets(self) -> Iterator[Task]:
        """Unfinished exporting tasks, ordered by the last prompt they hold, then by step and cell."""
        streams = [self._stream(step) for step in self.plan.steps if self.is_target(step)]
        for _, task in heapq.merge(*streams, key=lambda entry: entry[0]):
            yield task

    def inputs(self, task: Task) -> list[Task]:
        """The tasks that feed a task, each once."""
        return list(dict.fromkeys(place[0] for places in self.plan.inputs(task).values() for place in places))

    def consumers(self, task: Task) -> list[Task]:
        """The tasks that read a task's result and that are needed."""
        step = self.steps[task.step]
        found = []
        for reader in self._readers[task.step]:
            for cell in self._cells[reader.name]:
                if projected(cell, step) == task.cell:
                    needed = self._needed[reader.name, cell]
                    span = self._batches(step, task.batch, reader)
                    found += [Task(reader.name, cell, batch) for batch in span if needed[batch]]
        return found

    def _find_needed(self, step: Step) -> None:
        """Mark the batches of a step that an unfinished sample depends on. Its readers are marked already."""
        num_batches = self.plan.num_batches(step)
        for cell in self._cells[step.name]:
            self._needed[step.name, cell] = bytearray(num_batches)
        if self.is_target(step):
            for cell in self._cells[step.name]:
                marks = (any(self._todo(Task(step.name, cell, batch))) for batch in range(num_batches))
                self._needed[step.name, cell] = bytearray(marks)
        for reader in self._readers[step.name]:
            for cell in self._cells[reader.name]:
                own, others = self._needed[step.name, projected(cell, step)], self._needed[reader.name, cell]
                for batch in range(num_batches):
                    span = self._batches(step, batch, reader)
                    own[batch] |= any(others[span.start : span.stop])

    def _stream(self, step: Step) -> Iterator[tuple[tuple[int, int, int], Task]]:
        for batch in range(self.plan.num_batches(step)):
            last = min((batch + 1) * step.batch_size, self.plan.num_samples(step)) - 1
            for index, cell in enumerate(self._cells[step.name]):
                if self._needed[step.name, cell][batch]:
                    yield (last // step.repetitions, self._order[step.name], index), Task(step.name, cell, batch)

    def _batches(self, step: Step, batch: int, reader: Step) -> range:
        """The batches of `reader` that a batch of `step` feeds."""
        first = batch * step.batch_size
        last = min(first + step.batch_size, self.plan.num_samples(step))
        factor = 1 if reader.repetitions == step.repetitions else reader.repetitions
        return range(first * factor // reader.batch_size, -(-last * factor // reader.batch_size))


def projected(cell: Cell, step: Step) -> Cell:
    """The part of a cell that a step depends on."""
    return tuple(pair for pair in cell if pair[0] in step.axes)


@dataclass(slots=True)
class _Open:
    """A task that has been taken in and is not forgotten yet."""

    sequence: int
    waiting: set[Task]
    readers: set[Task]
    is_done: bool = False


class Schedule(Generic[Handle]):
    """The tasks that are open: taken in, running, or done with a reader still to come.

    limit: tasks that may wait or run at a time. A target is taken in whole, with everything that feeds it, so the
    number of open tasks stays below limit + the largest number of tasks that feed one target.
    """

    def __init__(self, graph: TaskGraph, limit: int) -> None:
        self.graph = graph
        self._limit = limit
        self._targets = graph.pending_targets()
        self._is_drained = False
        self._open: dict[Task, _Open] = {}
        self._places: dict[Task, tuple[Place[Handle], ...]] = {}
        self._ready: dict[str, list[tuple[int, Task]]] = {}
        self._num_unfinished = 0
        self._sequence = 0

    @property
    def num_open(self) -> int:
        """Tasks held in memory, results kept for later readers included."""
        return len(self._open)

    def is_finished(self) -> bool:
        """Whether every task has run."""
        self._take_in()
        return self._is_drained and self._num_unfinished == 0

    def has_ready(self, pool: str) -> bool:
        """Whether a task of a pool can run now."""
        self._take_in()
        return bool(self._ready.get(pool))

    def next(self, pool: str) -> tuple[Work, list[Handle]]:
        """The first task of a pool that can run now, and the handles of its inputs. IndexError when there is none."""
        _, task = heapq.heappop(self._ready[pool])
        return self._work(task)

    def complete(self, task: Task, places: Sequence[Place[Handle]]) -> None:
        """A task has run; its samples' values are at `places`. Results that nobody will read any more are forgotten."""
        entry = self._open[task]
        entry.is_done = True
        self._num_unfinished -= 1
        if entry.readers:
            self._places[task] = tuple(places)
        for reader in entry.readers:
            if reader in self._open:
                self._supply(reader, task)
        for source in self.graph.inputs(task):
            self._open[source].readers.discard(task)
            self._forget(source)
        self._forget(task)

    def _forget(self, task: Task) -> None:
        entry = self._open[task]
        if entry.is_done and not entry.readers:
            del self._open[task]
            self._places.pop(task, None)

    def _supply(self, reader: Task, source: Task) -> None:
        entry = self._open[reader]
        entry.waiting.discard(source)
        if not entry.waiting and not entry.is_done:
            pool = self.graph.steps[reader.step].pool
            heapq.heappush(self._ready.setdefault(pool, []), (entry.sequence, reader))

    def _take_in(self) -> None:
        while not self._is_drained and self._num_unfinished < self._limit:
            target = next(self._targets, None)
            if target is None:
                self._is_drained = True
            else:
                self._admit(target)

    def _admit(self, task: Task) -> None:
        """Take in a task, after everything that feeds it and is not open yet."""
        if task in self._open:
            return
        sources = self.graph.inputs(task)
        for source in sources:
            self._admit(source)
        waiting = {source for source in sources if not self._open[source].is_done}
        self._open[task] = _Open(self._sequence, waiting, set(self.graph.consumers(task)))
        self._sequence += 1
        self._num_unfinished += 1
        if not waiting:
            pool = self.graph.steps[task.step].pool
            heapq.heappush(self._ready.setdefault(pool, []), (self._open[task].sequence, task))

    def _work(self, task: Task) -> tuple[Work, list[Handle]]:
        handles: dict[int, tuple[int, Handle]] = {}
        sources: dict[str, tuple[tuple[int, int], ...]] = {}
        for kind, origins in self.graph.plan.inputs(task).items():
            found = []
            for origin, position in origins:
                place = self._places[origin][position]
                index, _ = handles.setdefault(id(place.handle), (len(handles), place.handle))
                found.append((index, place.position))
            sources[kind] = tuple(found)
        samples = tuple(self.graph.plan.samples(task))
        is_target = self.graph.is_target(self.graph.steps[task.step])
        wanted = self.graph.wanted(task) if is_target else (True,) * len(samples)
        work = Work(task=task, positions=tuple(range(len(samples))), samples=samples, sources=sources, wanted=wanted)
        return work, [handle for _, handle in handles.values()]
