"""What a person, or a program, sees of a run while it goes on: a live table, plain lines, JSON lines, or nothing."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from orchestrator.plan import Plan

if TYPE_CHECKING:
    from orchestrator.executors.base import Event, Observer

PLAIN_EVERY_SECONDS = 5.0
TABLE_EVERY_SECONDS = 0.2

Clock = Callable[[], float]


@dataclass(slots=True)
class Count:
    """How far one step is. busy: seconds that workers spent on it, all workers together."""

    total: int
    done: int = 0
    failed: int = 0
    busy: float = 0.0
    started: float | None = None
    last: float = 0.0

    def rate(self) -> float:
        """Samples a second of this run's wall time; 0 before anything is done."""
        elapsed = self.last - self.started if self.started is not None else 0.0
        return self.done / elapsed if elapsed > 0 else 0.0

    def seconds_left(self) -> float | None:
        """At the rate so far; None before there is one."""
        rate = self.rate()
        return (self.total - self.done) / rate if rate > 0 else None


@dataclass(slots=True)
class Progress:
    """Counts of all steps, kept up to date by events. `begin` is when the run began; `labels` how steps are called."""

    counts: dict[str, Count]
    clock: Clock
    begin: float
    labels: dict[str, str]
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def of(plan: Plan, clock: Clock = time.monotonic) -> Progress:
        """Nothing done yet; totals are those of the plan until the run says what it will make."""
        counts = {step.name: Count(plan.num_samples(step) * sum(1 for _ in plan.cells(step))) for step in plan.steps}
        return Progress(counts, clock, clock(), labels_of(plan))

    def see(self, event: Event) -> None:
        """Take in an event."""
        if event.kind == "note" and event.text not in self.notes:
            self.notes.append(event.text)
        count = self.counts.get(event.step)
        if count is None:
            return
        now = self.clock()
        if event.kind == "expected":
            count.total = event.samples
        elif event.kind == "batch":
            if count.started is None:
                count.started = min(now, max(self.begin, now - event.seconds))
            count.done += event.samples
            count.failed += event.failed
            count.busy += event.seconds
            count.last = now


def labels_of(plan: Plan) -> dict[str, str]:
    """What people see of each step: its name, and its modality where the plan has several."""
    labels = {}
    for step in plan.steps:
        model = plan.models.get(str(step.options.get("model")), {})
        modality = step.options.get("modality") or model.get("modality", "")
        labels[step.name] = step.name if step.stage == "encode" or not modality else f"{step.name} ({modality})"
    several = len({facts.get("modality") for facts in plan.models.values()}) > 1
    return labels if several else {step.name: step.name for step in plan.steps}


@contextmanager
def watching(plan: Plan, style: str, stream: TextIO) -> Iterator[tuple[Progress, Observer]]:
    """Show a run on a stream while the block runs.

    style: `table` (live), `lines` (for logs), `json` (one object per event) or `quiet`.
    """
    progress = Progress.of(plan)
    lock = threading.Lock()
    if style == "table":
        with _table(progress, stream) as show_table:
            yield progress, _one_at_a_time(lock, show_table)
        return
    shows: dict[str, Callable[[Event], None]] = {"lines": _Lines(progress, stream).see, "json": _json_lines(stream)}
    show = shows.get(style, _nothing)

    def observe(event: Event) -> None:
        progress.see(event)
        show(event)

    yield progress, _one_at_a_time(lock, observe)


def _one_at_a_time(lock: threading.Lock, show: Callable[[Event], None]) -> Observer:
    """Workers may tell of events from several threads."""

    def observe(event: Event) -> None:
        with lock:
            show(event)

    return observe


def _nothing(event: Event) -> None:
    """Quiet: an event is only counted."""


def _json_lines(stream: TextIO) -> Callable[[Event], None]:
    def show(event: Event) -> None:
        values = {key: value for key, value in dataclasses.asdict(event).items() if value not in ("", 0, 0.0)}
        print(json.dumps(values, ensure_ascii=False), file=stream, flush=True)

    return show


class _Lines:
    """One line for each step, no more often than every five seconds; the last line of a step always appears."""

    def __init__(self, progress: Progress, stream: TextIO) -> None:
        self._progress = progress
        self._stream = stream
        self._shown: dict[str, float] = {}

    def see(self, event: Event) -> None:
        if event.kind in {"note", "retry"}:
            self._print(f"{self._label(event)}: {event.text}" if event.step else event.text)
        elif event.kind == "ready":
            self._print(f"{event.step}: ready after {event.seconds:.1f} s")
        elif event.kind == "batch" and event.step in self._progress.counts:
            count = self._progress.counts[event.step]
            now = self._progress.clock()
            if (
                count.done >= count.total
                or now - self._shown.get(event.step, -PLAIN_EVERY_SECONDS) >= PLAIN_EVERY_SECONDS
            ):
                self._shown[event.step] = now
                self._print(f"{self._label(event)}: {describe(count)}")

    def _label(self, event: Event) -> str:
        return self._progress.labels.get(event.step, event.step)

    def _print(self, text: str) -> None:
        print(text, file=self._stream, flush=True)


def describe(count: Count) -> str:
    """`12/40, 3.1 a second, 9 s left, 1 failed`."""
    parts = [f"{count.done}/{count.total}"]
    if count.rate() > 0:
        parts.append(f"{count.rate():.3g} a second")
    left = count.seconds_left()
    if left is not None and count.done < count.total:
        parts.append(f"{shown_seconds(left)} left")
    if count.failed:
        parts.append(f"{count.failed} failed")
    return ", ".join(parts)


def shown_seconds(seconds: float) -> str:
    """A time as people say it: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


@contextmanager
def _table(progress: Progress, stream: TextIO) -> Iterator[Callable[[Event], None]]:
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream)
    with Live(console=console, auto_refresh=False, transient=False) as live:
        last = -TABLE_EVERY_SECONDS

        def observe(event: Event) -> None:
            nonlocal last
            progress.see(event)
            if event.kind == "retry":
                live.console.print(
                    f"{progress.labels.get(event.step, event.step)}: {event.text}", markup=False, highlight=False
                )
            now = progress.clock()
            if now - last >= TABLE_EVERY_SECONDS:
                last = now
                live.update(_rows(progress), refresh=True)

        live.update(_rows(progress), refresh=True)
        try:
            yield observe
        finally:
            live.update(_rows(progress), refresh=True)


def _rows(progress: Progress) -> Any:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title, side in (("step", "left"), ("", "left"), ("done", "right"), ("rate", "right"), ("left", "right")):
        table.add_column(title, justify=side)  # type: ignore[arg-type]
    for name, count in progress.counts.items():
        left = count.seconds_left()
        is_whole = count.done >= count.total
        table.add_row(
            progress.labels.get(name, name),
            ProgressBar(total=max(count.total, 1), completed=count.done if count.total else 1, width=30),
            f"{count.done}/{count.total}" + (f" ({count.failed} failed)" if count.failed else ""),
            f"{count.rate():.3g}/s" if count.rate() > 0 else "",
            "done" if is_whole else shown_seconds(left) if left is not None else "",
        )
    return table
