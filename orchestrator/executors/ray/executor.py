"""The Ray executor: warm actors for each pool of the plan, and one small loop on `ray.wait`.

Results stay where they were made and go from actor to actor by reference; this process sees references and reports of a
few hundred bytes. Ray restarts actors that die, repeats what they were doing and computes lost results again. Work that
keeps ending its workers is set apart, run with nothing beside it, and halved until the sample to blame is alone.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError

from orchestrator.errors import ExecutorError, ParhelionError
from orchestrator.executors.base import Event, Finished, Observer, Setting, Todo
from orchestrator.executors.events import events_of, expected, finished_of
from orchestrator.executors.ray.actors import Seat, make_seats, replacement
from orchestrator.executors.ray.connection import connected
from orchestrator.executors.schedule import Place, Schedule, TaskGraph, Work
from orchestrator.executors.worker import Report, failed_report
from orchestrator.plan import Plan, Task

_IN_FLIGHT = 2
"""Pieces of work given to an actor at a time: one runs while the next one's inputs travel."""
_MOST_REPLACEMENTS = 8
"""Actors of one pool that may be lost for good before the run gives up."""
_PATIENCE_SECONDS = 30.0


@dataclass(slots=True)
class _Flight:
    """A piece of work that an actor has. is_alone: the actor has nothing else."""

    work: Work
    inputs: list[Any]
    seat: Seat
    values: Any
    is_alone: bool


@dataclass(slots=True)
class _Gathering:
    """A task whose work may have been cut in parts: where each sample's values are so far."""

    places: list[Place[Any] | None]

    def take(self, work: Work, handle: Any) -> bool:
        """Note where a part's values are; answers whether all are there now."""
        for index, position in enumerate(work.positions):
            self.places[position] = Place(handle, index)
        return all(place is not None for place in self.places)


@dataclass(slots=True)
class _State:
    """Everything that changes while a plan runs."""

    plan: Plan
    schedule: Schedule[Any]
    seats: dict[str, list[Seat]]
    observer: Observer
    flights: dict[Any, _Flight] = field(default_factory=dict)
    starting: dict[Any, Seat] = field(default_factory=dict)
    suspects: dict[str, deque[tuple[Work, list[Any]]]] = field(default_factory=dict)
    gathering: dict[Task, _Gathering] = field(default_factory=dict)
    replaced: dict[str, int] = field(default_factory=dict)
    is_patient: bool = True


