"""From what workers report to what watchers and manifests are told. Shared by the executors."""

from __future__ import annotations

from collections.abc import Iterator

from orchestrator.executors.base import Event, Finished
from orchestrator.executors.schedule import TaskGraph, Work
from orchestrator.executors.worker import Report


def expected(graph: TaskGraph) -> Iterator[Event]:
    """For each step, how many samples this run will make."""
    for step in graph.plan.steps:
        samples = graph.num_needed_samples(step)
        if samples:
            yield Event(kind="expected", step=step.name, samples=samples)


def events_of(report: Report) -> Iterator[Event]:
    """What one piece of work means for watchers."""
    yield Event(
        kind="batch",
        step=report.task.step,
        samples=report.samples,
        failed=report.failed,
        seconds=report.seconds,
        worker=report.worker,
    )
    for note in report.notes:
        yield Event(kind="note", step=report.task.step, text=note, worker=report.worker)


def finished_of(work: Work, report: Report) -> Iterator[Finished]:
    """The exported samples that one piece of work ended."""
    by_position = dict(zip(work.positions, work.samples, strict=True))
    for position, file, failure in report.ends:
        yield Finished(task=work.task, position=position, sample=by_position[position], file=file, failure=failure)
