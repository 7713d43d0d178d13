"""The report of a run: times, rates, machine and versions.

Everything that differs between two equal runs lives here.
"""

from __future__ import annotations

import datetime
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from orchestrator.executors.base import Event
from orchestrator.placement import Placement, machine_memory
from orchestrator.plan import Plan

_PACKAGES = ("parhelion", "torch", "numpy", "pillow", "ray", "transformers", "tokenizers", "safetensors", "diffusers")
_MOST_NOTES = 200


@dataclass(slots=True)
class StepTime:
    """What one step has cost so far. seconds: summed over its workers."""

    samples: int = 0
    failed: int = 0
    batches: int = 0
    seconds: float = 0.0
    expected: int = 0


class Clock:
    """Watches the events of a run and adds them up."""

    def __init__(self, plan: Plan) -> None:
        self.steps = {step.name: StepTime() for step in plan.steps}
        self.loading: dict[str, float] = {}
        self.retries = 0
        self._notes: dict[str, None] = {}
        self._more_notes = 0
        self._started = time.monotonic()
        self.began = datetime.datetime.now(datetime.UTC)

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know, each once, in the order in which it came up."""
        more = (f"and {self._more_notes} more notes",) if self._more_notes else ()
        return (*self._notes, *more)

    def see(self, event: Event) -> None:
        """Take down an event."""
        if event.kind == "expected":
            self.steps[event.step].expected = event.samples
        elif event.kind == "ready":
            self.loading[event.worker] = round(event.seconds, 3)
        elif event.kind == "batch":
            step = self.steps[event.step]
            step.samples += event.samples
            step.failed += event.failed
            step.batches += 1
            step.seconds += event.seconds
        elif event.kind == "retry":
            self.retries += 1
        elif event.kind == "note" and event.text not in self._notes:
            if len(self._notes) < _MOST_NOTES:
                self._notes[event.text] = None
            else:
                self._more_notes += 1


def report_of(
    plan: Plan,
    placement: Placement,
    clock: Clock,
    counts: Mapping[str, int],
    status: str,
    predicted: Mapping[str, float],
) -> dict[str, Any]:
    """The document `report.json`. predicted: seconds of one worker for each step, where an estimate was made."""
    steps: dict[str, Any] = {}
    for name, spent in clock.steps.items():
        steps[name] = {
            "samples": spent.samples,
            "failed": spent.failed,
            "batches": spent.batches,
            "seconds": round(spent.seconds, 4),
            "samples_per_second": round(spent.samples / spent.seconds, 3) if spent.seconds else None,
        }
        if name in predicted and spent.samples:
            steps[name]["predicted_seconds"] = round(predicted[name], 4)
            steps[name]["prediction_over_measurement"] = round(predicted[name] / max(spent.seconds, 1e-9), 3)
    return {
        "status": status,
        "workflow": plan.name,
        "fingerprint": plan.fingerprint,
        "began": clock.began.isoformat(timespec="seconds"),
        "seconds": round(clock.seconds, 3),
        "samples": dict(counts),
        "retries": clock.retries,
        "steps": steps,
        "loading_seconds": clock.loading,
        "notes": list(clock.notes),
        "placement": {
            "executor": placement.chosen_executor(),
            "address": placement.address,
            "devices": list(placement.devices),
            "workers": {name: pool.workers for name, pool in plan.pools.items()},
            "threads": placement.threads or 1,
        },
        "machine": machine(),
        "packages": versions(),
    }


def machine() -> dict[str, Any]:
    """This machine: system, processor, cores and memory."""
    return {
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_bytes": machine_memory(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """The versions of the packages that take part in a run and are installed."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