class RayExecutor:
    """Runs a plan on a Ray cluster: the one at `setting.address`, or one started here for the run."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def run(self, plan: Plan, todo: Todo, observer: Observer) -> Iterator[Finished]:
        """Yield each exported sample as it ends. The first error that no sample is to blame for is raised."""
        graph = TaskGraph(plan, todo)
        num_workers = sum(pool.workers for pool in plan.pools.values())
        schedule: Schedule[Any] = Schedule(graph, limit=4 * num_workers + 4)
        for event in expected(graph):
            observer(event)
        if schedule.is_finished():
            return
        with connected(self._setting.address, max(num_workers, os.cpu_count() or 1)) as cluster:
            seats = make_seats(plan, self._setting, cluster)
            state = _State(plan, schedule, seats, observer)
            state.starting = {seat.ready: seat for pool in seats.values() for seat in pool}
            try:
                while not schedule.is_finished():
                    self._give_out(state)
                    for reference in self._landed(state):
                        yield from self._take_back(state, reference)
            finally:
                for seat in (seat for pool in seats.values() for seat in pool):
                    ray.kill(seat.actor)

    def _give_out(self, state: _State) -> None:
        """Give every actor that has room the next work of its pool; work under suspicion goes to an idle one, alone."""
        for pool, seats in state.seats.items():
            suspects = state.suspects.get(pool, deque())
            for seat in sorted((seat for seat in seats if seat.is_ready), key=lambda seat: seat.in_flight):
                if suspects and seat.in_flight == 0:
                    seat.is_reserved = True
                    self._send(state, seat, *suspects.popleft())
            while not suspects and state.schedule.has_ready(pool):
                open_seats = [s for s in seats if s.is_ready and not s.is_reserved and s.in_flight < _IN_FLIGHT]
                if not open_seats:
                    break
                work, inputs = state.schedule.next(pool)
                state.gathering[work.task] = _Gathering([None] * len(work.samples))
                self._send(state, min(open_seats, key=lambda seat: seat.in_flight), work, inputs)

    def _send(self, state: _State, seat: Seat, work: Work, inputs: list[Any]) -> None:
        report, values = seat.actor.run.options(num_returns=2).remote(work, *inputs)
        seat.in_flight += 1
        state.flights[report] = _Flight(work, inputs, seat, values, seat.is_reserved)

    def _landed(self, state: _State) -> list[Any]:
        """References that have an answer. Waits for one; says so once when no actor starts."""
        waited = [*state.flights, *state.starting]
        if not waited:
            raise ExecutorError("no work is running and none can start; this is a fault of the executor")
        done, _ = ray.wait(waited, num_returns=1, timeout=_PATIENCE_SECONDS, fetch_local=False)
        if not done:
            if state.is_patient and not state.flights:
                pools = ", ".join(sorted({seat.pool for seat in state.starting.values()}))
                text = "waiting for the cluster to start workers; `ray status` shows what they wait for"
                state.observer(Event(kind="note", step=pools, text=text))
                state.is_patient = False
            return []
        if len(waited) > 1:
            done, _ = ray.wait(waited, num_returns=len(waited), timeout=0, fetch_local=False)
        return list(done)

    def _take_back(self, state: _State, reference: Any) -> Iterator[Finished]:
        if reference in state.starting:
            self._welcome(state, reference)
            return
        flight = state.flights.pop(reference)
        flight.seat.in_flight -= 1
        flight.seat.is_reserved = False
        try:
            report: Report = ray.get(reference)
        except RayActorError as error:
            self._check_on(state, flight.seat)
            yield from self._suspect(state, flight, error)
            return
        except RayTaskError as error:
            raise _unwrapped(error) from None
        except RayError as error:
            raise ExecutorError(f"step `{flight.work.task.step}`: {_first_line(error)}") from error
        yield from self._settle(state, flight.work, report, flight.values)

    def _settle(self, state: _State, work: Work, report: Report, values: Any) -> Iterator[Finished]:
        gathering = state.gathering[work.task]
        if gathering.take(work, values):
            del state.gathering[work.task]
            state.schedule.complete(work.task, [place for place in gathering.places if place is not None])
        for event in events_of(report):
            state.observer(event)
        yield from finished_of(work, report)

    def _suspect(self, state: _State, flight: _Flight, error: RayActorError) -> Iterator[Finished]:
        """Work whose actor died: run it again with nothing beside it; if it was alone already, in halves."""
        work, seat = flight.work, flight.seat
        line = _first_line(error)
        text = f"the worker {seat.name} died: {line}"
        state.observer(Event(kind="retry", step=work.task.step, samples=len(work.samples), text=text, worker=seat.name))
        queue = state.suspects.setdefault(seat.pool, deque())
        if not flight.is_alone:
            queue.append((work, flight.inputs))
        elif len(work.samples) > 1:
            middle = len(work.samples) // 2
            queue.append((work.part(0, middle), flight.inputs))
            queue.append((work.part(middle, len(work.samples)), flight.inputs))
        else:
            reason = f"its worker died each time that it was made: {line}"
            is_target = state.schedule.graph.is_target(state.plan.step(work.task.step))
            report, values = failed_report(state.plan, work, reason, seat.name, is_target=is_target)
            yield from self._settle(state, work, report, ray.put(values))

    def _check_on(self, state: _State, seat: Seat) -> None:
        """Ask an actor that has died whether Ray has brought it back."""
        if seat.is_ready:
            seat.is_ready = False
            seat.ready = seat.actor.ready.remote()
            state.starting[seat.ready] = seat

    def _welcome(self, state: _State, reference: Any) -> None:
        seat = state.starting.pop(reference)
        try:
            seconds: float = ray.get(reference)
        except RayTaskError as error:
            raise _unwrapped(error) from None
        except RayActorError as error:
            state.replaced[seat.pool] = state.replaced.get(seat.pool, 0) + 1
            if state.replaced[seat.pool] > _MOST_REPLACEMENTS:
                raise ExecutorError(f"the workers of pool `{seat.pool}` keep dying: {_first_line(error)}") from error
            replacement(seat)
            state.starting[seat.ready] = seat
            return
        seat.is_ready = True
        state.observer(Event(kind="ready", step=seat.pool, seconds=seconds, worker=seat.name))


def _unwrapped(error: RayTaskError) -> Exception:
    """The error that a worker raised, without Ray's wrapper, so that a person sees one line."""
    cause = error.cause
    if isinstance(cause, ParhelionError):
        return cause
    return ExecutorError(f"a worker failed: {type(cause).__name__}: {cause}")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
